//! KV that comes to a decode node: room is set aside, opened to the one node that fills it, and closed again.
//!
//! A prefill node may ask before the Conductor's order for the same attempt is here: it waits. Room is given in order
//! of asking, so that a large prompt is not passed by small ones for ever. What a peer could still write to is not
//! used again before its right to is gone: its blocks stay held until the messenger has said so.

use super::body::{Body, Inbox};
use super::kv::Holder;
use super::lend::Closing;
use crate::agent::{Agent, Outputs};
use crate::wire::messages::Landing;
use conductor_core::ids::{NodeId, Ticket};
use conductor_messenger::{Access, Key, Rights};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// What a prefill node asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    pub(super) from: NodeId,
    pub(super) ticket: Ticket,
    pub(super) blocks: u32,
    pub(super) slice_bytes: u64,
    pub(super) layers: u32,
    pub(super) epoch: u64,
}

struct Waiting {
    ask: Ask,
    answer: oneshot::Sender<Landing>,
    since: Instant,
}

/// Room that a peer fills.
struct Open {
    ticket: Ticket,
    holder: Holder,
    key: Key,
}

/// See the module.
pub(super) struct Landings {
    /// Blocks for KV that is not yet where it is decoded.
    room: u64,
    waiting_max: usize,
    waiting: VecDeque<Waiting>,
    open: BTreeMap<u32, Open>,
    /// Blocks of each sequence that has landed, or will, and is not yet decoded.
    outside: BTreeMap<Ticket, u32>,
    last: u32,
}

/// Answers that it cannot be.
pub(super) fn refuse(answer: oneshot::Sender<Landing>, why: &str) {
    let _ = answer.send(Landing {
        refused: why.into(),
        ..Landing::default()
    });
}

impl Landings {
    pub(super) fn new(room: u32, waiting_max: usize) -> Self {
        Self {
            room: u64::from(room),
            waiting_max,
            waiting: VecDeque::new(),
            open: BTreeMap::new(),
            outside: BTreeMap::new(),
            last: 0,
        }
    }

    /// Takes a question in.
    pub(super) fn ask(&mut self, ask: Ask, answer: oneshot::Sender<Landing>) {
        if self.waiting.len() >= self.waiting_max {
            return refuse(answer, "too many wait for room");
        }
        if u64::from(ask.blocks) > self.room {
            return refuse(answer, "it is larger than the room for KV that comes");
        }
        self.waiting.push_back(Waiting {
            ask,
            answer,
            since: Instant::now(),
        });
    }

    /// Who has waited too long is refused; who does not wait any more is forgotten.
    pub(super) fn expire(&mut self, after: Duration) {
        self.waiting.retain(|waiting| !waiting.answer.is_closed());
        while let Some(first) = self.waiting.front()
            && first.since.elapsed() > after
        {
            if let Some(first) = self.waiting.pop_front() {
                refuse(first.answer, "there was no room in time");
            }
        }
    }

    pub(super) fn refuse_all(&mut self, why: &str) {
        for waiting in self.waiting.drain(..) {
            refuse(waiting.answer, why);
        }
    }

    /// The sequence's KV counts as HBM's from now on.
    pub(super) fn moved_in(&mut self, ticket: Ticket) {
        self.outside.remove(&ticket);
    }

    fn used(&self) -> u64 {
        self.outside.values().copied().map(u64::from).sum()
    }

    fn next_number(&mut self) -> u32 {
        loop {
            self.last = self.last.wrapping_add(1);
            if !self.open.contains_key(&self.last) {
                return self.last;
            }
        }
    }
}

impl Body {
    /// Gives room to who waits, as far as there is any.
    pub(super) fn let_land(&mut self) {
        let mut at = 0;
        while let Some(waiting) = self.landings.waiting.get(at) {
            let ask = waiting.ask;
            let expected = match &self.agent {
                Agent::Decode(agent) => agent.expects(ask.ticket),
                _ => false,
            };
            let sequence = self.sequences.get(&ask.ticket);
            let sequence = sequence.filter(|sequence| expected && sequence.holder.is_none());
            let closed = waiting.answer.is_closed();
            let Some(sequence) = sequence.filter(|_| !closed) else {
                match closed {
                    true => drop(self.landings.waiting.remove(at)),
                    false => at += 1,
                }
                continue;
            };
            let fits = self.blocks_for(sequence.prompt.input) == ask.blocks as usize;
            let room = self.landings.used() + u64::from(ask.blocks) <= self.landings.room;
            if fits && !(room && self.kv.free() >= ask.blocks as usize) {
                // In order: who comes later waits behind it.
                return;
            }
            if let Some(Waiting { answer, .. }) = self.landings.waiting.remove(at) {
                match fits {
                    true => self.open(ask, answer),
                    false => refuse(answer, "the prompt has another length there"),
                }
            }
        }
    }

