//! How a run can fail. None of these is an input error: inputs were checked before.

use conductor_core::ids::RequestId;
use conductor_core::units::Nanos;

/// Why a run ended without a result.
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// Nothing is left to happen, but requests are not finished. This is a bug.
    #[error(
        "deadlock at {at}: nothing is left to happen, but {unfinished} requests are not finished, the first is {first}"
    )]
    Deadlock {
        /// When.
        at: Nanos,
        /// How many.
        unfinished: usize,
        /// The first of them.
        first: RequestId,
    },
    /// Time does not go on. This is a bug.
    #[error("livelock: {events} events at {at}")]
    Livelock {
        /// When.
        at: Nanos,
        /// How many events happened then.
        events: u64,
    },
    /// An arrival is before the one that precedes it.
    #[error("request {row} arrives at {at}, before the request that precedes it, at {previous}")]
    ArrivalsGoBack {
        /// Counted from 0.
        row: u64,
        /// Its arrival.
        at: Nanos,
        /// The arrival before.
        previous: Nanos,
    },
    /// The source of requests failed.
    #[error(transparent)]
    Workload(Box<dyn std::error::Error + Send + Sync>),
    /// The journal could not be written.
    #[error("the journal cannot be written: {0}")]
    Journal(#[from] std::io::Error),
}
