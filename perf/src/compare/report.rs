//! Tables in Markdown: of each case, and of the whole.

use std::fmt::Write;

use crate::aims;
use crate::contender::Peer;
use crate::figures::{Metric, number};
use crate::machine::Machine;
use crate::plan::Work;
use crate::record::{Block, Measurement, Row, blocks};

/// What is known beside the measurements.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) machine: Machine,
    /// How this was run.
    pub(crate) command: String,
    /// Peers with their versions.
    pub(crate) present: Vec<(Peer, Option<String>)>,
    /// Peers that are not here, and what is missing.
    pub(crate) missing: Vec<(Peer, String)>,
}

/// Everything that was measured.
pub(crate) fn whole(measurements: &[Measurement], setting: &Setting) -> String {
    let blocks = blocks(measurements);
    let mut text = String::new();
    let _ = head(&mut text, measurements, setting);
    let _ = aims::table(&mut text, &blocks);
    let mut work = None;
    for block in &blocks {
        if work != Some(block.work) {
            work = Some(block.work);
            let (title, about) = block.work.about();
            let _ = writeln!(text, "\n## {title}\n\n{about}");
        }
        let _ = table(&mut text, block);
    }
    let _ = commands(&mut text, measurements);
    text
}

/// What each contender was started with, in the first case of each work.
fn commands(text: &mut String, all: &[Measurement]) -> std::fmt::Result {
    writeln!(text, "\n## Commands\n\nPorts are whatever is free. Files are written by")?;
    writeln!(
        text,
        "`perf/src/compare/contend`, which also drives what is not driven by a command here.\n"
    )?;
    let mut seen = Vec::new();
    for m in all.iter().filter(|m| !m.commands.is_empty()) {
        let key = (m.work, &m.contender);
        if seen.contains(&key) {
            continue;
        }
        seen.push(key);
        let (title, _) = m.work.about();
        writeln!(text, "- {title}: {}, {}", m.contender, m.case)?;
        for command in &m.commands {
            writeln!(text, "  - `{command}`")?;
        }
    }
    Ok(())
}

fn head(text: &mut String, all: &[Measurement], setting: &Setting) -> std::fmt::Result {
    let machine = &setting.machine;
    let rounds = all.iter().map(|m| m.round).max().unwrap_or(0);
    writeln!(text, "# What relaying costs, side by side\n")?;
    let plural = if rounds == 1 { "" } else { "s" };
    writeln!(text, "Written by `{}`, {rounds} round{plural}.\n", setting.command)?;
    writeln!(text, "- Machine: {}", machine.about)?;
    writeln!(
        text,
        "- Linux {}; {}; trunkline at {}",
        machine.kernel, machine.rustc, machine.commit
    )?;
    writeln!(
        text,
        "- The relay alone on one processor, everything else on another, all over the loopback \
         device. Contenders take turns within each round; each is started anew for each figure."
    )?;
    writeln!(
        text,
        "- Figures are medians, with the least and the most in parentheses; `x` is the ratio to \
         the case's baseline (1.00). Processor seconds are the relay's, user and system. Where it \
         is less than 95 % busy, its clients were the limit: then only the processor seconds tell."
    )?;
    writeln!(
        text,
        "\n| contender | version | what it does and what it does not |\n| --- | --- | --- |"
    )?;
    for (peer, version) in &setting.present {
        let (name, about) = peer.about();
        writeln!(text, "| {name} | {} | {about} |", version.as_deref().unwrap_or("-"))?;
    }
    for (peer, why) in &setting.missing {
        writeln!(text, "| {} | missing | {why} |", peer.about().0)?;
    }
    Ok(())
}

/// One case.
pub(crate) fn table(text: &mut String, block: &Block) -> std::fmt::Result {
    let metrics = block.metrics();
    let lead = lead(block.work, &metrics);
    writeln!(text, "\n### {}\n", block.case)?;
    write!(text, "| contender |")?;
    for metric in &metrics {
        write!(text, " {} |", metric.label())?;
        if Some(*metric) == lead {
            write!(text, " x |")?;
        }
    }
    let columns = metrics.len() + usize::from(lead.is_some());
    writeln!(text, "\n| --- |{}", " ---: |".repeat(columns))?;
    for row in &block.rows {
        write!(text, "| {} |", row.contender)?;
        for metric in &metrics {
            write!(text, " {} |", cell(row, *metric, Some(*metric) == lead))?;
            if Some(*metric) == lead {
                let base = block.baseline().and_then(|b| b.median(*metric)).filter(|m| *m > 0.0);
                let ratio = row.median(*metric).zip(base).map(|(m, b)| format!("{:.2}", m / b));
                write!(text, " {} |", ratio.as_deref().unwrap_or("-"))?;
            }
        }
        writeln!(text)?;
    }
    for row in &block.rows {
        if let Some(why) = &row.failed {
            writeln!(text, "\n{} failed: {why}", row.contender)?;
        }
    }
    Ok(())
}

/// The metric that ratios are made of.
fn lead(work: Work, metrics: &[Metric]) -> Option<Metric> {
    let wanted = match work {
        Work::Latency => Metric::P50,
        Work::Stall => return None,
        _ => *metrics.first()?,
    };
    metrics.contains(&wanted).then_some(wanted)
}

fn cell(row: &Row, metric: Metric, spread: bool) -> String {
    match row.sample(metric) {
        None => "-".into(),
        Some(s) if spread && s.least < s.most => {
            format!("{} ({} to {})", number(s.median), number(s.least), number(s.most))
        }
        Some(s) => number(s.median),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::tests::measured;

    #[test]
    fn a_table_has_medians_spreads_and_ratios() {
        let all = [
            measured("reference relay, TCP", 1, 0.1),
            measured("nats-server", 1, 0.4),
            measured("nats-server", 2, 0.6),
        ];
        let mut text = String::new();
        table(&mut text, &blocks(&all)[0]).expect("text");
        assert!(text.contains("| contender | cpu-s per million | x |"), "{text}");
        assert!(text.contains("| nats-server | 0.500 (0.400 to 0.600) | 5.00 |"), "{text}");
    }

    #[test]
    fn what_failed_is_said() {
        let mut failed = measured("coturn", 1, 0.0);
        failed.figures.clear();
        failed.failed = Some("the server does not answer".into());
        let all = [measured("reference relay, TCP", 1, 0.1), failed];
        let mut text = String::new();
        table(&mut text, &blocks(&all)[0]).expect("text");
        assert!(text.contains("| coturn | - | - |"), "{text}");
        assert!(text.contains("coturn failed: the server does not answer"), "{text}");
    }
}