    /// A node that asks again for an attempt has not heard the answer: its connection broke. Nothing came there, and
    /// nothing will; what was set aside is given back.
    pub(super) fn land_anew(&mut self, ticket: Ticket) {
        let expected = matches!(&self.agent, Agent::Decode(agent) if agent.expects(ticket));
        let opened = self
            .landings
            .open
            .values()
            .any(|open| open.ticket == ticket);
        if !(expected && opened) {
            return;
        }
        self.end_landing(ticket);
        let sequence = self.sequences.get_mut(&ticket);
        if let Some(holder) = sequence.and_then(|sequence| sequence.holder.take()) {
            self.kv.release(holder);
        }
    }

    /// Sets blocks aside and opens them.
    fn open(&mut self, ask: Ask, answer: oneshot::Sender<Landing>) {
        let peers = Arc::clone(&self.parts.peers);
        let access = Access {
            window: peers.region.whole(),
            rights: Rights::WRITE,
            node: Some(ask.from),
        };
        let grant = match peers.transport.register(&peers.region, access) {
            Ok(grant) => grant,
            Err(error) => return refuse(answer, &error.to_string()),
        };
        let (Some(holder), Some(sequence)) = (
            self.kv.private(ask.blocks as usize),
            self.sequences.get_mut(&ask.ticket),
        ) else {
            return refuse(answer, "there is no room");
        };
        let number = self.landings.next_number();
        let blocks = self
            .kv
            .blocks(&holder)
            .iter()
            .map(|block| block.0)
            .collect();
        let landing = Landing {
            refused: String::new(),
            transfer: peers.seen_at.clone(),
            grant: grant.to_bytes().to_vec(),
            blocks,
            landing: number,
        };
        let open = Open {
            ticket: ask.ticket,
            holder: self.kv.share(&holder),
            key: grant.key,
        };
        sequence.holder = Some(holder);
        self.landings.outside.insert(ask.ticket, ask.blocks);
        self.landings.open.insert(number, open);
        // If nobody hears it any more the attempt is being given up, and its landing with it.
        let _ = answer.send(landing);
    }

    /// All KV of a prompt is here.
    pub(super) fn arrived(&mut self, word: u64) {
        let (number, first) = ((word >> 32) as u32, word as u32);
        let Some(Open {
            ticket,
            holder,
            key,
        }) = self.landings.open.remove(&number)
        else {
            return;
        };
        self.arrived.extend(self.kv.blocks(&holder));
        self.close(key, Closing::of(holder));
        if let Some(sequence) = self.sequences.get_mut(&ticket) {
            sequence.answer.clear();
            sequence.answer.push(first);
        }
        let (now, mut out) = (self.now(), Outputs::new());
        if let Agent::Decode(agent) = &mut self.agent {
            agent.arrived(now, ticket, &mut out);
        }
        self.carry_out(out);
    }

    /// KV of this attempt is not wanted any more.
    pub(super) fn end_landing(&mut self, ticket: Ticket) {
        self.landings.outside.remove(&ticket);
        let mut open = self.landings.open.iter();
        let number = open.find(|(_, open)| open.ticket == ticket);
        if let Some((&number, _)) = number
            && let Some(Open { holder, key, .. }) = self.landings.open.remove(&number)
        {
            self.close(key, Closing::of(holder));
        }
    }

    /// Takes a key back; what it opened is held until that is done.
    pub(super) fn close(&mut self, key: Key, closing: Closing) {
        let number = self.number();
        self.closing.insert(number, closing);
        let (peers, inbox) = (Arc::clone(&self.parts.peers), self.parts.inbox.clone());
        tokio::spawn(async move {
            // A peer on this machine that is stopped in the middle of a copy keeps the blocks until it goes on or dies.
            while peers.transport.revoke(key).await.is_err() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            let _ = inbox.send(Inbox::Closed(number)).await;
        });
    }
}
