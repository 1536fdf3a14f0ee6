//! What was measured, one line of JSON each, and what all rounds say together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::contender::Contender;
use crate::figures::{Figures, Metric, Sample};
use crate::plan::Work;

/// One measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Measurement {
    pub(crate) work: Work,
    pub(crate) case: String,
    /// Of `Contender`s, or a program of the scripts for tunnels and urgent messages.
    pub(crate) contender: String,
    /// What it is measured against.
    pub(crate) baseline: String,
    pub(crate) round: u32,
    pub(crate) figures: Figures,
    /// What went wrong, if it did; there are no figures then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failed: Option<String>,
    /// What was started for it.
    #[serde(default)]
    pub(crate) commands: Vec<String>,
}

/// The name of a contender, as it is in a [`Measurement`].
pub(crate) fn label(contender: Contender) -> String {
    contender.label().to_owned()
}

/// All rounds of one contender in one case.
#[derive(Debug, Default)]
pub(crate) struct Row {
    pub(crate) contender: String,
    samples: BTreeMap<Metric, Vec<f64>>,
    pub(crate) failed: Option<String>,
}

impl Row {
    /// What its rounds say of one metric.
    pub(crate) fn sample(&self, metric: Metric) -> Option<Sample> {
        Sample::of(self.samples.get(&metric)?.clone())
    }

    /// The median of one metric.
    pub(crate) fn median(&self, metric: Metric) -> Option<f64> {
        self.sample(metric).map(|s| s.median)
    }
}

/// All contenders of one case.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) work: Work,
    pub(crate) case: String,
    baseline: String,
    pub(crate) rows: Vec<Row>,
}

impl Block {
    /// The row of one contender.
    pub(crate) fn row(&self, contender: &str) -> Option<&Row> {
        self.rows.iter().find(|r| r.contender == contender)
    }

    /// The row of the one all are measured against.
    pub(crate) fn baseline(&self) -> Option<&Row> {
        self.row(&self.baseline)
    }

    /// Every metric that some row has.
    pub(crate) fn metrics(&self) -> Vec<Metric> {
        let mut all: Vec<Metric> =
            self.rows.iter().flat_map(|r| r.samples.keys().copied()).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// Measurements by case and contender, in the order in which they first came.
pub(crate) fn blocks(measurements: &[Measurement]) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for m in measurements {
        let at = blocks.iter().position(|b| b.work == m.work && b.case == m.case);
        let at = at.unwrap_or_else(|| {
            let (case, baseline) = (m.case.clone(), m.baseline.clone());
            blocks.push(Block { work: m.work, case, baseline, rows: Vec::new() });
            blocks.len() - 1
        });
        let Some(block) = blocks.get_mut(at) else { continue };
        let at = block.rows.iter().position(|r| r.contender == m.contender);
        let at = at.unwrap_or_else(|| {
            block.rows.push(Row { contender: m.contender.clone(), ..Row::default() });
            block.rows.len() - 1
        });
        let Some(row) = block.rows.get_mut(at) else { continue };
        for (metric, value) in &m.figures {
            row.samples.entry(*metric).or_default().push(*value);
        }
        if row.failed.is_none() {
            row.failed.clone_from(&m.failed);
        }
    }
    blocks.sort_by_key(|b| b.work);
    blocks
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn measured(contender: &str, round: u32, cpu: f64) -> Measurement {
        Measurement {
            work: Work::Hop,
            case: "300 B, 1 pair, 64 a write".into(),
            contender: contender.into(),
            baseline: "reference relay, TCP".into(),
            round,
            figures: Figures::from([(Metric::CpuPerMillion, cpu)]),
            failed: None,
            commands: Vec::new(),
        }
    }

    #[test]
    fn rounds_come_together_by_case_and_contender() {
        let all = [
            measured("reference relay, TCP", 1, 0.1),
            measured("nats-server", 1, 0.4),
            measured("reference relay, TCP", 2, 0.2),
            measured("nats-server", 2, 0.6),
        ];
        let blocks = blocks(&all);
        assert_eq!(blocks.len(), 1);
        let cpu = |row: Option<&Row>| row.and_then(|r| r.median(Metric::CpuPerMillion));
        assert_eq!(cpu(blocks[0].row("nats-server")), Some(0.5));
        assert!(cpu(blocks[0].baseline()).is_some_and(|m| (m - 0.15).abs() < 1e-9));
    }

    #[test]
    fn a_line_of_json_is_read_as_it_was_written() {
        let m = measured("nats-server", 1, 0.4);
        let line = serde_json::to_string(&m).expect("a line");
        let read: Measurement = serde_json::from_str(&line).expect("a measurement");
        assert_eq!((read.contender, read.figures), (m.contender, m.figures));
    }
}
