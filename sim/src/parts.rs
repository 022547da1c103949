//! Where a request's time goes: the moments of its last try, and the stretches between them.
//!
//! From a completed request's first arrival to its last token every nanosecond belongs to exactly one part, so the
//! parts of a run's means add up to its mean time from arrival to last token. What overlaps is counted where it shows:
//! KV that is sent while the prompt is computed is prefill, blocks that are fetched while others are computed are
//! fetched, and only what is left of a wait when they are there is queueing.
//!
//! Not here: how long work would take alone ([`crate::run::Transfers`], [`crate::tiers`]).

use crate::record::{Outcome, RequestRecord};
use conductor_core::units::Nanos;
use serde::{Deserialize, Serialize};

/// When the last try of a request passed from one part to the next; `None` where it has not, or need not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moments {
    /// The Conductor had placed it.
    pub dispatched: Option<Nanos>,
    /// Its prefill node had it.
    pub delivered: Option<Nanos>,
    /// The last of what it reuses had come from another node or from the SSD.
    pub fetched: Option<Nanos>,
    /// Its prefill began.
    pub started: Option<Nanos>,
    /// All of its KV was in the DRAM of its decode node.
    pub sent: Option<Nanos>,
    /// It was in HBM for the first time.
    pub loaded: Option<Nanos>,
}

impl Moments {
    /// Nothing has happened yet.
    pub(crate) const NONE: Self = Self {
        dispatched: None,
        delivered: None,
        fetched: None,
        started: None,
        sent: None,
        loaded: None,
    };
}

/// The parts of one completed request's time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// First arrival to the last try's placement: earlier tries, clients' waits, jobs that are held.
    pub held: Nanos,
    /// From there to its prefill node.
    pub schedule: Nanos,
    /// From there until what it reuses has come from other nodes and the SSD.
    pub fetch: Nanos,
    /// From there to the start of its prefill.
    pub queue: Nanos,
    /// From there to its first token. Loading what it reuses into HBM is part of it.
    pub prefill: Nanos,
    /// From there until all of its KV is in its decode node's DRAM: what could not be sent during the prefill.
    pub transfer: Nanos,
    /// From there until it is in HBM: waiting for room, and loading.
    pub load: Nanos,
    /// From there to its last token. Waiting for the next step to join is part of it.
    pub decode: Nanos,
}

impl Parts {
    /// The parts of a request; `None` unless it is completed.
    #[must_use]
    pub fn of(record: &RequestRecord) -> Option<Self> {
        if record.outcome != Outcome::Completed {
            return None;
        }
        let moments = &record.moments;
        let first = record.arrival + record.ttft?;
        let last = first + record.decode?;
        let mut at = record.arrival;
        // A moment that has not been passed has taken no time; none lies before the one before it.
        let mut until = |moment: Option<Nanos>| {
            let moment = moment.unwrap_or(at).max(at);
            moment - std::mem::replace(&mut at, moment)
        };
        Some(Self {
            held: until(moments.dispatched),
            schedule: until(moments.delivered),
            fetch: until(moments.fetched),
            queue: until(moments.started),
            prefill: until(Some(first)),
            transfer: until(moments.sent),
            load: until(moments.loaded),
            decode: until(Some(last)),
        })
    }
}

impl Parts {
    /// All but the last part.
    #[must_use]
    pub fn before_decode(&self) -> Nanos {
        let prefilled = self.held + self.schedule + self.fetch + self.queue + self.prefill;
        prefilled + self.transfer + self.load
    }
}

/// Means of [`Parts`] over the completed requests, in seconds; `before_decode` and `decode` are together the mean of
/// `e2e_s`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PartsReport {
    /// See [`Parts::held`].
    pub held: f64,
    /// See [`Parts::schedule`].
    pub schedule: f64,
    /// See [`Parts::fetch`].
    pub fetch: f64,
    /// See [`Parts::queue`].
    pub queue: f64,
    /// See [`Parts::prefill`].
    pub prefill: f64,
    /// See [`Parts::transfer`].
    pub transfer: f64,
    /// See [`Parts::load`].
    pub load: f64,
    /// See [`Parts::decode`].
    pub decode: f64,
    /// All but `decode`: first arrival until the KV is where decoding goes on. The mean of `ttft_s` has no `transfer`
    /// and `load`; figures whose time to first token has them are to be compared with this.
    pub before_decode: f64,
}

/// Sums of [`Parts`], in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PartsTotals {
    count: u64,
    /// In the order of the fields.
    sums: [u128; 8],
}

impl PartsTotals {
    pub(crate) fn add(&mut self, record: &RequestRecord) {
        let Some(parts) = Parts::of(record) else {
            return;
        };
        let Parts {
            held,
            schedule,
            fetch,
            queue,
            prefill,
            transfer,
            load,
            decode,
        } = parts;
        self.count += 1;
        let parts = [
            held, schedule, fetch, queue, prefill, transfer, load, decode,
        ];
        for (sum, part) in self.sums.iter_mut().zip(parts) {
            *sum += u128::from(part.0);
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.count += other.count;
        for (sum, other) in self.sums.iter_mut().zip(other.sums) {
            *sum += other;
        }
    }

    pub(crate) fn report(&self) -> PartsReport {
        let mean = |sum: u128| sum as f64 / self.count.max(1) as f64 / 1e9;
        let [
            held,
            schedule,
            fetch,
            queue,
            prefill,
            transfer,
            load,
            decode,
        ] = self.sums.map(mean);
        PartsReport {
            held,
            schedule,
            fetch,
            queue,
            prefill,
            transfer,
            load,
            decode,
            before_decode: mean(self.sums[..7].iter().sum()),
        }
    }
}
