//! What can go wrong, in words that say who has to do what.

use crate::region::Span;
use conductor_core::ids::NodeId;
use std::sync::Arc;
use std::time::Duration;

/// Why an operation, a connection or a registration failed. Cheap to clone: one lost peer fails many operations.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The key opens nothing for this node: it was never given, has been revoked, or is another node's. The connection
    /// stays.
    #[error("the peer knows no such key for this node: never granted, or revoked")]
    UnknownKey,
    /// The key does not allow this direction. The connection stays; nothing was changed.
    #[error("the key does not allow this")]
    Rights,
    /// Not within what the key opens. The connection stays; nothing was changed.
    #[error("outside of what the key opens")]
    OutOfBounds,
    /// A local span that is not within the local region.
    #[error("local {span:?} is outside of a region of {bytes} bytes")]
    Local {
        /// The span.
        span: Span,
        /// The region's size.
        bytes: u64,
    },
    /// Local and remote spans are not equally long.
    #[error("{local} local bytes for {remote} remote bytes")]
    Lengths {
        /// Sum of the local spans.
        local: u64,
        /// Sum of the remote spans.
        remote: u64,
    },
    /// More than one operation may be.
    #[error("{what}: {is}, of {most} at most")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// How large it is.
        is: u64,
        /// How large it may be.
        most: u64,
    },
    /// A neighbour process has as many keys in use on one link as there are words for.
    #[error("as many keys are in use on this link as it takes")]
    TooManyKeys,
    /// The bytes that arrived are not those that were sent. They may be where they should go, but nobody was told.
    #[error("the checksum does not fit: bytes were changed on the way")]
    Checksum,
    /// Not done in time. If it had begun, its connection is closed, so that nothing of it comes later.
    #[error("not done within {0:?}")]
    Deadline(Duration),
    /// The connection is gone, and with it everything that was under way on it.
    #[error("lost node {}: {why}", .node.0)]
    PeerLost {
        /// The peer.
        node: NodeId,
        /// What was seen.
        why: Arc<str>,
    },
    /// No connection came about.
    #[error("cannot connect to {address}: {why}")]
    Connect {
        /// Where to.
        address: Arc<str>,
        /// What was seen.
        why: Arc<str>,
    },
    /// The peer does not let this node in.
    #[error("{address} refuses this node: {why}")]
    Refused {
        /// Where to.
        address: Arc<str>,
        /// Its reason.
        why: &'static str,
    },
    /// The peer took back what it had pinned before it was read: what was read may be something else.
    #[error("the peer's pin ended before its blocks were read")]
    PinEnded,
    /// The peer does not answer such calls, or did not understand this one.
    #[error("the peer does not answer this call")]
    Unanswered,
    /// The link was closed by this side.
    #[error("the link is closed")]
    Closed,
    /// A peer is still inside of memory whose key was revoked: the memory must not be used again yet.
    #[error("a peer is still inside {0:?} after its key was revoked")]
    StillInside(Duration),
    /// The address is not one of this transport.
    #[error("not an address of this transport: {0}")]
    Address(Arc<str>),
    /// The operating system's.
    #[error("{what}: {why}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What it said.
        why: Arc<str>,
    },
}

impl Error {
    pub(crate) fn system(what: &'static str, error: impl ToString) -> Self {
        let why = error.to_string().into();
        Self::System { what, why }
    }

    pub(crate) fn lost(node: NodeId, why: impl ToString) -> Self {
        let why = why.to_string().into();
        Self::PeerLost { node, why }
    }

    /// True if the same operation may go through on another connection: reads and writes can be repeated, since they
    /// put the same bytes into the same place.
    #[must_use]
    pub const fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Checksum | Self::Deadline(_) | Self::PeerLost { .. } | Self::Connect { .. }
        )
    }
}
