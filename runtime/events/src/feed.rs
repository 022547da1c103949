//! What one engine says, from its messages to changes of the Conductor's blocks: follower, decoder and tree as one
//! machine.
//!
//! Not here: sockets and time ([`crate::source`]).

use crate::decode;
use crate::event::KvEvent;
use crate::follower::{Attempt, Follower, FollowerConfig, FollowerCounts, Step};
use crate::tree::{Change, Tree, TreeConfig, TreeCounts};
use bytes::Bytes;

/// What follows from a message, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// Nothing of the engine's cache is known any more.
    Cleared,
    /// Blocks lie elsewhere than before. One block may be in it more than once, each time from where it was last.
    Changed(Vec<Change>),
    /// A replay is to be asked for; see [`Step::Ask`].
    Ask {
        /// To be said with the answers.
        attempt: Attempt,
        /// The first batch that is wanted.
        from: u64,
    },
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeedCounts {
    /// To batches.
    pub follower: FollowerCounts,
    /// To blocks.
    pub tree: TreeCounts,
    /// Events that were understood.
    pub events: u64,
    /// Events of a kind that is not known.
    pub unknown_events: u64,
    /// Fields that are not known.
    pub unknown_fields: u64,
    /// Payloads that could not be read.
    pub malformed: u64,
    /// Engine blocks that are known.
    pub blocks: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Feed {
    follower: Follower,
    tree: Tree,
    counts: FeedCounts,
    steps: Vec<Step>,
    malformed: Option<String>,
}

impl Feed {
    /// Of an engine that nothing has been heard of.
    #[must_use]
    pub fn new(follower: FollowerConfig, tree: TreeConfig) -> Self {
        Self {
            follower: Follower::new(follower),
            tree: Tree::new(tree),
            counts: FeedCounts::default(),
            steps: Vec::new(),
            malformed: None,
        }
    }

    /// What has happened so far.
    #[must_use]
    pub fn counts(&self) -> FeedCounts {
        FeedCounts {
            follower: *self.follower.counts(),
            tree: *self.tree.counts(),
            blocks: self.tree.len() as u64,
            ..self.counts
        }
    }

    /// Why the last payload that could not be read could not, once.
    pub fn take_malformed(&mut self) -> Option<String> {
        self.malformed.take()
    }

    /// The engine's blocks.
    #[must_use]
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// True while a replay is awaited.
    #[must_use]
    pub const fn is_asking(&self) -> bool {
        self.follower.is_asking()
    }

    /// See [`Follower::connected`].
    pub fn connected(&mut self, updates: &mut Vec<Update>) {
        self.follower.connected(&mut self.steps);
        self.carry_out(updates);
    }

    /// See [`Follower::gone`].
    pub fn gone(&mut self, updates: &mut Vec<Update>) {
        self.follower.gone(&mut self.steps);
        self.carry_out(updates);
    }

    /// See [`Follower::live`].
    pub fn live(&mut self, number: u64, payload: Bytes, updates: &mut Vec<Update>) {
        self.follower.live(number, payload, &mut self.steps);
        self.carry_out(updates);
    }

    /// See [`Follower::replayed`].
    pub fn replayed(
        &mut self,
        attempt: Attempt,
        number: u64,
        payload: Bytes,
        updates: &mut Vec<Update>,
    ) {
        self.follower
            .replayed(attempt, number, payload, &mut self.steps);
        self.carry_out(updates);
    }

    /// See [`Follower::replay_ended`].
    pub fn replay_ended(&mut self, attempt: Attempt, updates: &mut Vec<Update>) {
        self.follower.replay_ended(attempt, &mut self.steps);
        self.carry_out(updates);
    }

    /// See [`Follower::replay_failed`].
    pub fn replay_failed(&mut self, attempt: Attempt, updates: &mut Vec<Update>) {
        self.follower.replay_failed(attempt, &mut self.steps);
        self.carry_out(updates);
    }

    fn carry_out(&mut self, updates: &mut Vec<Update>) {
        for step in std::mem::take(&mut self.steps) {
            match step {
                Step::Ask { attempt, from } => updates.push(Update::Ask { attempt, from }),
                Step::Forget => self.forget(updates),
                Step::Apply(payload) => self.apply(&payload, updates),
            }
        }
    }

    fn forget(&mut self, updates: &mut Vec<Update>) {
        self.tree.clear();
        updates.push(Update::Cleared);
    }

    fn apply(&mut self, payload: &[u8], updates: &mut Vec<Update>) {
        let batch = match decode::batch(payload) {
            Ok(batch) => batch,
            Err(malformed) => {
                // It may have said of blocks that they have gone; what follows is believed again.
                self.counts.malformed += 1;
                self.malformed = Some(malformed.to_string());
                self.forget(updates);
                return;
            }
        };
        self.counts.unknown_events += batch.unknown_events;
        self.counts.unknown_fields += batch.unknown_fields;
        let mut changes = Vec::new();
        for event in &batch.events {
            self.counts.events += 1;
            match event {
                KvEvent::Stored(stored) => self.tree.store(stored, &mut changes),
                KvEvent::Removed(removed) => self.tree.remove(removed, &mut changes),
                KvEvent::Cleared => {
                    changes.clear();
                    self.forget(updates);
                }
            }
        }
        if !changes.is_empty() {
            updates.push(Update::Changed(changes));
        }
    }
}
