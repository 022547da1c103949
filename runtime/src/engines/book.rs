//! What an engine was ordered to do, and the facts that follow from what comes of it: the agent of a node that computes
//! elsewhere. No clock, no IO.
//!
//! When a prompt is begun an engine does not say. It takes prompts in the order in which they came, so the first that
//! has no token yet is taken for the one that is being computed; and one whose own last whole block is said to have
//! come has been begun, whoever waits before it. What is cached of it is what was known of the engine's cache just
//! before that. What the engine itself says at the end is compared with it and counted.

use super::wire::Piece;
use crate::protocol::{EndReason, FromNode, Prompt, ToNode};
use conductor_core::ids::{BlockHash, Ticket};
use conductor_core::units::Tokens;
use conductor_events::source::Told;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

/// After so many attempts a request that engines fail with is given up: it may be the request.
const ATTEMPTS_MAX: u32 = 6;

/// What is to be done, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Tell the driver.
    Say(FromNode),
    /// Send a request to the engine.
    Send {
        /// Whose.
        ticket: Ticket,
        /// What to answer.
        prompt: Arc<Prompt>,
    },
    /// Drop a request's stream, if it is still there.
    Drop {
        /// Whose.
        ticket: Ticket,
    },
}

/// What has happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BookCounts {
    /// Requests that were sent.
    pub sent: u64,
    /// Of those that ended, how many said how much was cached.
    pub compared: u64,
    /// Of these, how many had as much cached as was thought.
    pub agreed: u64,
    /// Tokens that were thought to be cached, of all that were compared.
    pub cached_expected: u64,
    /// Tokens that were.
    pub cached_said: u64,
    /// Requests with which the engine failed.
    pub failed: u64,
    /// Requests that the engine refused.
    pub refused: u64,
}

struct Place {
    prompt: Arc<Prompt>,
    /// Tokens of the answer so far.
    made: u64,
    started: bool,
    /// Tokens of the prompt that were taken for cached.
    cached: Tokens,
    end: Option<EndReason>,
}

/// See the module.
pub struct Book {
    block: Tokens,
    places: BTreeMap<Ticket, Place>,
    /// Those without a token, in the order in which they were sent.
    waiting: VecDeque<Ticket>,
    /// The engine's blocks, as far as is known.
    held: BTreeSet<BlockHash>,
    report: u64,
    counts: BookCounts,
}

impl Book {
    /// Of an engine without work and without blocks, in a cluster whose blocks have so many tokens.
    #[must_use]
    pub fn new(block: Tokens) -> Self {
        Self {
            block,
            places: BTreeMap::new(),
            waiting: VecDeque::new(),
            held: BTreeSet::new(),
            report: 0,
            counts: BookCounts::default(),
        }
    }

    /// What has happened.
    #[must_use]
    pub const fn counts(&self) -> &BookCounts {
        &self.counts
    }

