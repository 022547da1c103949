//! What goes over which path, and what happens when one fails: a state machine without device, clock or task.
//!
//! A path is a queue pair between one NIC here and one there. The machine is told facts ([`Event`]) and says what is to
//! be done ([`Do`]); `pump.rs` does it. The rules:
//!
//! - Paths are opened when there is work for them, the nearest first, and as many of one rank as there are slices.
//! - A slice goes over the open path of the lowest rank with the least under way, at most `depth` on each.
//! - A path that fails is closed at both ends first, so that nothing of it lands later; then what was under way on it
//!   goes elsewhere. It is left alone for a while, and has to carry an empty write before it gets slices again.
//! - A refusal by the peer's NIC says that an rkey is no more: the key is asked for again before the slice is sent
//!   again.
//! - An operation ends when nothing of it is under way any more, whether it has succeeded or not.

mod advance;
mod machine;
#[cfg(test)]
mod tests;

pub(crate) use machine::Paths;
use std::time::Duration;

/// An operation, by the number that the driver gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct OpId(pub(crate) u64);

/// What one work request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// The operation's slice with this place.
    Slice(usize),
    /// Its only slice, with its notice.
    Only,
    /// Its notice alone.
    Notice,
    /// No bytes, to see whether a path works.
    Probe,
}

/// How the peer's application is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    /// Not at all.
    None,
    /// By an immediate, which has 32 bits.
    Wire,
    /// Over the connection.
    Connection,
}

/// Why an operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// The key opens nothing any more.
    Refused,
    /// It was not done in time.
    Overdue,
    /// No path carries it.
    NoPath,
    /// The connection is gone.
    Lost,
}

/// Why a work request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The peer's NIC refused it.
    Access,
    /// It was not acknowledged, or the device is broken.
    Path,
}

/// A fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// An operation of so many slices is to be done.
    Submitted {
        op: OpId,
        slices: usize,
        notice: Notice,
        deadline: Duration,
    },
    Opened(usize),
    OpenFailed(usize),
    /// This work request and all that were posted before it on this path are done.
    Completed(usize, u64),
    Failed(usize, u64, Failure),
    Closed(usize),
    /// The place is wanted for another queue pair.
    Evict(usize),
    /// The notice over the connection was given.
    Told(OpId),
    /// The key was asked for again, and is (or is not) there.
    Confirmed(OpId, bool),
    /// The connection is gone, and all queue pairs are closed.
    Lost,
    /// Time has passed.
    Tick,
}

/// An order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Do {
    Open(usize),
    /// Close the queue pair at both ends.
    Close(usize),
    /// Post this under this number.
    Post {
        path: usize,
        number: u64,
        op: OpId,
        part: Part,
    },
    /// Give the notice over the connection.
    Tell(OpId),
    /// Ask again for the key.
    Confirm(OpId),
    Finish(OpId, Result<(), Why>),
}

/// Bounds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// Work requests of a path.
    pub(crate) depth: usize,
    /// Failures of an operation, or of a path in a row.
    pub(crate) tries: u32,
    /// How long a failed path is left alone.
    pub(crate) pause: Duration,
}
