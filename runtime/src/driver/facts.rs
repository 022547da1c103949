//! What nodes say, told to the Conductor in an order that it can understand.
//!
//! A node's own messages are in order, but those of two nodes are not: a decode node may say that a prompt's KV has
//! come before the prefill node's word of the first token is heard. What is early waits here. Facts of attempts that
//! have ended go on to the core, which knows them by their tickets and counts them; their tokens do not.

use super::request::Live;
use super::{Answer, Driver, World};
use crate::protocol::{FromNode, ToNode};
use conductor_core::event::Event;
use conductor_core::ids::{NodeId, RequestId, Ticket};
use conductor_core::units::{Nanos, Tokens};

impl<W: World> Driver<W> {
    /// What a node says, in its order.
    pub fn node_said(
        &mut self,
        now: Nanos,
        node: NodeId,
        facts: impl IntoIterator<Item = FromNode>,
    ) {
        for fact in facts {
            if self.nodes.get(node.index()).is_some_and(|state| state.up) {
                self.hear(now, node, fact);
            }
        }
        self.settle(now);
    }

    fn hear(&mut self, now: Nanos, node: NodeId, fact: FromNode) {
        match fact {
            FromNode::Cache {
                report,
                evicted,
                stored,
            } => self.cache_changed(now, node, report, &evicted, &stored),
            FromNode::WholeCache { report, blocks } => {
                self.nodes[node.index()].report = Some(report + 1);
                let blocks = blocks.into();
                self.tell(now, &Event::CacheReported { node, blocks });
            }
            FromNode::RoleChanged(role) => self.tell(now, &Event::RoleChanged { node, role }),
            FromNode::Started { ticket, cached } => {
                if let Some(live) = self.requests.get_mut(&ticket.request.0)
                    && live.ticket == ticket
                {
                    live.cached = cached;
                }
                self.tell(now, &Event::PrefillStarted { ticket, cached });
            }
            FromNode::FirstToken { ticket, token } => self.first_token(now, ticket, token),
            FromNode::Received { ticket }
            | FromNode::Token { ticket, .. }
            | FromNode::Ended { ticket, .. }
            | FromNode::Refused { ticket } => {
                // Who was stopped may have no first token: its prefill node gave it up.
                let ends = matches!(fact, FromNode::Ended { .. });
                let live = self.requests.get_mut(&ticket.request.0);
                let early = |live: &&mut Live| {
                    // What the prefill node itself says is in order.
                    let other = live.placed.is_none_or(|(prefill, _)| prefill != node);
                    let waits = live.ticket == ticket && live.last_token.is_none();
                    waits && other && !(ends && live.stopped)
                };
                match live.filter(early) {
                    Some(live) => live.early.push((node, fact)),
                    None => self.of_decoding(now, node, fact),
                }
            }
            FromNode::Failed { ticket, .. } => self.tell(now, &Event::Failed { ticket }),
        }
    }

    /// Reports are numbered: one that is missing makes the node say all that it has, and until then nothing is
    /// believed.
    fn cache_changed(
        &mut self,
        now: Nanos,
        node: NodeId,
        report: u64,
        evicted: &[conductor_core::ids::BlockHash],
        stored: &[conductor_core::ids::BlockHash],
    ) {
        let state = &mut self.nodes[node.index()];
        match state.report {
            Some(expected) if expected == report => state.report = Some(report + 1),
            Some(_) => {
                state.report = None;
                self.counts.resyncs += 1;
                self.world.send(node, ToNode::ReportCache);
                return;
            }
            None => return,
        }
        if !evicted.is_empty() {
            let blocks = evicted.into();
            self.tell(now, &Event::BlocksEvicted { node, blocks });
        }
        if !stored.is_empty() {
            let blocks = stored.into();
            self.tell(now, &Event::BlocksStored { node, blocks });
        }
    }

    fn first_token(&mut self, now: Nanos, ticket: Ticket, token: u32) {
        self.tell(now, &Event::PrefillFinished { ticket });
        let Some(live) = self.requests.get_mut(&ticket.request.0) else {
            return;
        };
        if live.ticket != ticket || live.away.is_some() {
            return;
        }
        live.last_token = Some(now);
        let early = std::mem::take(&mut live.early);
        self.pass_on(now, ticket.request, 0, token);
        for (node, fact) in early {
            self.of_decoding(now, node, fact);
        }
    }

    /// What is said of an attempt after its first token.
    fn of_decoding(&mut self, now: Nanos, node: NodeId, fact: FromNode) {
        match fact {
            FromNode::Received { ticket } => self.tell(now, &Event::TransferFinished { ticket }),
            FromNode::Refused { ticket } => self.tell(now, &Event::Refused { ticket }),
            FromNode::Token {
                ticket,
                position,
                token,
            } => {
                let Some(live) = self.requests.get_mut(&ticket.request.0) else {
                    return;
                };
                if live.ticket != ticket || live.away.is_some() {
                    return;
                }
                if let Some(last) = live.last_token.replace(now) {
                    live.gaps.push(now - last);
                }
                self.pass_on(now, ticket.request, position, token);
            }
            FromNode::Ended {
                ticket,
                output,
                reason,
            } => self.ended(now, node, ticket, output, reason),
            _ => {}
        }
    }

    fn ended(
        &mut self,
        now: Nanos,
        node: NodeId,
        ticket: Ticket,
        output: Tokens,
        reason: crate::protocol::EndReason,
    ) {
        let live = self.requests.get_mut(&ticket.request.0);
        let live = live.filter(|live| live.ticket == ticket && live.away.is_none());
        let Some(live) = live else {
            self.tell(
                now,
                &Event::Finished {
                    ticket,
                    output,
                    tbt: None,
                },
            );
            return;
        };
        let (tbt, cached) = (live.gaps.tail_mean(), live.cached);
        // A later attempt that was stopped may have made less than an earlier one did.
        let passed_on = Tokens(live.passed_on.len() as u64);
        // A prefill node ends an answer of one token; the decode node need not wait for its KV.
        let waits = live
            .placed
            .map(|(_, decode)| decode)
            .filter(|&decode| decode != node);
        self.requests.remove(&ticket.request.0);
        self.tell(
            now,
            &Event::Finished {
                ticket,
                output,
                tbt,
            },
        );
        if let Some(decode) = waits {
            self.world.send(decode, ToNode::Abort { ticket });
        }
        self.world.answer(
            ticket.request,
            Answer::Finished {
                output: passed_on,
                reason,
                cached,
            },
        );
    }

    /// Gives a token to who waits for it, unless an earlier attempt has.
    fn pass_on(&mut self, now: Nanos, request: RequestId, position: u64, token: u32) {
        let Some(live) = self.requests.get_mut(&request.0) else {
            return;
        };
        match live.passed_on.get(position as usize) {
            Some(&before) => self.counts.differing_tokens += u64::from(before != token),
            None => {
                live.passed_on.push(token);
                self.world.answer(
                    request,
                    Answer::Token {
                        position,
                        token,
                        at: now,
                    },
                );
            }
        }
    }
}
