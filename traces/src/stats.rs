//! What is in a workload: lengths, blocks, and what an infinite cache would hit. One pass, any length.
//!
//! Memory grows with the distinct blocks and the distinct lengths, not with the rows. Hits count prefixes: the
//! leading blocks of a prompt that some earlier prompt had; in tokens a hit of `p` blocks is worth
//! `min(p * block, input)`. Percentiles are nearest rank. Not here: finite caches (`cache`).

use crate::intern::BlockTable;
use conductor_core::units::{Nanos, Tokens};
use conductor_core::workload::WorkloadRequest;
use serde::Serialize;
use std::collections::BTreeMap;

/// The access counts at which [`Stats::access_cdf`] is given.
pub const ACCESS_POINTS: [u32; 6] = [1, 2, 3, 5, 10, 20];

/// The statistics of one workload. Field names are the keys of `trace stats --json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Stats {
    /// Rows.
    pub requests: u64,
    /// From the first arrival to the last, in seconds.
    pub duration_s: f64,
    /// Mean prompt length in tokens.
    pub input_mean: f64,
    /// Mean answer length in tokens.
    pub output_mean: f64,
    /// Blocks of all prompts.
    pub blocks_total: u64,
    /// Distinct blocks.
    pub blocks_unique: u64,
    /// Blocks that an infinite cache would hit as part of a prefix.
    pub blocks_hit_ideal: u64,
    /// `blocks_hit_ideal` over `blocks_total`; 0 where there are no blocks.
    pub hit_ratio_blocks_ideal: f64,
    /// Tokens that an infinite cache would hit, over all prompt tokens.
    pub hit_ratio_tokens_ideal: f64,
    /// Tokens in one block.
    pub block_tokens: u64,
    /// Prompt lengths in tokens.
    pub input: Quantiles,
    /// Answer lengths in tokens.
    pub output: Quantiles,
    /// How often blocks are used.
    pub access_cdf: Vec<AccessPoint>,
    /// Uses of the most used block.
    pub access_max: u32,
}

/// Some quantiles of a length, in tokens, nearest rank.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Quantiles {
    /// Median.
    pub p50: u64,
    /// 90 % are at most this.
    pub p90: u64,
    /// 99 % are at most this.
    pub p99: u64,
    /// The longest.
    pub max: u64,
}

/// One point of the distribution of access counts over distinct blocks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct AccessPoint {
    /// An access count.
    pub accesses: u32,
    /// Share of the distinct blocks that are used at most so often.
    pub share: f64,
}

/// Gathers [`Stats`] row by row.
#[derive(Debug)]
pub struct StatsBuilder {
    block_tokens: Tokens,
    requests: u64,
    first: Nanos,
    last: Nanos,
    inputs: Lengths,
    outputs: Lengths,
    blocks: BlockTable,
    accesses: Vec<u32>,
    blocks_total: u64,
    blocks_hit: u64,
    tokens_hit: u64,
}

impl StatsBuilder {
    /// Nothing seen yet.
    #[must_use]
    pub fn new(block_tokens: Tokens) -> Self {
        Self {
            block_tokens,
            requests: 0,
            first: Nanos::MAX,
            last: Nanos::ZERO,
            inputs: Lengths::default(),
            outputs: Lengths::default(),
            blocks: BlockTable::default(),
            accesses: Vec::new(),
            blocks_total: 0,
            blocks_hit: 0,
            tokens_hit: 0,
        }
    }

    /// Takes one row into account.
    pub fn add(&mut self, row: &WorkloadRequest) {
        self.requests += 1;
        self.first = self.first.min(row.arrival);
        self.last = self.last.max(row.arrival);
        self.inputs.add(row.input);
        self.outputs.add(row.output);
        self.blocks_total += row.blocks.len() as u64;
        let mut hit = 0;
        let mut leading = true;
        for block in &row.blocks {
            let index = self.blocks.intern(*block) as usize;
            if index == self.accesses.len() {
                self.accesses.push(0);
                leading = false;
            }
            hit += u64::from(leading);
            self.accesses[index] += 1;
        }
        self.blocks_hit += hit;
        self.tokens_hit += (self.block_tokens * hit).min(row.input).0;
    }

    /// The statistics of the rows so far.
    #[must_use]
    pub fn finish(&self) -> Stats {
        let share = |part: u64, whole: u64| {
            if whole == 0 {
                0.0
            } else {
                part as f64 / whole as f64
            }
        };
        let unique = self.accesses.len() as u64;
        let mut counts: BTreeMap<u32, u64> = BTreeMap::new();
        for accesses in &self.accesses {
            *counts.entry(*accesses).or_default() += 1;
        }
        let at_most = |limit: u32| counts.range(..=limit).map(|(_, blocks)| blocks).sum();
        Stats {
            requests: self.requests,
            duration_s: self.last.saturating_sub(self.first).as_secs_f64(),
            input_mean: share(self.inputs.total, self.requests),
            output_mean: share(self.outputs.total, self.requests),
            blocks_total: self.blocks_total,
            blocks_unique: unique,
            blocks_hit_ideal: self.blocks_hit,
            hit_ratio_blocks_ideal: share(self.blocks_hit, self.blocks_total),
            hit_ratio_tokens_ideal: share(self.tokens_hit, self.inputs.total),
            block_tokens: self.block_tokens.0,
            input: self.inputs.quantiles(),
            output: self.outputs.quantiles(),
            access_cdf: ACCESS_POINTS
                .iter()
                .map(|accesses| AccessPoint {
                    accesses: *accesses,
                    share: share(at_most(*accesses), unique),
                })
                .collect(),
            access_max: counts.last_key_value().map_or(0, |(accesses, _)| *accesses),
        }
    }
}

impl Stats {
    /// The statistics of all rows of an iterator.
    #[must_use]
    pub fn of<'a>(
        rows: impl IntoIterator<Item = &'a WorkloadRequest>,
        block_tokens: Tokens,
    ) -> Self {
        let mut builder = StatsBuilder::new(block_tokens);
        rows.into_iter().for_each(|row| builder.add(row));
        builder.finish()
    }
}

/// A multiset of lengths: exact, and no larger than the number of distinct lengths.
#[derive(Debug, Default)]
struct Lengths {
    counts: BTreeMap<u64, u64>,
    number: u64,
    total: u64,
}

impl Lengths {
    fn add(&mut self, length: Tokens) {
        *self.counts.entry(length.0).or_default() += 1;
        self.number += 1;
        self.total += length.0;
    }

    fn quantiles(&self) -> Quantiles {
        Quantiles {
            p50: self.percentile(50),
            p90: self.percentile(90),
            p99: self.percentile(99),
            max: self.percentile(100),
        }
    }

    /// Nearest rank: the smallest length that at least `percent` of the rows do not exceed.
    fn percentile(&self, percent: u64) -> u64 {
        let rank = (self.number * percent).div_ceil(100);
        let mut seen = 0;
        for (length, count) in &self.counts {
            seen += count;
            if seen >= rank {
                return *length;
            }
        }
        0
    }
}
