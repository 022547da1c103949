//! Which blocks of a workload are watched, and how many prefill nodes held them over time.
//!
//! A block's rank is its place by use: how many prompts of the whole workload have it, the most first, of equals the
//! one that came first. Rank 1 is the most used. Not here: drawing, and counting
//! ([`conductor_sim::replicas`]).

use crate::execute::RunError;
use crate::inputs::{InputError, WorkloadInput};
use conductor_core::ids::BlockHash;
use conductor_core::units::Nanos;
use conductor_sim::replicas::ReplicaSample;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Ranks of the blocks, from 1.
    pub ranks: Vec<u64>,
    /// Time between samples.
    pub period: Nanos,
}

impl Watch {
    /// The blocks at the ranks, of a workload that is opened for this.
    ///
    /// # Errors
    /// If the workload is wrong or has fewer blocks than the largest rank.
    pub(crate) fn blocks(&self, workload: &WorkloadInput) -> Result<Vec<BlockHash>, RunError> {
        // Uses by block, and in which order blocks came.
        let mut uses: BTreeMap<BlockHash, (u64, u64)> = BTreeMap::new();
        for row in workload.open()? {
            for block in row.map_err(InputError::from)?.blocks {
                let came = uses.len() as u64;
                uses.entry(block).or_insert((0, came)).0 += 1;
            }
        }
        let mut ranked: Vec<_> = uses.into_iter().collect();
        ranked.sort_unstable_by_key(|&(_, (uses, came))| (std::cmp::Reverse(uses), came));
        let at = |&rank: &u64| {
            let place = usize::try_from(rank - 1).ok();
            let found = place.and_then(|place| ranked.get(place));
            found.map(|&(block, _)| block).ok_or_else(|| {
                RunError::Input(InputError::Range {
                    what: "watch.ranks",
                    expected: "ranks of which the workload has blocks",
                    found: format!("{rank} of {} blocks", ranked.len()),
                })
            })
        };
        self.ranks.iter().map(at).collect()
    }
}

/// The copies of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaSeries {
    /// Which, by its number and repetition: the place of its report among all.
    pub run: usize,
    /// The samples, in order.
    pub samples: Vec<ReplicaSample>,
}

/// All series as one table; `cell` is the run's label.
pub(crate) fn csv<'a>(
    watch: &Watch,
    series: impl Iterator<Item = (String, u64, &'a [ReplicaSample])>,
) -> String {
    let mut text = "cell,seed,rank,time_s,replicas\n".to_string();
    for (cell, seed, samples) in series {
        let cell = crate::results::cell(&cell);
        for sample in samples {
            let at = sample.at.as_secs_f64();
            for (rank, copies) in watch.ranks.iter().zip(&sample.copies) {
                writeln!(text, "{cell},{seed},{rank},{at},{copies}")
                    .expect("a string takes everything");
            }
        }
    }
    text
}
