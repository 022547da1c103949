//! What to simulate, what is watched meanwhile, and what came out.

use crate::clients::RetryConfig;
use crate::engine::RoleChange;
use crate::faults::{FaultCounts, FaultPlan};
use crate::record::RequestRecord;
use crate::replicas::Replicas;
use crate::tiers::TierTotals;
use crate::timeline::Timeline;
use conductor_core::conductor::Counters;
use conductor_core::config::{ClusterConfig, PolicyConfig};
use conductor_core::units::{Bytes, Nanos};
use std::io::Write;
use std::num::NonZeroU32;

/// How machines are advanced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// A node jumps to its next change.
    #[default]
    FastForward,
    /// Every chunk and every step is an event: the slow reference, equal in every result.
    StepByStep,
}

/// What to simulate.
#[derive(Clone, Debug)]
pub struct RunConfig {
    /// The nodes.
    pub cluster: ClusterConfig,
    /// How the Conductor decides.
    pub policy: PolicyConfig,
    /// How clients that are turned away try again.
    pub retry: RetryConfig,
    /// At most this many requests at a time: the workload's own arrivals are ignored, and the next request comes
    /// at the instant at which one has ended for good, as from that many clients of a benchmark. `None`: requests
    /// arrive when the workload says.
    pub closed_loop: Option<NonZeroU32>,
    /// What goes wrong.
    pub faults: FaultPlan,
    /// Seed of random policies, of noise and of clients' waits.
    pub seed: u64,
    /// How machines are advanced.
    pub mode: Mode,
    /// Keep samples of every node, besides those of the pools.
    pub node_samples: bool,
}

/// What came out.
#[derive(Clone, Debug, Default)]
pub struct RunResult {
    /// Every request, by arrival; none if an observer took them.
    pub records: Vec<RequestRecord>,
    /// The cluster over time.
    pub timeline: Timeline,
    /// Digest of the journal.
    pub digest: String,
    /// What the Conductor counted.
    pub counters: Counters,
    /// Time of the last event.
    pub simulated: Nanos,
    /// Events of the simulation.
    pub events: u64,
    /// Copies of blocks from prefill node to prefill node.
    pub copies: Transfers,
    /// KV of whole prompts from prefill to decode nodes.
    pub streams: Transfers,
    /// Where reused blocks were found, and what fetching them took.
    pub tiers: TierTotals,
    /// How often a request on a coupled node has lost its KV and was computed anew.
    pub recomputed: u64,
    /// Nodes that changed their role, in order of time.
    pub role_changes: Vec<RoleChange>,
    /// What happened of faults.
    pub faults: FaultCounts,
}

/// Transfers between nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transfers {
    /// How many.
    pub count: u64,
    /// Bytes in all.
    pub bytes: Bytes,
    /// Time from the moment when all data was there to be sent, in all.
    pub time: Nanos,
    /// Time that they would take if each had the network for itself and all data at once, in all.
    pub alone: Nanos,
}

impl Transfers {
    /// Counts one that takes `alone` alone.
    pub(crate) fn add(&mut self, size: Bytes, alone: Nanos) {
        self.count += 1;
        self.bytes += size;
        self.alone += alone;
    }
}

impl RunResult {
    /// All transfers between nodes.
    #[must_use]
    pub fn transfers(&self) -> Transfers {
        let (copies, streams) = (&self.copies, &self.streams);
        Transfers {
            count: copies.count + streams.count,
            bytes: copies.bytes + streams.bytes,
            time: copies.time + streams.time,
            alone: copies.alone + streams.alone,
        }
    }
}

/// How far a run has come.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Requests that have arrived.
    pub arrived: u64,
    /// Simulated time.
    pub now: Nanos,
}

/// What a run reports to besides its result.
#[derive(Default)]
pub struct Observer<'a> {
    /// Gets the journal as JSON lines.
    pub journal: Option<&'a mut dyn Write>,
    /// Is called now and then.
    pub progress: Option<&'a mut dyn FnMut(Progress)>,
    /// Takes each request's record as soon as it is final, in the order of their ends. The result keeps none then, so
    /// that memory does not grow with the number of requests.
    pub records: Option<&'a mut dyn FnMut(&RequestRecord)>,
    /// Assert all invariants after every event. Costs O(cluster) each time: for small clusters.
    pub checks: bool,
    /// Counts copies of blocks.
    pub replicas: Option<&'a mut Replicas>,
}
