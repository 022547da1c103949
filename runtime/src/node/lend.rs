//! Blocks of this node's cache that other nodes read: pinned, opened to the one who asked, for a time.
//!
//! A reader that dies leaves its pin, which ends by itself; a reader that was too slow is told so and throws away what
//! it has read.

use super::body::Body;
use super::kv::Holder;
use crate::agent::{Agent, Pins};
use crate::wire::messages::Pinned;
use conductor_core::ids::{BlockHash, NodeId};
use conductor_messenger::{Access, Key, Rights};
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// Blocks that a peer may read.
pub(super) struct Lent {
    to: NodeId,
    key: Key,
    closing: Closing,
    ends: Instant,
}

/// What is given back when no peer reaches it any more.
pub(super) struct Closing {
    holder: Holder,
    /// The agent's pins, and which agent's.
    pins: Option<(u64, Pins)>,
}

impl Closing {
    pub(super) const fn of(holder: Holder) -> Self {
        Self { holder, pins: None }
    }
}

impl Body {
    /// Pins the leading ones of `hashes` that are here.
    pub(super) fn lend(
        &mut self,
        to: NodeId,
        hashes: &[BlockHash],
        answer: oneshot::Sender<Pinned>,
    ) {
        let pins = match &mut self.agent {
            Agent::Prefill(agent) if self.lent.len() < self.parts.limits.pins_max => {
                agent.pin(hashes)
            }
            _ => {
                let _ = answer.send(Pinned::default());
                return;
            }
        };
        let holder = self.kv.cached(&hashes[..pins.len() as usize]);
        let peers = Arc::clone(&self.parts.peers);
        let access = Access {
            window: peers.region.whole(),
            rights: Rights::READ,
            node: Some(to),
        };
        let blocks: Vec<u32> = self
            .kv
            .blocks(&holder)
            .iter()
            .map(|block| block.0)
            .collect();
        let grant = match peers.transport.register(&peers.region, access) {
            Ok(grant) if !blocks.is_empty() => grant,
            given => {
                let roles = self.roles;
                let pins = Some((roles, pins));
                let closing = Closing { holder, pins };
                match given {
                    Ok(grant) => self.close(grant.key, closing),
                    Err(_) => self.give_back(closing),
                }
                let _ = answer.send(Pinned::default());
                return;
            }
        };
        let pin = self.number();
        let pinned = Pinned {
            pin,
            transfer: peers.seen_at.clone(),
            grant: grant.to_bytes().to_vec(),
            blocks,
        };
        let lent = Lent {
            to,
            key: grant.key,
            closing: Closing {
                holder,
                pins: Some((self.roles, pins)),
            },
            ends: Instant::now() + self.parts.limits.lease(),
        };
        self.lent.insert(pin, lent);
        let _ = answer.send(pinned);
    }

    /// A reader gives its blocks back; true if they stayed until now.
    pub(super) fn take_back(&mut self, from: NodeId, pin: u64) -> bool {
        let his = self.lent.get(&pin).is_some_and(|lent| lent.to == from);
        match self.lent.remove(&pin).filter(|_| his) {
            Some(lent) => {
                self.close(lent.key, lent.closing);
                true
            }
            None => false,
        }
    }

    /// Readers that are too slow lose their pins.
    pub(super) fn expire_lent(&mut self) {
        let now = Instant::now();
        let over = self.lent.extract_if(.., |_, lent| lent.ends <= now);
        let over: Vec<Lent> = over.map(|(_, lent)| lent).collect();
        for lent in over {
            self.close(lent.key, lent.closing);
        }
    }

    /// No peer reaches these blocks any more.
    pub(super) fn closed(&mut self, number: u64) {
        if let Some(closing) = self.closing.remove(&number) {
            self.give_back(closing);
            self.go_on();
        }
    }

    fn give_back(&mut self, closing: Closing) {
        self.kv.release(closing.holder);
        if let (Some((roles, pins)), Agent::Prefill(agent)) = (closing.pins, &mut self.agent)
            && roles == self.roles
        {
            agent.unpin(&pins);
        }
    }
}
