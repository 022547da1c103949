//! Which of a publisher's batches are believed, and when all that is known of it must be forgotten.
//!
//! Batches are numbered from 0 since the publisher started, live ones are lost when a receiver is slow or away, and the
//! publisher keeps the last ten thousand to be asked for. The rule here is that whatever was applied is, at any time,
//! all batches from some number on, of one publisher, in order, onto nothing. So no block that has gone can come back
//! by a late word of its coming, and what is lost makes blocks unknown, never wrongly known:
//!
//! - A number is missing: what is missing is asked for, and live batches wait meanwhile.
//! - What is asked for begins with the last batch that was applied. If it is not the same batch any more, the publisher
//!   has restarted, even if its numbers have overtaken the old ones; if it is not there any more, something is lost.
//!   Either way all is forgotten, and what there is is applied from its beginning.
//! - A live number that is not larger than the live one before it is a restart.
//! - An answer to an older request than the present one is not heard: late is as good as never.
//! - Without a replay socket a gap or a new connection forgets all.
//!
//! No round of asking is repeated without progress, so a publisher that does not have what is missing stops nobody.
//!
//! Not here: time (who drives this says when an answer has failed to come), what is in a batch.

use crate::names::hash;
use bytes::Bytes;
use std::collections::VecDeque;

/// What a follower is told of its publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowerConfig {
    /// Batches can be asked for again.
    pub replays: bool,
    /// Live batches that wait for a replay at most; what comes beyond that is asked for afterwards.
    pub waiting_max: usize,
    /// Their bytes at most.
    pub waiting_bytes_max: usize,
}

impl FollowerConfig {
    /// 16,384 batches of at most 64 MiB together.
    #[must_use]
    pub const fn new(replays: bool) -> Self {
        Self {
            replays,
            waiting_max: 1 << 14,
            waiting_bytes_max: 64 << 20,
        }
    }
}

/// One request for a replay; answers to an earlier one than the last are void.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Attempt(pub u64);

/// What is to be done, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing is known of the publisher any more.
    Forget,
    /// These events come next.
    Apply(Bytes),
    /// Ask for all batches from a number on. Whatever was asked for before is void.
    Ask {
        /// To be said with the answers.
        attempt: Attempt,
        /// The first that is wanted.
        from: u64,
    },
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FollowerCounts {
    /// Batches that were applied.
    pub applied: u64,
    /// Batches that had been applied already.
    pub repeated: u64,
    /// Gaps in the numbers of live batches.
    pub gaps: u64,
    /// Restarts of the publisher that were noticed.
    pub restarts: u64,
    /// Times that all was forgotten.
    pub forgotten: u64,
    /// Replays that were asked for.
    pub asked: u64,
    /// Replays that failed, or led nowhere.
    pub failed: u64,
    /// Live batches for which there was no room while a replay was under way.
    pub overflowed: u64,
}

/// A replay that is under way.
#[derive(Clone, Copy, Debug)]
struct Asking {
    attempt: Attempt,
    /// The batch that must come first, by number and digest: the last one that was applied.
    proof: Option<(u64, u64)>,
    /// The batch that waited already: what is missing is before it.
    gap: Option<u64>,
    /// Something new has come.
    progress: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Follower {
    config: FollowerConfig,
    /// The number and the digest of the last batch that was applied; none if nothing is known.
    last: Option<(u64, u64)>,
    last_live: Option<u64>,
    asking: Option<Asking>,
    attempts: u64,
    waiting: VecDeque<(u64, Bytes)>,
    waiting_bytes: usize,
    counts: FollowerCounts,
}

impl Follower {
    /// Of a publisher that nothing has been heard of.
    #[must_use]
    pub fn new(config: FollowerConfig) -> Self {
        Self {
            config,
            last: None,
            last_live: None,
            asking: None,
            attempts: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            counts: FollowerCounts::default(),
        }
    }

    /// What has happened so far.
    #[must_use]
    pub const fn counts(&self) -> &FollowerCounts {
        &self.counts
    }

    /// True while live batches wait for a replay.
    #[must_use]
    pub const fn is_asking(&self) -> bool {
        self.asking.is_some()
    }

    /// The number of the last batch that was applied.
    #[must_use]
    pub fn last(&self) -> Option<u64> {
        self.last.map(|(number, _)| number)
    }

    /// There is a connection, the first one or a new one: what was published before it may be lost, and who publishes
    /// may be another process.
    pub fn connected(&mut self, steps: &mut Vec<Step>) {
        self.last_live = None;
        self.wait_no_more();
        if self.config.replays {
            self.ask(steps);
        } else {
            self.forget(steps);
        }
    }

    /// The publisher is gone for good.
    pub fn gone(&mut self, steps: &mut Vec<Step>) {
        self.wait_no_more();
        self.asking = None;
        self.last_live = None;
        self.forget(steps);
    }

