//! Faults: what goes wrong in a run, when, and for how long; from a script or drawn from a seed.
//!
//! A plan is data, known before the run: equal plans and seeds give equal runs. Every fault ends, so that a run ends: a
//! request that was taken in is served when all has healed.
//!
//! - `crash`: the node is gone with its cache and its work, and comes back empty with the role of the cluster file. The
//!   Conductor hears of it [`FaultPlan::detect`] later; until then it sends work to a node that is not there.
//! - `slow`: what the node starts takes so many times as long. The Conductor is not told.
//! - `link`: the node's NICs carry this part of what they did, both ways; 0 cuts them. A transfer that waits for a cut
//!   link longer than [`FaultPlan::patience`] is given up: a copy is computed instead, for KV of an answer the attempt
//!   fails. Facts and orders go another way (the paper's clusters have a network for them) and are not cut.
//! - `lose-reports`, `delay-reports`: this part of the node's reports of its cache are lost, or come late and perhaps
//!   after later ones. Reports are numbered: a gap is known at the next heartbeat, [`FaultPlan::resync`] later at most,
//!   and the node then reports all that it has.
//! - `restart-conductor`: the Conductor starts anew with an empty memory, see `engine/restart.rs`.
//! - `cancel`: a request's client goes.
//!
//! Faults of one kind on one node that overlap: a node is down as long as any of them lasts; of the others the worst
//! holds.
//!
//! Not here: what follows from a fault (the engine's), and what to do about it (the core's).

mod draw;
mod text;
mod timers;

pub use draw::DrawText;
pub use text::{CancelText, FaultError, FaultText, FaultsText};
pub(crate) use timers::{Fate, Faults, Report, Timer};

use conductor_core::config::Ratio;
use conductor_core::cost::Factor;
use conductor_core::ids::{NodeId, RequestId};
use conductor_core::units::Nanos;
use serde::{Deserialize, Serialize};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The node is gone, and comes back empty.
    Crash {
        /// Which.
        node: NodeId,
    },
    /// The node takes longer for what it starts.
    Slow {
        /// Which.
        node: NodeId,
        /// So many times as long.
        factor: Factor,
    },
    /// The node's NICs carry less.
    Link {
        /// Which.
        node: NodeId,
        /// This part of what they did; 0 if they are cut.
        part: Ratio,
    },
    /// Reports of the node's cache are lost.
    LoseReports {
        /// Which.
        node: NodeId,
        /// This part of them.
        share: Ratio,
    },
    /// Reports of the node's cache come late.
    DelayReports {
        /// Which.
        node: NodeId,
        /// This part of them.
        share: Ratio,
        /// So much.
        by: Nanos,
    },
    /// The Conductor starts anew; at once, whatever the fault's length.
    RestartConductor,
    /// A request's client goes, if the request is there; for good.
    Cancel {
        /// Which.
        request: RequestId,
    },
}

/// A fault, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// When it begins.
    pub at: Nanos,
    /// How long it lasts.
    pub lasts: Nanos,
    /// What.
    pub kind: FaultKind,
}

/// Clients that go before they have their answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cancellations {
    /// This part of all requests has a client that goes, if it has no answer by then.
    pub share: Ratio,
    /// At a time that is drawn evenly from the arrival to so much later.
    pub within: Nanos,
}

/// All faults of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultPlan {
    /// In any order; of those that begin at one instant the first comes first.
    pub faults: Vec<Fault>,
    /// How long after a crash the Conductor hears of it.
    pub detect: Nanos,
    /// How long a transfer waits for a cut link.
    pub patience: Nanos,
    /// How long after a gap in its reports a node reports its whole cache.
    pub resync: Nanos,
    /// Clients that go.
    pub cancel: Option<Cancellations>,
}

impl Default for FaultPlan {
    /// No faults. The times are assumptions of ours: a second for a heartbeat that is missed, five for a transfer.
    fn default() -> Self {
        Self {
            faults: Vec::new(),
            detect: Nanos::SECOND,
            patience: Nanos::from_secs(5),
            resync: Nanos::SECOND,
            cancel: None,
        }
    }
}

impl FaultPlan {
    /// True if nothing goes wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.faults.is_empty() && self.cancel.is_none()
    }

    /// When the last fault is over.
    #[must_use]
    pub fn healed(&self) -> Nanos {
        let ends = self.faults.iter().map(|fault| fault.at + fault.lasts);
        ends.max().unwrap_or(Nanos::ZERO)
    }
}

/// What happened of faults in a run, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultCounts {
    /// Nodes that crashed.
    pub crashes: u64,
    /// Nodes that came back before the Conductor had heard of their crash.
    pub unseen_restarts: u64,
    /// Nodes that became slow.
    pub slow_nodes: u64,
    /// Links that became slower.
    pub slow_links: u64,
    /// Links that were cut.
    pub cut_links: u64,
    /// Copies of blocks that failed: the sender crashed, or the link was cut for too long.
    pub failed_copies: u64,
    /// Transfers of KV that were given up because a link was cut for too long.
    pub failed_transfers: u64,
    /// Reports of caches that were lost.
    pub lost_reports: u64,
    /// Reports of caches that came late.
    pub late_reports: u64,
    /// Caches that were reported as a whole after a gap.
    pub resyncs: u64,
    /// Restarts of the Conductor.
    pub conductor_restarts: u64,
    /// Clients that went.
    pub cancelled: u64,
    /// Attempts that were given in again.
    pub resubmitted: u64,
    /// Those of them that were turned away at first.
    pub resubmitted_later: u64,
    /// Prefills that were computed to their end for nobody.
    pub in_vain: u64,
    /// When the last attempt was lost.
    #[serde(skip)]
    pub last_lost: Nanos,
}

impl FaultCounts {
    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        for (mine, other) in self.numbers_mut().into_iter().zip(other.numbers()) {
            *mine.1 += other.1;
        }
        self.last_lost = self.last_lost.max(other.last_lost);
    }

    /// All counts with their names, in the order of declaration.
    #[must_use]
    pub fn numbers(&self) -> [(&'static str, u64); 15] {
        let mut copy = *self;
        copy.numbers_mut().map(|(name, count)| (name, *count))
    }

    fn numbers_mut(&mut self) -> [(&'static str, &mut u64); 15] {
        [
            ("crashes", &mut self.crashes),
            ("unseen restarts", &mut self.unseen_restarts),
            ("slow nodes", &mut self.slow_nodes),
            ("slow links", &mut self.slow_links),
            ("cut links", &mut self.cut_links),
            ("failed copies", &mut self.failed_copies),
            ("failed transfers", &mut self.failed_transfers),
            ("lost reports", &mut self.lost_reports),
            ("late reports", &mut self.late_reports),
            ("resyncs", &mut self.resyncs),
            ("conductor restarts", &mut self.conductor_restarts),
            ("cancelled", &mut self.cancelled),
            ("resubmitted", &mut self.resubmitted),
            ("resubmitted later", &mut self.resubmitted_later),
            ("prefills in vain", &mut self.in_vain),
        ]
    }
}
