//! Runs of kind `pool`: a workload through one cache of a given capacity, in order and without time.
//!
//! What it says is a bound and a shape, not a cluster: see [`conductor_traces::cache`]. Not here: clusters, policies of
//! the Conductor.

use crate::execute::RunError;
use crate::inputs::WorkloadInput;
use conductor_core::units::Tokens;
use conductor_traces::cache::{CacheStudy, Capacity, Policy, SubBlock, Unit};
use serde::{Deserialize, Serialize};

/// What to run.
#[derive(Clone, Debug)]
pub(crate) struct PoolJob {
    /// The requests.
    pub(crate) workload: WorkloadInput,
    /// Which block leaves a full pool.
    pub(crate) policy: Policy,
    /// Tokens that it holds.
    pub(crate) capacity: Capacity,
    /// What is added where prefixes break.
    pub(crate) sub_block: Option<SubBlock>,
}

/// What a run of this kind says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PoolReport {
    /// Name of the trace or workload.
    pub trace: String,
    /// Which block leaves a full pool.
    pub policy: Policy,
    /// Tokens that it holds, `null` if all.
    pub capacity_tokens: Capacity,
    /// True if sharing below a block is counted: [`SubBlock::FAST25`].
    pub sub_block: bool,
    /// Requests.
    pub requests: u64,
    /// Prompt tokens of all requests.
    pub input_tokens: u64,
    /// Share of prompt tokens that were hit.
    pub hit_ratio_tokens: f64,
    /// Share of prompt blocks that were hit.
    pub hit_ratio_blocks: f64,
}

impl Default for PoolReport {
    fn default() -> Self {
        Self {
            trace: String::new(),
            policy: Policy::Lru,
            capacity_tokens: Capacity::Infinite,
            sub_block: false,
            requests: 0,
            input_tokens: 0,
            hit_ratio_tokens: 0.0,
            hit_ratio_blocks: 0.0,
        }
    }
}

/// What came out of a run of this kind; the rest of its report is what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PoolCounts {
    requests: u64,
    input_tokens: u64,
    hit_ratio_tokens: f64,
    hit_ratio_blocks: f64,
}

impl PoolReport {
    /// What a job asked for, and what came out.
    pub(crate) fn new(job: &PoolJob, counts: PoolCounts) -> Self {
        Self {
            trace: job.workload.name.clone(),
            policy: job.policy,
            capacity_tokens: job.capacity,
            sub_block: job.sub_block.is_some(),
            requests: counts.requests,
            input_tokens: counts.input_tokens,
            hit_ratio_tokens: counts.hit_ratio_tokens,
            hit_ratio_blocks: counts.hit_ratio_blocks,
        }
    }
}

/// Runs a job.
///
/// # Errors
/// If the workload is wrong.
pub(crate) fn execute(job: &PoolJob) -> Result<PoolCounts, RunError> {
    let rows = job.workload.open()?.collect::<Result<Vec<_>, _>>();
    let rows = rows.map_err(crate::inputs::InputError::from)?;
    let study = CacheStudy::new(&rows, job.workload.block);
    let row = study.run_with(job.policy, job.capacity, Unit::Tokens, job.sub_block);
    let input: Tokens = rows.iter().map(|row| row.input).sum();
    Ok(PoolCounts {
        requests: rows.len() as u64,
        input_tokens: input.0,
        hit_ratio_tokens: row.hit_ratio_tokens,
        hit_ratio_blocks: row.hit_ratio_blocks,
    })
}
