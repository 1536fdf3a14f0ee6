//! What our relay is to cost at most, and what it came to.
//!
//! The aims were set on another machine, on which the baselines were measured too. Processors,
//! and more so what waking one costs, differ by factors; so an aim is also a ratio to the
//! baseline, and what came to be is judged by both.

use std::fmt::{Result, Write};

use crate::contend::tunnel;
use crate::contender::Contender::{self, Bridged, Coturn, IrohTls, Nats, Plain, Tls};
use crate::figures::{Metric, number};
use crate::plan::Work;
use crate::record::Block;

/// A figure that is to be reached.
struct Aim {
    work: Work,
    case: &'static str,
    who: &'static str,
    metric: Metric,
    limit: Limit,
    /// What the baseline came to where the aim was set, if it was measured there.
    then: Option<f64>,
    /// The peer to beat.
    rival: Option<&'static str>,
}

#[derive(Clone, Copy)]
enum Limit {
    AtMost(f64),
    AtLeast(f64),
    /// More than the baseline's at most.
    Above(f64),
}

const CPU: Metric = Metric::CpuPerMillion;

/// At most so much, where the baseline came to `then`.
const fn cpu(
    case: &'static str,
    who: Contender,
    (most, then): (f64, Option<f64>),
    rival: Contender,
) -> Aim {
    let limit = Limit::AtMost(most);
    let (who, rival) = (who.label(), Some(rival.label()));
    Aim { work: Work::Hop, case, who, metric: CPU, limit, then, rival }
}

const fn tunnel(
    case: &'static str,
    who: &'static str,
    metric: Metric,
    limit: Limit,
    then: Option<f64>,
) -> Aim {
    Aim { work: Work::Tunnel, case, who, metric, limit, then, rival: Some(tunnel::SSH) }
}

const AIMS: [Aim; 19] = [
    cpu("300 B, 1 pair, 64 a write", Plain, (0.18, Some(0.15)), Nats),
    cpu("300 B, 100 pairs, 8 a write", Plain, (0.40, Some(0.45)), Nats),
    cpu("1200 B, 1 pair, 64 a write", Plain, (0.55, Some(0.51)), Nats),
    cpu("1200 B, 100 pairs, 8 a write", Plain, (0.70, Some(0.69)), Nats),
    cpu("16384 B, 1 pair, 16 a write", Plain, (6.5, Some(6.2)), Nats),
    cpu("300 B, 1 pair, 1 a write", Plain, (0.45, Some(1.56)), Nats),
    cpu("300 B, 100 pairs, 1 a write", Plain, (1.5, Some(3.56)), Nats),
    cpu("300 B, 1 pair, 64 a write", Tls, (0.40, Some(0.15)), IrohTls),
    cpu("300 B, 100 pairs, 8 a write", Tls, (0.80, Some(0.45)), IrohTls),
    Aim {
        work: Work::Chain,
        ..cpu("300 B, 1 pair, 64 a write, 3 hops", Plain, (0.60, None), Nats)
    },
    Aim {
        work: Work::Chain,
        ..cpu("1200 B, 1 pair, 64 a write, 3 hops", Plain, (1.80, None), Nats)
    },
    Aim {
        work: Work::Datagrams,
        ..cpu("300 B, 1 pair, 1 a write", Bridged, (1.4, Some(1.81)), Coturn)
    },
    Aim {
        work: Work::Datagrams,
        ..cpu("300 B, 1 pair, 32 a write", Bridged, (0.25, Some(2.15)), Coturn)
    },
    Aim {
        work: Work::Latency,
        case: "300 B, 5000/s",
        who: Plain.label(),
        metric: Metric::P50,
        limit: Limit::Above(10.0),
        then: None,
        rival: Some(Nats.label()),
    },
    Aim {
        work: Work::Stall,
        case: "300 B, 99 pairs and a stalled one",
        who: Plain.label(),
        metric: Metric::Loss,
        limit: Limit::AtMost(2.0),
        then: None,
        rival: Some(Nats.label()),
    },
    tunnel(tunnel::BULK, tunnel::DIRECT, Metric::CpuPerGib, Limit::AtMost(1.3), Some(0.345)),
    tunnel(tunnel::BULK, tunnel::RELAYED, Metric::CpuPerGib, Limit::AtMost(1.8), Some(0.345)),
    tunnel(tunnel::BULK, tunnel::DIRECT, Metric::Gbit, Limit::AtLeast(6.0), Some(16.9)),
    tunnel(
        tunnel::NEW,
        tunnel::DIRECT,
        Metric::Connections,
        Limit::AtLeast(5_000.0),
        Some(6_620.0),
    ),
];