    /// Requests under way.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.places.len()
    }

    /// An order of the driver.
    pub fn order(&mut self, order: ToNode, out: &mut Vec<Output>) {
        match order {
            // A copy from another engine cannot be had: the prompt's order follows, and it is computed.
            ToNode::Fetch { .. } => {}
            ToNode::Prefill { ticket, prompt, .. } => {
                self.counts.sent += 1;
                let place = Place {
                    prompt: Arc::clone(&prompt),
                    made: 0,
                    started: false,
                    cached: Tokens::ZERO,
                    end: None,
                };
                self.places.insert(ticket, place);
                self.waiting.push_back(ticket);
                out.push(Output::Send { ticket, prompt });
                self.start_first(out);
            }
            ToNode::Decode { ticket, .. } => out.push(Output::Say(FromNode::Failed {
                ticket,
                why: "an engine takes no KV from elsewhere".into(),
            })),
            ToNode::Abort { ticket } => {
                if self.leave(ticket, out).is_some() {
                    out.push(Output::Drop { ticket });
                }
            }
            ToNode::Stop { ticket } => {
                if let Some(place) = self.leave(ticket, out) {
                    out.push(Output::Drop { ticket });
                    out.push(Output::Say(ended(ticket, place.made, EndReason::Stop)));
                }
            }
            ToNode::SwitchRole(_) => {}
            ToNode::ReportCache => {
                let blocks = self.held.iter().copied().collect();
                self.say_whole(blocks, out);
            }
        }
    }

    /// Something came of a request.
    pub fn piece(&mut self, ticket: Ticket, piece: Piece, out: &mut Vec<Output>) {
        let Some(place) = self.places.get_mut(&ticket) else {
            return;
        };
        match piece {
            Piece::Tokens(tokens) if place.end.is_none() => self.tokens(ticket, &tokens, out),
            Piece::Tokens(_) => {}
            Piece::End(reason) => {
                // What the engine says of its cache may follow; the stream's end is the answer's.
                place.end.get_or_insert(reason);
            }
            Piece::Cached(said) => {
                self.counts.compared += 1;
                self.counts.agreed += u64::from(said == place.cached.0);
                self.counts.cached_expected += place.cached.0;
                self.counts.cached_said += said;
            }
            Piece::Failed(why) => self.failed(ticket, why, out),
            Piece::Refused(_) => {
                self.counts.refused += 1;
                self.leave(ticket, out);
                out.push(Output::Say(FromNode::Refused { ticket }));
            }
        }
    }

    /// A request's stream is complete.
    pub fn completed(&mut self, ticket: Ticket, out: &mut Vec<Output>) {
        let Some(place) = self.places.get(&ticket) else {
            return;
        };
        match place.end {
            Some(reason) if place.made > 0 => {
                let made = place.made;
                self.leave(ticket, out);
                out.push(Output::Say(ended(ticket, made, reason)));
            }
            _ => self.failed(ticket, "the answer has no end".into(), out),
        }
    }

    /// What the engine's cache gained and lost.
    pub fn told(&mut self, told: &Told, out: &mut Vec<Output>) {
        let Told::Changed(changes) = told else {
            self.held.clear();
            self.say_whole(Vec::new(), out);
            return;
        };
        // A block may come and go within one telling: only what is different behind it is said.
        let (mut evicted, mut stored) = (Vec::new(), Vec::new());
        let mut last: BTreeMap<BlockHash, bool> = BTreeMap::new();
        for change in changes {
            last.insert(change.block, !change.now.is_empty());
        }
        self.start_those_whose_blocks_come(&last, out);
        for change in changes {
            match last.remove(&change.block) {
                Some(true) if self.held.insert(change.block) => stored.push(change.block),
                Some(false) if self.held.remove(&change.block) => evicted.push(change.block),
                _ => {}
            }
        }
        if evicted.is_empty() && stored.is_empty() {
            return;
        }
        let report = self.report;
        self.report += 1;
        out.push(Output::Say(FromNode::Cache {
            report,
            evicted,
            stored,
        }));
    }

    fn say_whole(&mut self, blocks: Vec<BlockHash>, out: &mut Vec<Output>) {
        let report = self.report;
        self.report += 1;
        out.push(Output::Say(FromNode::WholeCache { report, blocks }));
    }

    fn tokens(&mut self, ticket: Ticket, tokens: &[u32], out: &mut Vec<Output>) {
        for &token in tokens {
            let Some(place) = self.places.get_mut(&ticket) else {
                return;
            };
            let position = place.made;
            place.made += 1;
            if position > 0 {
                out.push(Output::Say(FromNode::Token {
                    ticket,
                    position,
                    token,
                }));
                continue;
            }
            // Engines that compute several prompts in one pass make their first tokens together.
            self.start(ticket, out);
            self.waiting.retain(|&waiting| waiting != ticket);
            out.push(Output::Say(FromNode::FirstToken { ticket, token }));
            self.start_first(out);
        }
    }

    fn failed(&mut self, ticket: Ticket, why: String, out: &mut Vec<Output>) {
        self.counts.failed += 1;
        self.leave(ticket, out);
        out.push(Output::Drop { ticket });
        out.push(Output::Say(match ticket.attempt < ATTEMPTS_MAX {
            true => FromNode::Failed { ticket, why },
            false => FromNode::Refused { ticket },
        }));
    }

    fn leave(&mut self, ticket: Ticket, out: &mut Vec<Output>) -> Option<Place> {
        let place = self.places.remove(&ticket)?;
        self.waiting.retain(|&waiting| waiting != ticket);
        self.start_first(out);
        Some(place)
    }

    fn start_first(&mut self, out: &mut Vec<Output>) {
        if let Some(&first) = self.waiting.front() {
            self.start(first, out);
        }
    }

    /// Blocks are there or not, as `news` says; what is held is still as it was before them.
    fn start_those_whose_blocks_come(
        &mut self,
        news: &BTreeMap<BlockHash, bool>,
        out: &mut Vec<Output>,
    ) {
        let comes = |ticket: &&Ticket| {
            let Some(place) = self.places.get(ticket) else {
                return false;
            };
            let last = (self.cacheable(&place.prompt) as usize).checked_sub(1);
            let last = last.and_then(|last| place.prompt.blocks.get(last));
            last.is_some_and(|last| news.get(last) == Some(&true) && !self.held.contains(last))
        };
        let begun: Vec<Ticket> = self.waiting.iter().filter(comes).copied().collect();
        for ticket in begun {
            self.start(ticket, out);
        }
    }

    /// Blocks of a prompt that may be reused: its last token is computed in any case, and with it its block.
    fn cacheable(&self, prompt: &Prompt) -> u64 {
        prompt.input.0.saturating_sub(1) / self.block.0.max(1)
    }

    fn start(&mut self, ticket: Ticket, out: &mut Vec<Output>) {
        let block = self.block.0;
        let unstarted = |place: &&Place| !place.started;
        let Some(place) = self.places.get(&ticket).filter(unstarted) else {
            return;
        };
        let blocks = place.prompt.blocks.iter();
        let leading = blocks.take_while(|block| self.held.contains(block)).count();
        let cached = self.cacheable(&place.prompt).min(leading as u64);
        let Some(place) = self.places.get_mut(&ticket) else {
            return;
        };
        place.started = true;
        place.cached = Tokens(block * cached);
        out.push(Output::Say(FromNode::Started {
            ticket,
            cached: place.cached,
        }));
    }
}

const fn ended(ticket: Ticket, made: u64, reason: EndReason) -> FromNode {
    FromNode::Ended {
        ticket,
        output: Tokens(made),
        reason,
    }
}
