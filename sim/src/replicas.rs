//! How many prefill nodes hold given blocks, over time.
//!
//! Of what is true, not of what the Conductor believes: a node holds a block while its DRAM or SSD has it. A sample is
//! taken with the first of the timeline's samples that is due, so never later than one of their periods; while nothing
//! is in the system nothing changes, and there are none.
//!
//! Not here: which blocks are worth watching (whoever knows the workload).

use conductor_core::ids::BlockHash;
use conductor_core::node::PrefillQueue;
use conductor_core::units::Nanos;
use serde::{Deserialize, Serialize};

/// The number of copies of each watched block at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplicaSample {
    /// When.
    pub at: Nanos,
    /// By block, in the order in which they are watched.
    pub copies: Vec<u32>,
}

/// Blocks that are watched, and what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replicas {
    blocks: Vec<BlockHash>,
    period: Nanos,
    next: Nanos,
    /// What was seen, in order of time.
    pub samples: Vec<ReplicaSample>,
}

impl Replicas {
    /// Will watch `blocks`, with a sample every `period`.
    ///
    /// # Panics
    /// If the period is zero.
    #[must_use]
    pub fn new(blocks: Vec<BlockHash>, period: Nanos) -> Self {
        assert!(!period.is_zero(), "time has to go on between samples");
        Self {
            blocks,
            period,
            next: Nanos::ZERO,
            samples: Vec::new(),
        }
    }

    /// Takes a sample of these nodes if one is due.
    pub(crate) fn sample<'a>(
        &mut self,
        now: Nanos,
        nodes: impl Iterator<Item = &'a PrefillQueue> + Clone,
    ) {
        if now < self.next {
            return;
        }
        self.next = self.period * (now.0 / self.period.0 + 1);
        let holds = |queue: &PrefillQueue, block| queue.cache().has(block);
        let copies = |&block: &BlockHash| {
            let holders = nodes.clone().filter(|queue| holds(queue, block));
            holders.count() as u32
        };
        self.samples.push(ReplicaSample {
            at: now,
            copies: self.blocks.iter().map(copies).collect(),
        });
    }

    /// What became of each block's copies.
    #[must_use]
    pub fn reports(&self) -> Vec<ReplicaReport> {
        let report = |block: usize| {
            let copies = || self.samples.iter().map(move |sample| sample.copies[block]);
            let max = copies().max().unwrap_or(0);
            let first = self
                .samples
                .iter()
                .find(|sample| sample.copies[block] == max);
            ReplicaReport {
                mean: copies().map(f64::from).sum::<f64>() / self.samples.len().max(1) as f64,
                max,
                max_at_s: first.map_or(0.0, |sample| sample.at.as_secs_f64()),
                last: copies().next_back().unwrap_or(0),
            }
        };
        (0..self.blocks.len()).map(report).collect()
    }
}

/// The copies of one watched block over a run's samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplicaReport {
    /// Mean of the samples.
    pub mean: f64,
    /// The most in any sample.
    pub max: u32,
    /// Time of the first sample that has so many.
    pub max_at_s: f64,
    /// In the last sample.
    pub last: u32,
}