impl Aim {
    fn block<'a>(&self, blocks: &'a [Block]) -> Option<&'a Block> {
        blocks.iter().find(|b| b.work == self.work && b.case == self.case)
    }

    /// The aim as a ratio to the baseline, and whether `value` keeps it here.
    fn relative(&self, value: f64, baseline: Option<f64>) -> Option<(String, bool)> {
        let (then, now) = (self.then?, value / baseline.filter(|b| *b > 0.0)?);
        match self.limit {
            Limit::AtMost(most) => Some((format!("<= {:.2}", most / then), now <= most / then)),
            Limit::AtLeast(least) => Some((format!(">= {:.2}", least / then), now >= least / then)),
            Limit::Above(_) => None,
        }
    }

    /// What it is to be, in words, and whether `value` is so.
    fn judge(&self, value: f64, baseline: Option<f64>) -> (String, Option<bool>) {
        match self.limit {
            Limit::AtMost(most) => (format!("<= {}", number(most)), Some(value <= most)),
            Limit::AtLeast(least) => (format!(">= {}", number(least)), Some(value >= least)),
            Limit::Above(more) => {
                let met = baseline.map(|b| value <= b + more);
                (format!("<= baseline + {}", number(more)), met)
            }
        }
    }

    fn line(&self, text: &mut String, block: &Block) -> Result {
        let median = |who: &str| block.row(who)?.median(self.metric);
        let Some(value) = median(self.who) else {
            let (title, _) = block.work.about();
            let (case, who, figure) = (self.case, self.who, self.metric.label());
            let (wanted, _) = self.judge(f64::NAN, None);
            let line = format!("{title}: {case}, {who} | {figure} | {wanted}");
            return writeln!(text, "| {line} | not measured | **no** | - | - | - | - |");
        };
        let baseline = block.baseline().and_then(|b| b.median(self.metric));
        let (wanted, met) = self.judge(value, baseline);
        let rival = self.rival.and_then(|who| Some((who, median(who)?)));
        let rival = rival.map(|(who, v)| format!("{who} {}", number(v)));
        let ratio = baseline.filter(|b| *b > 0.0).map(|b| format!("{:.2}", value / b));
        let told = |met| if met { "yes" } else { "**no**" };
        let relative = self.relative(value, baseline);
        let (least, so) = relative.as_ref().map_or(("-", "-"), |(aim, met)| (aim, told(*met)));
        writeln!(
            text,
            "| {}: {}, {} | {} | {wanted} | {} | {} | {} | {least} | {so} | {} |",
            block.work.about().0,
            self.case,
            self.who,
            self.metric.label(),
            number(value),
            met.map_or("-", told),
            ratio.as_deref().unwrap_or("-"),
            rival.as_deref().unwrap_or("-"),
        )
    }
}

/// All aims of which something was measured.
pub(crate) fn table(text: &mut String, blocks: &[Block]) -> Result {
    writeln!(text, "\n## What is aimed at\n")?;
    writeln!(
        text,
        "The aims were set on another machine; there the baselines were measured as well, so that \
         each aim is a ratio, too. Where waking a processor or a call costs more, only the ratio \
         tells.\n"
    )?;
    writeln!(
        text,
        "| work | figure | aim | came to | met | x baseline | aim, x | met so | beside |"
    )?;
    writeln!(text, "| --- | --- | ---: | ---: | --- | ---: | ---: | --- | --- |")?;
    for aim in &AIMS {
        if let Some(block) = aim.block(blocks) {
            aim.line(text, block)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::cases;
    use crate::record::{blocks, tests::measured};

    #[test]
    fn every_aim_is_of_a_case_that_is_measured() {
        let cases = cases(false);
        for aim in AIMS.iter().filter(|a| a.work != Work::Tunnel) {
            let case = cases.iter().find(|c| c.work == aim.work && c.name() == aim.case);
            let case = case.unwrap_or_else(|| panic!("{} is not measured", aim.case));
            let takes_part = |who| case.contenders.iter().any(|c| c.label() == who);
            assert!(takes_part(aim.who), "{}", aim.case);
            assert!(aim.rival.is_none_or(takes_part), "{}", aim.case);
        }
    }

    #[test]
    fn an_aim_that_is_missed_is_said_to_be() {
        let all = [
            measured(Contender::Reference.label(), 1, 0.1),
            measured(Plain.label(), 1, 0.3),
            measured(Nats.label(), 1, 0.4),
        ];
        let mut text = String::new();
        table(&mut text, &blocks(&all)).expect("text");
        assert!(
            text.contains(
                "| <= 0.180 | 0.300 | **no** | 3.00 | <= 1.20 | **no** | nats-server 0.400 |"
            ),
            "{text}"
        );
    }

    #[test]
    fn an_aim_is_also_a_ratio() {
        let met = |value, baseline| AIMS[0].relative(value, Some(baseline)).map(|(_, met)| met);
        assert_eq!(met(0.36, 0.30), Some(true), "all costs twice as much here");
        assert_eq!(met(0.17, 0.10), Some(false), "all costs less here");
        assert_eq!(AIMS[0].relative(0.1, None), None);
    }

    #[test]
    fn limits_are_from_above_from_below_and_relative() {
        let judge = |limit, value, baseline| {
            Aim { limit, ..cpu("", Plain, (0.0, None), Nats) }.judge(value, baseline).1
        };
        assert_eq!(judge(Limit::AtMost(5.0), 5.0, None), Some(true));
        assert_eq!(judge(Limit::AtLeast(5.0), 4.9, None), Some(false));
        assert_eq!(judge(Limit::Above(10.0), 95.0, Some(80.0)), Some(false));
        assert_eq!(judge(Limit::Above(10.0), 85.0, None), None);
    }
}
