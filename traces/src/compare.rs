//! How alike two workloads are: distances between distributions, and what each row leaves to compute.
//!
//! Why: a generated trace must stand for the real one in a simulation, so what drives a simulation is compared:
//! lengths, the part of a prompt that an infinite cache would not have, and the bursts of arrivals.

use crate::intern::BlockTable;
use conductor_core::units::{Nanos, Tokens};
use conductor_core::workload::WorkloadRequest;

/// The Kolmogorov-Smirnov distance of two samples: the largest difference of their distribution functions.
///
/// One where a sample is empty and the other is not, zero where both are.
#[must_use]
pub fn ks_distance(
    left: impl IntoIterator<Item = u64>,
    right: impl IntoIterator<Item = u64>,
) -> f64 {
    let sorted = |sample: &mut dyn Iterator<Item = u64>| {
        let mut values: Vec<u64> = sample.collect();
        values.sort_unstable();
        values
    };
    let (left, right) = (
        sorted(&mut left.into_iter()),
        sorted(&mut right.into_iter()),
    );
    if left.is_empty() || right.is_empty() {
        return if left.is_empty() && right.is_empty() {
            0.0
        } else {
            1.0
        };
    }
    let (mut i, mut j, mut distance) = (0, 0, 0.0_f64);
    while i < left.len() && j < right.len() {
        let value = left[i].min(right[j]);
        while left.get(i) == Some(&value) {
            i += 1;
        }
        while right.get(j) == Some(&value) {
            j += 1;
        }
        let gap = i as f64 / left.len() as f64 - j as f64 / right.len() as f64;
        distance = distance.max(gap.abs());
    }
    distance
}

/// One row as a prefill node sees it behind an infinite cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Demand {
    /// Prompt length.
    pub input: Tokens,
    /// The part of it that the cache has.
    pub cached: Tokens,
    /// Answer length.
    pub output: Tokens,
}

impl Demand {
    /// The part of the prompt that must be computed.
    #[must_use]
    pub fn uncached(self) -> Tokens {
        self.input - self.cached
    }
}

/// What every row asks for where all earlier prompts are cached.
#[must_use]
pub fn demands(rows: &[WorkloadRequest], block_tokens: Tokens) -> Vec<Demand> {
    let mut table = BlockTable::default();
    let demand = |row: &WorkloadRequest| {
        let known = table.len() as u32;
        let hit = row
            .blocks
            .iter()
            .take_while(|block| table.intern(**block) < known)
            .count();
        // The first unknown block is in by now; the rest follow.
        for block in row.blocks.iter().skip(hit) {
            table.intern(*block);
        }
        Demand {
            input: row.input,
            cached: (block_tokens * hit as u64).min(row.input),
            output: row.output,
        }
    };
    rows.iter().map(demand).collect()
}

/// The largest distance over a grid of the joint distribution functions of (input, cached prefix).
///
/// The grid is made of the 5 % quantiles of the left sample, so both lengths are looked at where rows are.
#[must_use]
pub fn joint_distance(left: &[Demand], right: &[Demand]) -> f64 {
    if left.is_empty() || right.is_empty() {
        return if left.is_empty() && right.is_empty() {
            0.0
        } else {
            1.0
        };
    }
    let quantiles = |pick: fn(&Demand) -> Tokens| {
        let mut values: Vec<Tokens> = left.iter().map(pick).collect();
        values.sort_unstable();
        (1..20)
            .map(|i| values[i * (values.len() - 1) / 20])
            .collect::<Vec<_>>()
    };
    let (inputs, cached) = (
        quantiles(|demand| demand.input),
        quantiles(|demand| demand.cached),
    );
    let share = |sample: &[Demand], input: Tokens, cached: Tokens| {
        let within = sample
            .iter()
            .filter(|demand| demand.input <= input && demand.cached <= cached)
            .count();
        within as f64 / sample.len() as f64
    };
    let mut distance = 0.0_f64;
    for input in &inputs {
        for cached in &cached {
            let gap = share(left, *input, *cached) - share(right, *input, *cached);
            distance = distance.max(gap.abs());
        }
    }
    distance
}

/// For every row with a cached prefix: how long ago the last block of that prefix was used.
#[must_use]
pub fn reuse_gaps(rows: &[WorkloadRequest]) -> Vec<Nanos> {
    let mut table = BlockTable::default();
    let mut last_use: Vec<Nanos> = Vec::new();
    let mut gaps = Vec::new();
    for row in rows {
        let mut deepest = None;
        let mut leading = true;
        for block in &row.blocks {
            let index = table.intern(*block) as usize;
            if index == last_use.len() {
                leading = false;
                last_use.push(row.arrival);
            } else if leading {
                deepest = Some(last_use[index]);
            }
            last_use[index] = row.arrival;
        }
        gaps.extend(deepest.map(|before| row.arrival - before));
    }
    gaps
}

/// How many rows arrive in each slot of `width`, from the start to the last row's slot.
///
/// # Panics
/// Where `width` is zero.
#[must_use]
pub fn arrivals_per_slot(rows: &[WorkloadRequest], width: Nanos) -> Vec<u64> {
    assert!(!width.is_zero(), "a slot has a width");
    let mut counts = Vec::new();
    for row in rows {
        // Stamps of a grid may lie a little before their point.
        let slot = ((row.arrival.0 + width.0 / 1000) / width.0) as usize;
        if slot >= counts.len() {
            counts.resize(slot + 1, 0);
        }
        counts[slot] += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use conductor_core::ids::{BlockHash, ClassId};

    fn row(seconds: u64, input: u64, blocks: &[u64]) -> WorkloadRequest {
        WorkloadRequest {
            class: ClassId::default(),
            workflow: None,
            arrival: Nanos::from_secs(seconds),
            input: Tokens(input),
            output: Tokens(1),
            blocks: blocks.iter().copied().map(BlockHash).collect(),
        }
    }

    #[test]
    fn distances_of_small_samples_are_exact() {
        let near = |found: f64, expected: f64| {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}")
        };
        near(ks_distance([1, 2, 3, 4], [1, 2, 3, 4]), 0.0);
        near(ks_distance([1, 2, 3, 4], [3, 4, 5, 6]), 0.5);
        near(ks_distance([1, 1, 1, 2], [1, 2, 2, 2]), 0.5);
        near(ks_distance([1], []), 1.0);
        near(ks_distance([], []), 0.0);
    }

    #[test]
    fn demand_gap_and_slots_of_a_small_trace() {
        let rows = [
            row(0, 1024, &[1, 2]),
            row(3, 1100, &[1, 2, 3]),
            row(7, 600, &[1, 9]),
            row(8, 1024, &[1, 2]),
        ];
        let cached: Vec<u64> = demands(&rows, Tokens(512))
            .iter()
            .map(|demand| demand.cached.0)
            .collect();
        assert_eq!(cached, [0, 1024, 512, 1024]);
        let gaps: Vec<u64> = reuse_gaps(&rows)
            .iter()
            .map(|gap| gap.0 / 1_000_000_000)
            .collect();
        assert_eq!(gaps, [3, 4, 5]);
        assert_eq!(arrivals_per_slot(&rows, Nanos::from_secs(3)), [1, 1, 2]);
    }
}