    /// A live batch.
    pub fn live(&mut self, number: u64, payload: Bytes, steps: &mut Vec<Step>) {
        let before = self.last_live.replace(number);
        if before.is_some_and(|before| number <= before) {
            self.counts.restarts += 1;
            self.wait_no_more();
            self.asking = None;
            self.forget(steps);
        }
        match self.asking {
            Some(_) => self.wait(number, payload),
            None => self.next(number, payload, self.config.replays, steps),
        }
    }

    /// An answer to a replay request.
    pub fn replayed(
        &mut self,
        attempt: Attempt,
        number: u64,
        payload: Bytes,
        steps: &mut Vec<Step>,
    ) {
        let Some(asking) = self
            .asking
            .as_mut()
            .filter(|asking| asking.attempt == attempt)
        else {
            return;
        };
        if let Some((proof, digest)) = asking.proof.take() {
            if number == proof && hash(&payload) == digest {
                self.counts.repeated += 1;
                return;
            }
            self.forget(steps);
            if number <= proof {
                // Another publisher's: all that it has is wanted, from its beginning.
                self.counts.restarts += 1;
                self.ask(steps);
                return;
            }
        }
        let progress = match self.last {
            Some((last, _)) if number <= last => {
                self.counts.repeated += 1;
                return;
            }
            Some((last, _)) if number > last + 1 => {
                self.forget(steps);
                true
            }
            _ => true,
        };
        if let Some(asking) = &mut self.asking {
            asking.progress |= progress;
        }
        self.apply(number, payload, steps);
    }

    /// All that was asked for has come.
    pub fn replay_ended(&mut self, attempt: Attempt, steps: &mut Vec<Step>) {
        let Some(asking) = self.asking.filter(|asking| asking.attempt == attempt) else {
            return;
        };
        self.asking = None;
        if asking.proof.is_some() {
            // Not even what we have had: it is another publisher, with fewer batches.
            self.counts.restarts += 1;
            self.forget(steps);
            self.ask(steps);
            return;
        }
        let first = self.waiting.front().map(|&(number, _)| number);
        self.go_on(asking.progress || first != asking.gap, steps);
    }

    /// A replay has not come to its end, and will not.
    pub fn replay_failed(&mut self, attempt: Attempt, steps: &mut Vec<Step>) {
        if self.asking.is_some_and(|asking| asking.attempt == attempt) {
            self.asking = None;
            self.counts.failed += 1;
            self.forget(steps);
            self.go_on(false, steps);
        }
    }

    /// What has waited for a replay comes next. If the replay led nowhere, asking again would not help either.
    fn go_on(&mut self, mut may_ask: bool, steps: &mut Vec<Step>) {
        while self.asking.is_none()
            && let Some((number, payload)) = self.waiting.pop_front()
        {
            self.waiting_bytes -= payload.len();
            self.next(number, payload, may_ask, steps);
            may_ask = self.config.replays;
        }
    }

    /// A live batch whose turn it is.
    fn next(&mut self, number: u64, payload: Bytes, may_ask: bool, steps: &mut Vec<Step>) {
        let expected = self.last.map_or(0, |(last, _)| last + 1);
        if number < expected {
            self.counts.repeated += 1;
            return;
        }
        if number > expected {
            self.counts.gaps += u64::from(self.last.is_some());
            if may_ask {
                self.waiting_bytes += payload.len();
                self.waiting.push_front((number, payload));
                self.ask(steps);
                return;
            }
            self.forget(steps);
        }
        self.apply(number, payload, steps);
    }

    fn apply(&mut self, number: u64, payload: Bytes, steps: &mut Vec<Step>) {
        self.counts.applied += 1;
        self.last = Some((number, hash(&payload)));
        steps.push(Step::Apply(payload));
    }

    fn forget(&mut self, steps: &mut Vec<Step>) {
        if self.last.take().is_some() {
            self.counts.forgotten += 1;
            steps.push(Step::Forget);
        }
    }

    /// Asks for what follows the last batch, and for that one as a proof.
    fn ask(&mut self, steps: &mut Vec<Step>) {
        self.counts.asked += 1;
        self.attempts += 1;
        let attempt = Attempt(self.attempts);
        self.asking = Some(Asking {
            attempt,
            proof: self.last,
            gap: self.waiting.front().map(|&(number, _)| number),
            progress: false,
        });
        let from = self.last.map_or(0, |(last, _)| last);
        steps.push(Step::Ask { attempt, from });
    }

    /// A live batch waits, if there is room: else it will be missing, and asked for.
    fn wait(&mut self, number: u64, payload: Bytes) {
        let bytes = self.waiting_bytes + payload.len();
        let room = self.waiting.len() < self.config.waiting_max;
        if room && bytes <= self.config.waiting_bytes_max {
            self.waiting_bytes = bytes;
            self.waiting.push_back((number, payload));
        } else {
            self.counts.overflowed += 1;
        }
    }

    fn wait_no_more(&mut self) {
        self.waiting.clear();
        self.waiting_bytes = 0;
    }
}
