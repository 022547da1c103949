//! The cluster over time: one sample a second of simulated time.

use conductor_core::units::Nanos;

/// Time between samples.
pub const SAMPLE_PERIOD: Nanos = Nanos::SECOND;

/// The pools at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PoolSample {
    /// When.
    pub at: Nanos,
    /// Mean load of the prefill nodes (predicted TTFT over its limit).
    pub prefill_load: f64,
    /// Mean load of the decode nodes (predicted TBT over its limit).
    pub decode_load: f64,
    /// Requests in the system.
    pub live: u64,
    /// Prompt tokens whose prefill has started since the start of the run.
    pub input_tokens: u64,
    /// Those of them that were reused.
    pub hit_tokens: u64,
}

/// One node at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NodeSample {
    /// Its load.
    pub load: f64,
    /// Requests that wait: for prefill, or for HBM.
    pub queued: u32,
    /// Requests that run: 0 or 1 for prefill, the batch for decode.
    pub batch: u32,
    /// Share of the cache (prefill) or of HBM (decode) that is in use.
    pub used: f64,
}

/// All samples of a run.
#[derive(Clone, Debug, Default)]
pub struct Timeline {
    /// The pools.
    pub pools: Vec<PoolSample>,
    /// All nodes by number, one stretch a sample; empty unless asked for.
    pub nodes: Vec<NodeSample>,
}
