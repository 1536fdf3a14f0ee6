//! What is measured: works, their shapes, and who takes part.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::contender::Contender::{self, *};

/// A kind of work.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[value(rename_all = "kebab-case")]
pub(crate) enum Work {
    /// Messages over one hop, as many as go
    Hop,
    /// 5,000 messages a second over one hop: how long they take
    Latency,
    /// Two and three hops
    Chain,
    /// Datagrams over one hop
    Datagrams,
    /// A receiver among 100 that stops reading
    Stall,
    /// TCP through a tunnel
    Tunnel,
}

impl Work {
    /// Its heading, and what has to be known to read its tables.
    pub(crate) const fn about(self) -> (&'static str, &'static str) {
        match self {
            Self::Hop => (
                "One hop, flat out",
                "A closed loop: so many messages are on their way at a time, and the next leave \
                 when those have come. The relay alone is on its processor.",
            ),
            Self::Latency => (
                "One hop, 5,000 messages a second",
                "An open loop: each message has a moment at which it is due, and its time counts \
                 from there. At this rate waking a sleeping processor is most of what any relay \
                 costs, so the difference to the bare forwarder is what tells. All \
                 clients write to their sockets themselves; ours are bare links.",
            ),
            Self::Chain => (
                "Two and three hops",
                "All relays together on one processor; what they cost is added up.",
            ),
            Self::Datagrams => (
                "Datagrams, one hop over UDP",
                "Groups of one leave in a call each; larger ones as one segmented send, which the \
                 loopback device hands on in one piece.",
            ),
            Self::Stall => (
                "A receiver among 100 that stops reading",
                "What the other 99 pairs get beside one that is sent 5,000 messages a second, \
                 first while its receiver reads, then while it does not.",
            ),
            Self::Tunnel => (
                "TCP tunnels",
                "All of a tunnel's processes, both ends, on one processor (`perf/tunnel.sh`).",
            ),
        }
    }
}

/// One way to load a relay.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) size: usize,
    pub(crate) pairs: usize,
    /// Messages in one write of a sender.
    pub(crate) group: usize,
    /// Messages on their way, of all pairs together.
    pub(crate) window: u64,
    pub(crate) rate: Option<u64>,
    pub(crate) hops: usize,
}

/// Contenders in one shape, and against whom they are measured.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) work: Work,
    pub(crate) shape: Shape,
    pub(crate) contenders: Vec<Contender>,
    pub(crate) baseline: Contender,
}

impl Case {
    /// What it is called, in tables and for programs.
    pub(crate) fn name(&self) -> String {
        let s = &self.shape;
        let mut name = format!("{} B, ", s.size);
        match (s.rate, self.work) {
            (Some(rate), _) => name.push_str(&format!("{rate}/s")),
            (None, Work::Stall) => name.push_str("99 pairs and a stalled one"),
            (None, _) => {
                let plural = if s.pairs == 1 { "" } else { "s" };
                name.push_str(&format!("{} pair{plural}, {} a write", s.pairs, s.group));
            }
        }
        if s.hops > 1 {
            name.push_str(&format!(", {} hops", s.hops));
        }
        name
    }
}

/// Bytes on their way at most: all contenders keep as many for a reader that is not as fast as its
/// sender, and drop none.
const AWAY: u64 = 1 << 20;

impl Shape {
    fn flat_out(size: usize, pairs: usize, group: usize) -> Self {
        let window = (AWAY / size as u64).clamp(64, 4_096).max((pairs * group * 2) as u64);
        Self { size, pairs, group, window, rate: None, hops: 1 }
    }

    fn paced(size: usize) -> Self {
        Self { rate: Some(5_000), ..Self::flat_out(size, 1, 1) }
    }
}

/// Everything, or what says most in a few minutes.
pub(crate) fn cases(quick: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    hop(quick, &mut cases);
    let who = vec![UdpCall, Reference, Plain, Tls, Nats, Coturn, Iroh, IrohTls, Zenoh, Mosquitto];
    cases.push(case(Work::Latency, Shape::paced(300), UdpCall, who));
    chain(quick, &mut cases);
    datagrams(quick, &mut cases);
    if !quick {
        let shape = Shape { pairs: 99, ..Shape::flat_out(300, 100, 8) };
        cases.push(case(Work::Stall, shape, Reference, vec![Reference, Plain, Nats, Mosquitto]));
    }
    cases
}

fn case(work: Work, shape: Shape, baseline: Contender, contenders: Vec<Contender>) -> Case {
    Case { work, shape, contenders, baseline }
}

fn hop(quick: bool, cases: &mut Vec<Case>) {
    let shapes: &[(usize, usize, usize)] = if quick {
        &[(300, 1, 64), (300, 100, 8), (1_200, 1, 64), (300, 1, 1)]
    } else {
        &[
            (64, 1, 64),
            (64, 100, 8),
            (300, 1, 64),
            (300, 100, 8),
            (300, 1, 1),
            (300, 100, 1),
            (1_200, 1, 64),
            (1_200, 100, 8),
            (16_384, 1, 16),
            (16_384, 100, 1),
        ]
    };
    for &(size, pairs, group) in shapes {
        let mut who = vec![Reference, Plain, Tls, Nats, Zenoh, Iroh, IrohTls];
        if pairs == 1 && size < 16_000 {
            who.insert(0, TcpCopy);
        }
        // A frame of iroh holds no more.
        if group > 1 && size <= 1_200 {
            who.push(IrohTlsPacked);
        }
        if size > 1_200 {
            who.retain(|c| !matches!(c, Iroh | IrohTls));
        }
        who.push(Mosquitto);
        cases.push(case(Work::Hop, Shape::flat_out(size, pairs, group), Reference, who));
    }
}

fn chain(quick: bool, cases: &mut Vec<Case>) {
    let shapes: &[(usize, usize)] =
        if quick { &[(300, 3)] } else { &[(300, 2), (1_200, 2), (300, 3), (1_200, 3)] };
    for &(size, hops) in shapes {
        let shape = Shape { hops, ..Shape::flat_out(size, 1, 64) };
        cases.push(case(Work::Chain, shape, Plain, vec![Plain, Tls, Nats, Zenoh]));
    }
}

fn datagrams(quick: bool, cases: &mut Vec<Case>) {
    let shapes: &[(usize, usize, usize)] = if quick {
        &[(300, 1, 1), (300, 1, 32)]
    } else {
        &[(300, 1, 1), (1_200, 1, 1), (300, 100, 1), (300, 1, 32), (1_200, 1, 32), (300, 100, 8)]
    };
    for &(size, pairs, group) in shapes {
        let shape = Shape { window: 1_024, ..Shape::flat_out(size, pairs, group) };
        let who = vec![UdpCall, UdpBatch, UdpRuns, Bridged, Coturn];
        cases.push(case(Work::Datagrams, shape, UdpBatch, who));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_has_its_baseline_and_a_name_of_its_own() {
        for quick in [true, false] {
            let cases = cases(quick);
            let mut names: Vec<_> = cases.iter().map(|c| (c.work, c.name())).collect();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), cases.len());
            for case in &cases {
                assert!(case.contenders.contains(&case.baseline), "{}", case.name());
                assert!(case.shape.window >= case.shape.group as u64, "{}", case.name());
            }
        }
    }

    #[test]
    fn what_is_measured_quickly_is_also_measured_at_length() {
        let all: Vec<_> = cases(false).iter().map(|c| (c.work, c.name())).collect();
        for case in cases(true) {
            assert!(all.contains(&(case.work, case.name())), "{}", case.name());
        }
    }
}
