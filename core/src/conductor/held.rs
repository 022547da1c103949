//! Jobs that wait for idle capacity: requests of a class whose only limit is when they end.
//!
//! A job is held back while anybody else has work for the prefill nodes, and goes when a node is idle and the decode
//! pool would stay below the class's ceiling: it fills what is idle, and yields to whoever comes meanwhile by
//! waiting. It does not wait for ever: when what is left of its limit is only just enough, it goes whatever the load.
//!
//! A job is taken only if all that are held can be done in time with the class's share of the pool; else it is too late
//! for it already. While anything is held, something else runs or can run, so another fact will come and no timer is
//! needed.

use super::Conductor;
use super::arrive::Arrival;
use crate::action::Actions;
use crate::ids::{BlockHash, RequestId, Ticket};
use crate::units::{Nanos, Tokens};
use alloc::vec::Vec;

/// A job that waits.
#[derive(Clone, Debug)]
pub(super) struct Held {
    /// When it has to go at the latest.
    latest: Nanos,
    ticket: Ticket,
    arrived: Nanos,
    input: Tokens,
    answer: Option<Tokens>,
    class: crate::ids::ClassId,
    /// Predicted work of its prefill.
    work: Nanos,
    blocks: Vec<BlockHash>,
}

/// The jobs that wait, by when they have to go, the last first.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    jobs: Vec<Held>,
    work: Nanos,
    /// Block lists that are used again.
    spare: Vec<Vec<BlockHash>>,
}

impl Backlog {
    pub(super) fn len(&self) -> usize {
        self.jobs.len()
    }

    pub(super) fn holds(&self, request: RequestId) -> bool {
        self.jobs.iter().any(|job| job.ticket.request == request)
    }

    /// Predicted work of all.
    pub(super) const fn work(&self) -> Nanos {
        self.work
    }

    fn hold(&mut self, arrival: &Arrival<'_>, latest: Nanos, work: Nanos) {
        let mut blocks = self.spare.pop().unwrap_or_default();
        blocks.extend_from_slice(arrival.blocks);
        let ticket = arrival.ticket;
        let after = |job: &Held| (job.latest, job.ticket) > (latest, ticket);
        let place = self.jobs.partition_point(after);
        self.work += work;
        let job = Held {
            latest,
            ticket,
            arrived: arrival.arrived,
            input: arrival.input,
            answer: arrival.answer,
            class: arrival.class,
            work,
            blocks,
        };
        self.jobs.insert(place, job);
    }

    fn take_first(&mut self) -> Option<Held> {
        let job = self.jobs.pop()?;
        self.work -= job.work;
        Some(job)
    }

    fn put_back(&mut self, job: Held) {
        self.work += job.work;
        self.jobs.push(job);
    }

    fn spare(&mut self, mut blocks: Vec<BlockHash>) {
        blocks.clear();
        self.spare.push(blocks);
    }

    /// Forgets a job; false if it is not here.
    pub(super) fn strike(&mut self, request: RequestId) -> bool {
        let Some(place) = self
            .jobs
            .iter()
            .position(|job| job.ticket.request == request)
        else {
            return false;
        };
        let job = self.jobs.remove(place);
        self.work -= job.work;
        self.spare(job.blocks);
        true
    }
}

impl Conductor {
    /// Takes a job to be done within `total`, if that can be.
    pub(super) fn hold(&mut self, arrival: &Arrival<'_>, total: Nanos) -> bool {
        let Some(&node) = self.prefill_books.up().first() else {
            return false;
        };
        let work = self.costs.of(node).prefill(arrival.input, Tokens::ZERO);
        // At the slowest pace that is allowed, for an answer of the length that is booked.
        let decode = self.policy.strictest_tbt().0;
        let decode = Nanos(decode.saturating_mul(self.policy.decode.output_reserve.0));
        let weights: u64 = self
            .policy
            .classes
            .iter()
            .map(|class| u64::from(class.weight))
            .sum();
        let own = u64::from(self.policy.class(arrival.class).weight);
        let nodes = self.prefill_books.up().len() as u64;
        let share = u128::from(total.0) * u128::from(nodes * own) / u128::from(weights);
        let in_time = u128::from((self.backlog.work() + work).0) <= share;
        let needed = Nanos(work.0.saturating_add(decode.0));
        if needed > total || !in_time {
            return false;
        }
        let latest = arrival.arrived + (total - needed);
        self.backlog.hold(arrival, latest, work);
        true
    }

    /// Lets jobs go that have waited long enough, or that fill what is idle.
    pub(super) fn release_held(&mut self, actions: &mut Actions) {
        while let Some(mut job) = self.backlog.take_first() {
            let alone = self.live() == self.backlog.len();
            let due = self.now >= job.latest || alone;
            if !due && !self.shortest_queue().is_zero() {
                return self.backlog.put_back(job);
            }
            let blocks = core::mem::take(&mut job.blocks);
            let arrival = Arrival {
                ticket: job.ticket,
                arrived: job.arrived,
                input: job.input,
                blocks: &blocks,
                answer: job.answer,
                class: job.class,
                workflow: None,
            };
            let placed = self.place(&arrival);
            let goes = placed.filter(|placed| due || self.fits_idle(&arrival, placed));
            match goes {
                Some(placed) => {
                    self.dispatch(&arrival, &placed, actions);
                    self.backlog.spare(blocks);
                }
                None => {
                    job.blocks = blocks;
                    return self.backlog.put_back(job);
                }
            }
        }
    }
}
