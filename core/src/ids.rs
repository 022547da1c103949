//! Identities: requests, attempts, nodes and blocks.
//!
//! Ids are integers so that every tie has a rule and every journal is readable. A [`Ticket`] fences late
//! events: what belongs to an attempt that has ended is recognised and counted, never acted upon.

use core::fmt;
use serde::{Deserialize, Serialize};

/// One client request, for the whole of its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestId(pub u64);

/// A kind of requests: its place in the policy's list of classes.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ClassId(pub u8);

impl ClassId {
    /// The place in columns that are indexed by class.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }

    /// True for the first class.
    #[must_use]
    pub const fn is_first(&self) -> bool {
        self.0 == 0
    }
}

/// A session of an agent whose requests are steps to one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkflowId(pub u64);

/// One node of the cluster: its place in the cluster's list, dense from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u16);

impl NodeId {
    /// The place in columns that are indexed by node.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A KV block by content: the chained hash of its tokens *and of all before them*.
///
/// Equal leading hashes of two prompts are therefore a shared prefix. Mooncake traces carry dense integers here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BlockHash(pub u64);

/// One attempt to serve one request. A request that is sent again after a fault gets a new attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ticket {
    /// Whose attempt.
    pub request: RequestId,
    /// The first attempt is 0.
    pub attempt: u32,
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "request {}", self.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", self.0)
    }
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.request, self.attempt)
    }
}
