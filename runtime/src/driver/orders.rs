//! Orders carried out: each becomes messages to nodes, or an answer.
//!
//! What is taken here is an [`Order`], which only a Conductor makes: a decision of anybody else does not compile.

use super::request::Away;
use super::{Answer, Driver, World};
use crate::protocol::{Fetch, ToNode};
use conductor_core::action::{Action, Order, RejectReason};
use conductor_core::config::ClassLimits;
use conductor_core::event::Event;
use conductor_core::ids::{NodeId, RequestId, Ticket};
use conductor_core::units::Nanos;
use std::cmp::Reverse;
use std::sync::Arc;

pub(super) fn carry_out<W: World>(driver: &mut Driver<W>, now: Nanos, order: Order) {
    match order.action() {
        Action::Replicate {
            ticket,
            from,
            to,
            first,
            count,
        } => {
            let Some(prompt) = driver.prompt_of(ticket.request) else {
                return;
            };
            if let Some(live) = driver.requests.get_mut(&ticket.request.0) {
                live.fetching = true;
            }
            let fetch = Fetch { from, first, count };
            driver.world.send(
                to,
                ToNode::Fetch {
                    ticket,
                    prompt,
                    fetch,
                },
            );
        }
        Action::Dispatch {
            ticket,
            prefill,
            decode,
            ..
        } => dispatch(driver, ticket, prefill, decode),
        Action::Reject {
            request,
            reason,
            retry_after,
        } => reject(driver, now, request, reason, retry_after),
        Action::Abort { ticket } => {
            let live = driver.requests.get(&ticket.request.0);
            let placed = live
                .filter(|live| live.ticket == ticket)
                .and_then(|live| live.placed);
            if let Some((prefill, decode)) = placed {
                driver.world.send(prefill, ToNode::Abort { ticket });
                if decode != prefill {
                    driver.world.send(decode, ToNode::Abort { ticket });
                }
            }
        }
        Action::Resubmit { ticket } => {
            if let Some(live) = driver.requests.get_mut(&ticket.request.0) {
                live.away = Some(Away::Lost);
                driver.again.push_back(ticket.request);
            }
        }
        Action::SwitchRole { node, to } => driver.switches.push_back((node, to)),
    }
}

fn dispatch<W: World>(driver: &mut Driver<W>, ticket: Ticket, prefill: NodeId, decode: NodeId) {
    let Some(live) = driver.requests.get_mut(&ticket.request.0) else {
        return;
    };
    live.placed = Some((prefill, decode));
    live.nowhere = None;
    let (prompt, awaits_copy) = (Arc::clone(&live.submission.prompt), live.fetching);
    if decode != prefill {
        let prompt = Arc::clone(&prompt);
        driver.world.send(
            decode,
            ToNode::Decode {
                ticket,
                prompt,
                prefill,
            },
        );
    }
    driver.world.send(
        prefill,
        ToNode::Prefill {
            ticket,
            prompt,
            decode,
            awaits_copy,
        },
    );
}

/// A new request that is turned away is answered. One that was taken in and lost its attempt comes again when the
/// Conductor says so, for as long as the policy has it wait.
fn reject<W: World>(
    driver: &mut Driver<W>,
    now: Nanos,
    request: RequestId,
    reason: RejectReason,
    retry_after: Nanos,
) {
    let Some(live) = driver.requests.get_mut(&request.0) else {
        return;
    };
    if live.ticket.attempt > 0 {
        let (since, again) = (*live.nowhere.get_or_insert(now), now + retry_after);
        if driver.policy.lost.comes_again(reason, since, again) {
            live.away = Some(Away::Lost);
            driver.later.push(Reverse((again, request)));
            return;
        }
    }
    driver.requests.remove(&request.0);
    driver.world.answer(
        request,
        Answer::Rejected {
            reason,
            retry_after,
        },
    );
}

impl<W: World> Driver<W> {
    /// Puts a request before the Conductor, as the attempt that it is.
    pub(super) fn put(&mut self, now: Nanos, request: RequestId) {
        let Some(live) = self.requests.get(&request.0) else {
            return;
        };
        let prompt = Arc::clone(&live.submission.prompt);
        let oracle = self.policy.admission.is_oracle();
        let limits = self.policy.class(live.submission.class).limits;
        let in_workflow = matches!(limits, ClassLimits::Workflow { .. });
        let event = Event::Arrived {
            ticket: live.ticket,
            input: prompt.input,
            blocks: (&prompt.blocks[..]).into(),
            answer: live.submission.answer.filter(|_| oracle),
            class: live.submission.class,
            workflow: live.submission.workflow.filter(|_| in_workflow),
        };
        self.tell(now, &event);
    }
}
