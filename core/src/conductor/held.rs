//! Jobs that wait for idle capacity: requests of a class whose only limit is when they end.
//!
//! A job is held back while anybody else has work for the prefill nodes, and goes when a node is idle and the decode
//! pool would stay below the class's ceiling: it fills what is idle, and yields to whoever comes meanwhile by
//! waiting. It does not wait for ever: when what is left of its limit is only just enough, it goes whatever the load.
//! If nothing else is in the system, it goes at once.
//!
//! A job is taken only if all that its class holds can still be done in time with the class's share of the pool; else
//! it is too late for it already. So under load jobs get their class's share and no more.
//!
//! In time is as predicted: the longest queue that lets any answer be in time, the prefill at the pool's present size,
//! the decoding at the slowest pace that is allowed for an answer of the length that is booked. A longer answer or
//! queue, or a pool that has shrunk since, may make a job late.
//!
//! While anything is held, something else runs or a node is missing, so another fact will come and no timer is needed:
//! a job goes at the first fact after its time. A job that has become too large for every decode node that is up is
//! turned away when its time comes, so that those behind it are not held up by it for ever.

use super::Conductor;
use super::arrive::{Arrival, NEVER};
use crate::action::{Action, Actions, RejectReason};
use crate::books::Job;
use crate::units::{Nanos, Tokens};

impl Conductor {
    /// Takes a job to be done within `total`, if that can be.
    pub(super) fn hold(&mut self, arrival: &Arrival<'_>, total: Nanos) -> bool {
        let Some(&node) = self.prefill_books.up().first() else {
            return false;
        };
        let work = self.costs.occupancy(node, arrival.input, Tokens::ZERO);
        let reserve = self.policy.decode.output_reserve;
        let decode = u128::from(self.policy.strictest_tbt().0) * u128::from(reserve.0);
        let needed = u128::from(work.0) + decode;
        if needed > u128::from(total.0) {
            return false;
        }
        let weights = self.policy.classes.iter().map(|class| class.weight);
        let weights: u128 = weights.map(u128::from).sum();
        let own = u128::from(self.policy.class(arrival.class).weight);
        let nodes = self.prefill_books.up().len() as u128;
        let pace = u128::from(work.0) * weights / (nodes * own);
        let job = Job {
            ticket: arrival.ticket,
            arrived: arrival.arrived,
            input: arrival.input,
            answer: arrival.answer,
            class: arrival.class,
            // With less time than the queue may take it goes at once.
            latest: arrival.arrived
                + (total - Nanos(needed as u64)).saturating_sub(self.policy.longest_ttft()),
            pace: Nanos(u64::try_from(pace).unwrap_or(u64::MAX)),
        };
        self.backlog.hold(self.now, job, arrival.blocks)
    }

    /// Lets jobs go that have waited long enough, or that fill what is idle.
    pub(super) fn release_held(&mut self, actions: &mut Actions) {
        while let Some((job, has_to)) = self.backlog.first(self.now) {
            let alone = self.slot_of.len() == 0;
            let due = has_to || alone;
            if !due && !self.shortest_queue().is_zero() {
                return;
            }
            let request = job.ticket.request;
            let blocks = self.backlog.take_blocks(request);
            let arrival = Arrival {
                ticket: job.ticket,
                arrived: job.arrived,
                input: job.input,
                blocks: &blocks,
                answer: job.answer,
                class: job.class,
                workflow: None,
            };
            let goes = match self.place(&arrival) {
                Some(placed) if due || self.fits_idle(&arrival, &placed) => {
                    self.dispatch(&arrival, &placed, actions);
                    if has_to {
                        self.backlog.went(job.class);
                    }
                    true
                }
                None if due && self.nowhere().0 == RejectReason::PromptTooLong => {
                    self.counters.rejected += 1;
                    actions.push(Action::Reject {
                        request,
                        reason: RejectReason::PromptTooLong,
                        retry_after: NEVER,
                    });
                    true
                }
                _ => false,
            };
            self.backlog.put_blocks(request, blocks);
            if !goes {
                return;
            }
            self.backlog.strike(request);
        }
    }
}
