//! The cluster over time: one sample a second of simulated time.

use conductor_core::units::Nanos;

/// Time between samples, at first.
pub const SAMPLE_PERIOD: Nanos = Nanos::SECOND;

/// With this many samples (twelve days of them) every second one is dropped and the time between samples doubles, so
/// that memory does not grow with simulated time.
pub const SAMPLES_MAX: usize = 1 << 20;

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

/// All samples of a run. While nothing is in the system there are none: all loads are 0 then.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// Time between samples.
    pub period: Nanos,
    /// How many samples were left out because nothing was in the system.
    pub idle: u64,
    /// The pools.
    pub pools: Vec<PoolSample>,
    /// All nodes by number, one stretch a sample; empty unless asked for.
    pub nodes: Vec<NodeSample>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self {
            period: SAMPLE_PERIOD,
            idle: 0,
            pools: Vec::new(),
            nodes: Vec::new(),
        }
    }
}

impl Timeline {
    /// Makes room once there are [`SAMPLES_MAX`]: every second sample goes, and the time between them doubles.
    pub(crate) fn thin(&mut self) {
        if self.pools.len() < SAMPLES_MAX {
            return;
        }
        let nodes = self.nodes.len() / self.pools.len();
        let mut kept = 0..;
        self.pools
            .retain(|_| kept.next().is_some_and(|i| i % 2 == 0));
        let mut kept = 0..;
        self.nodes
            .retain(|_| kept.next().is_some_and(|i| (i / nodes).is_multiple_of(2)));
        self.idle /= 2;
        self.period = self.period * 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_timeline_keeps_every_second_sample_of_pools_and_nodes() {
        let mut timeline = Timeline::default();
        for i in 0..SAMPLES_MAX as u64 {
            timeline.pools.push(PoolSample {
                at: Nanos::from_secs(i),
                ..PoolSample::default()
            });
            for node in 0..3 {
                timeline.nodes.push(NodeSample {
                    load: i as f64,
                    queued: node,
                    batch: 0,
                    used: 0.0,
                });
            }
        }
        timeline.thin();
        assert_eq!(
            (timeline.pools.len(), timeline.period),
            (SAMPLES_MAX / 2, Nanos::from_secs(2))
        );
        assert_eq!(timeline.pools[5].at, Nanos::from_secs(10));
        assert_eq!(
            (timeline.nodes[16].load as u64, timeline.nodes[16].queued),
            (10, 1)
        );
    }
}
