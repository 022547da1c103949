//! Who will be decoding when: what the decode load of a later moment is predicted from.
//!
//! Each request in the system has a predicted beginning of decoding: the end of its prefill, or when it did begin. The
//! load at a time is made of those whose prefill is done by then, each as likely as its answer still goes on (v3
//! section 7, where all take one time), and perhaps of those who are on the way. A sequence holds its prompt and one
//! token more for each step since it began, as it does on its node.
//!
//! Columns by slot of the request table; a look at a time reads them all, in order.
//!
//! Not here: how long an answer takes (`policy::predict`).

use crate::ids::NodeId;
use crate::policy::predict::Chance;
use crate::units::{Nanos, Tokens};
use alloc::vec::Vec;

/// A request's predicted decoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Where.
    pub node: NodeId,
    /// When it begins, or has begun.
    pub start: Nanos,
    /// How long it takes.
    pub time: Nanos,
    /// KV tokens that it has when it begins: its prompt.
    pub context: Tokens,
    /// Predicted time of each token.
    pub step: Nanos,
}

/// What is asked of a forecast.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// The present.
    pub now: Nanos,
    /// The moment that is asked about; not before now.
    pub time: Nanos,
    /// Whether those count, in full, who are on the way and begin later than that. They were admitted before whoever
    /// asks, so their room is promised. A long prompt is overtaken by many short ones; without this they would fill its
    /// room while it is computed.
    pub promised: bool,
}

impl Stretch {
    /// Tokens that it makes.
    #[must_use]
    pub fn answer(&self) -> Tokens {
        Tokens(self.time.0.div_ceil(self.step.0.max(1)))
    }
}

/// Sequences on a node or in a pool, and the KV tokens that they hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decoding {
    /// How many.
    pub sequences: u32,
    /// KV tokens.
    pub tokens: Tokens,
}

impl Decoding {
    /// These and one that holds `tokens`.
    #[must_use]
    pub fn and(self, tokens: Tokens) -> Self {
        Self {
            sequences: self.sequences + 1,
            tokens: self.tokens + tokens,
        }
    }

    /// What one of `nodes` holds if they share evenly; a part of a sequence counts as one.
    #[must_use]
    pub fn shared_by(self, nodes: usize) -> Self {
        let nodes = nodes.max(1) as u64;
        Self {
            sequences: u64::from(self.sequences).div_ceil(nodes) as u32,
            tokens: self.tokens / nodes,
        }
    }
}

/// Binary places of a growth rate in tokens a nanosecond.
const RATE_BITS: u32 = 40;

/// A stretch as it is kept: `tokens(t) = (base + rate * t) / 2^RATE_BITS`, so that sums need no division.
#[derive(Clone, Copy, Debug)]
struct Entry {
    start: Nanos,
    base: i128,
    rate: i128,
    node: NodeId,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The slot is free.
    Nobody,
    /// In prefill, or its KV is on its way.
    Coming,
    /// It decodes.
    Here,
}

const NOBODY: Entry = Entry {
    start: Nanos::ZERO,
    base: 0,
    rate: 0,
    node: NodeId(0),
    state: State::Nobody,
};

impl Entry {
    fn new(stretch: Stretch, state: State) -> Self {
        let rate = (1_i128 << RATE_BITS) / i128::from(stretch.step.0.max(1));
        Self {
            start: stretch.start,
            base: (i128::from(stretch.context.0) << RATE_BITS) - rate * i128::from(stretch.start.0),
            rate,
            node: stretch.node,
            state,
        }
    }

    fn moved_to(self, start: Nanos) -> Self {
        Self {
            start,
            base: self.base - self.rate * (i128::from(start.0) - i128::from(self.start.0)),
            ..self
        }
    }
}

/// A sum of entries, each in part.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    sequences: u64,
    base: i128,
    rate: i128,
}

impl Sum {
    fn add(&mut self, entry: &Entry, chance: Chance) {
        let part = i128::from(chance.0);
        self.sequences += u64::from(chance.0);
        self.base += entry.base * part;
        self.rate += entry.rate * part;
    }

    fn at(&self, time: Nanos) -> Decoding {
        let whole = u64::from(Chance::CERTAIN.0);
        let tokens =
            ((self.base + self.rate * i128::from(time.0)) / i128::from(whole)) >> RATE_BITS;
        Decoding {
            sequences: self.sequences.div_ceil(whole) as u32,
            tokens: Tokens(u64::try_from(tokens).unwrap_or(0)),
        }
    }
}

/// Predicted stretches of all requests in the system.
#[derive(Clone, Debug, Default)]
pub struct Forecast {
    entries: Vec<Entry>,
}

impl Forecast {
    /// The request in `slot` will decode as predicted.
    pub fn enter(&mut self, slot: usize, stretch: Stretch) {
        if slot >= self.entries.len() {
            self.entries.resize(slot + 1, NOBODY);
        }
        self.entries[slot] = Entry::new(stretch, State::Coming);
    }

    /// The request's decoding will begin at `start`.
    pub fn expect_at(&mut self, slot: usize, start: Nanos) {
        self.entries[slot] = self.entries[slot].moved_to(start);
    }

    /// The request's decoding has begun as it says.
    pub fn begin(&mut self, slot: usize, stretch: Stretch) {
        self.entries[slot] = Entry::new(stretch, State::Here);
    }

    /// The request has ended.
    pub fn strike(&mut self, slot: usize) {
        self.entries[slot] = NOBODY;
    }

    /// Who decodes now on the nodes that `on` says: facts, however long they have been predicted to.
    #[must_use]
    pub fn present(&self, now: Nanos, on: &dyn Fn(NodeId) -> bool) -> Decoding {
        let mut sum = Sum::default();
        for entry in &self.entries {
            if entry.state == State::Here && on(entry.node) {
                sum.add(entry, Chance::CERTAIN);
            }
        }
        sum.at(now)
    }

    /// Who is expected to decode on the nodes that `on` says: each who is there or will have joined, as likely as
    /// `stays` says for its slot, the time since it began, and the time from now, or from its beginning, to the moment
    /// that is asked about.
    #[must_use]
    pub fn expected(
        &self,
        question: Question,
        on: &dyn Fn(NodeId) -> bool,
        stays: &dyn Fn(usize, Nanos, Nanos) -> Chance,
    ) -> Decoding {
        let Question {
            now,
            time,
            promised,
        } = question;
        let mut sum = Sum::default();
        for (slot, entry) in self.entries.iter().enumerate() {
            match entry.state {
                State::Nobody => {}
                _ if !on(entry.node) => {}
                State::Here => sum.add(entry, stays(slot, now - entry.start, time - now)),
                State::Coming if entry.start > time => {
                    if promised {
                        sum.add(&entry.moved_to(time), Chance::CERTAIN);
                    }
                }
                State::Coming => {
                    // Who should have begun by now will any moment.
                    let entry = entry.moved_to(entry.start.max(now));
                    sum.add(&entry, stays(slot, Nanos::ZERO, time - entry.start));
                }
            }
        }
        sum.at(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(node: u16, start: u64, context: u64) -> Stretch {
        Stretch {
            node: NodeId(node),
            start: Nanos(start),
            time: Nanos(20),
            context: Tokens(context),
            step: Nanos(2),
        }
    }

    fn at(forecast: &Forecast, now: u64, time: u64, node: Option<NodeId>) -> (u32, u64) {
        let (now, time, promised) = (Nanos(now), Nanos(time), true);
        let question = Question {
            now,
            time,
            promised,
        };
        let on = |other| node.is_none_or(|node| node == other);
        let stays = |_: usize, since: Nanos, later: Nanos| match since + later < Nanos(20) {
            true => Chance::CERTAIN,
            false => Chance::NONE,
        };
        let found = forecast.expected(question, &on, &stays);
        (found.sequences, found.tokens.0)
    }

    #[test]
    fn who_has_joined_and_not_left_counts_and_grows() {
        let mut forecast = Forecast::default();
        forecast.enter(0, stretch(4, 10, 100));
        forecast.enter(2, stretch(5, 25, 7));
        let found = [9, 12, 26, 30, 45].map(|time| at(&forecast, 5, time, None));
        let promised = 100 + 7;
        assert_eq!(
            found,
            [
                (2, promised),
                (2, promised + 1),
                (2, promised + 8),
                (1, 7 + 2),
                (0, 0)
            ]
        );
        assert_eq!(at(&forecast, 5, 30, Some(NodeId(4))), (0, 0));
        let all = |_| true;
        assert_eq!(
            forecast.present(Nanos(26), &all).sequences,
            0,
            "nobody has begun"
        );
        assert_eq!(
            at(&forecast, 28, 28, Some(NodeId(4))),
            (1, 100),
            "overdue, but not begun: it has made nothing"
        );
        forecast.begin(0, stretch(4, 40, 100));
        assert_eq!(at(&forecast, 50, 59, Some(NodeId(4))), (1, 109));
        let present = Decoding {
            sequences: 1,
            tokens: Tokens(125),
        };
        assert_eq!(
            forecast.present(Nanos(90), &all),
            present,
            "overdue, and there all the same"
        );
        forecast.strike(0);
        forecast.strike(2);
        assert_eq!(at(&forecast, 41, 41, None), (0, 0));
    }

    #[test]
    fn parts_of_sequences_add_up() {
        let mut forecast = Forecast::default();
        for slot in 0..3 {
            forecast.enter(slot, stretch(1, 0, 1_000));
            forecast.begin(slot, stretch(1, 0, 1_000));
        }
        let half = |_: usize, _: Nanos, _: Nanos| Chance(512);
        let question = Question {
            now: Nanos(0),
            time: Nanos(0),
            promised: false,
        };
        let found = forecast.expected(question, &|_| true, &half);
        let elsewhere = forecast.expected(question, &|_| false, &half);
        assert_eq!(elsewhere, Decoding::default());
        assert_eq!((found.sequences, found.tokens.0), (2, 1_500));
        assert_eq!(
            found.shared_by(2).and(Tokens(7)),
            Decoding {
                sequences: 2,
                tokens: Tokens(757)
            }
        );
    }
}
