//! Who will be decoding when: what the decode load of a later moment is predicted from.
//!
//! Each request in the system has a predicted stretch of decoding: from the end of its prefill (or from when it did
//! begin) for as long as its answer is predicted to take. The load at a time is made of the stretches that hold it:
//! those whose prefill is done by then have joined, those that have decoded for longer have left (v3 section 7). A
//! sequence holds its prompt and one token more for each step since it began, as it does on its node.
//!
//! Columns by slot of the request table; a look at a time reads them all, in order.

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

impl Stretch {
    /// KV tokens that it has at `time`, if it decodes then.
    #[must_use]
    pub fn tokens_at(&self, time: Nanos) -> Tokens {
        self.context + Tokens(time.saturating_sub(self.start).0 / self.step.0.max(1))
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
    end: Nanos,
    base: i128,
    rate: i128,
    node: NodeId,
    began: bool,
}

/// No time lies in it.
const NEVER: Entry = Entry {
    start: Nanos::MAX,
    end: Nanos::ZERO,
    base: 0,
    rate: 0,
    node: NodeId(0),
    began: false,
};

impl Entry {
    fn moved_to(self, start: Nanos) -> Self {
        Self {
            start,
            end: start + (self.end - self.start),
            base: self.base - self.rate * (i128::from(start.0) - i128::from(self.start.0)),
            ..self
        }
    }

}

/// A sum of entries, in 1024ths.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    sequences: u64,
    base: i128,
    rate: i128,
}

impl Sum {
    fn add(&mut self, entry: &Entry) {
        self.add_part(entry, Chance::CERTAIN);
    }

    fn add_part(&mut self, entry: &Entry, chance: Chance) {
        let part = i128::from(chance.0);
        self.sequences += u64::from(chance.0);
        self.base += entry.base * part;
        self.rate += entry.rate * part;
    }

    fn remove(&mut self, entry: &Entry) {
        let whole = Chance::CERTAIN.0;
        self.sequences -= u64::from(whole);
        self.base -= entry.base * i128::from(whole);
        self.rate -= entry.rate * i128::from(whole);
    }

    fn at(&self, time: Nanos) -> Decoding {
        let whole = u64::from(Chance::CERTAIN.0);
        let tokens = (self.base + self.rate * i128::from(time.0)) / i128::from(whole) >> RATE_BITS;
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
    /// Scratch of [`Self::peaks`]: joins and leaves in order of time.
    changes: Vec<(Nanos, bool, u32)>,
}

impl Forecast {
    /// The request in `slot` will decode as predicted.
    pub fn enter(&mut self, slot: usize, stretch: Stretch) {
        if slot >= self.entries.len() {
            self.entries.resize(slot + 1, NEVER);
            self.changes.reserve(2 * self.entries.len());
        }
        let rate = (1_i128 << RATE_BITS) / i128::from(stretch.step.0.max(1));
        self.entries[slot] = Entry {
            start: stretch.start,
            end: stretch.start + stretch.time,
            base: (i128::from(stretch.context.0) << RATE_BITS)
                - rate * i128::from(stretch.start.0),
            rate,
            node: stretch.node,
            began: false,
        };
    }

    /// The request's decoding will begin at `start`, for as long as was predicted.
    pub fn expect_at(&mut self, slot: usize, start: Nanos) {
        self.entries[slot] = self.entries[slot].moved_to(start);
    }

    /// The request's decoding has begun at `start`.
    pub fn begin(&mut self, slot: usize, start: Nanos) {
        self.expect_at(slot, start);
        self.entries[slot].began = true;
    }

    /// Asks `remaining` about each request that decodes for longer than was predicted, by slot and time since it
    /// began; it is then taken to end so much later than `now`.
    pub fn extend_overdue(&mut self, now: Nanos, mut remaining: impl FnMut(usize, Nanos) -> Nanos) {
        for (slot, entry) in self.entries.iter_mut().enumerate() {
            if entry.began && entry.end <= now {
                entry.end = now + remaining(slot, now - entry.start);
            }
        }
    }

    /// The request has ended.
    pub fn strike(&mut self, slot: usize) {
        self.entries[slot] = NEVER;
    }

    /// Who decodes now, anywhere: facts, however long they have been predicted to.
    #[must_use]
    pub fn present(&self, now: Nanos) -> Decoding {
        sum(self.entries.iter().filter(|entry| entry.began)).at(now)
    }

    /// Who is expected to decode at each of `times`, in the pool or on one node: each who is there or will have joined
    /// by then, as likely as `stays` says for its slot, the time since it began, and the time from now, or from its
    /// beginning, until then.
    #[must_use]
    pub fn expected<const N: usize>(
        &self,
        now: Nanos,
        times: [Nanos; N],
        node: Option<NodeId>,
        mut stays: impl FnMut(usize, Nanos, Nanos) -> Chance,
    ) -> [Decoding; N] {
        let mut sums = [Sum::default(); N];
        let here = |entry: &Entry| node.is_none_or(|node| node == entry.node);
        for (slot, entry) in self.entries.iter().enumerate().filter(|(_, entry)| here(entry)) {
            for (sum, &time) in sums.iter_mut().zip(&times).filter(|(_, time)| entry.start <= **time) {
                let chance = match entry.began {
                    true => stays(slot, now - entry.start, time - now),
                    // Who should have begun by now will any moment.
                    false => stays(slot, Nanos::ZERO, time - entry.start.max(now)),
                };
                sum.add_part(entry, chance);
            }
        }
        let mut found = [Decoding::default(); N];
        for ((found, sum), &time) in found.iter_mut().zip(&sums).zip(&times) {
            *found = sum.at(time);
        }
        found
    }

    /// When the last of those who are on their way joins, as predicted; zero if nobody is.
    #[must_use]
    pub fn last_join(&self, node: Option<NodeId>) -> Nanos {
        let here = |entry: &&Entry| node.is_none_or(|node| node == entry.node);
        let coming = self.entries.iter().filter(|entry| !entry.began && entry.start < Nanos::MAX);
        let joins = coming.filter(here).map(|entry| entry.start);
        joins.max().unwrap_or(Nanos::ZERO)
    }

    /// Calls `look` with the time and who will decode on `node` then, at `from` and whenever another joins until `to`;
    /// stops when it says false, and says whether it never did.
    pub fn peaks(
        &mut self,
        node: NodeId,
        from: Nanos,
        to: Nanos,
        mut look: impl FnMut(Nanos, Decoding) -> bool,
    ) -> bool {
        let mut there = Sum::default();
        self.changes.clear();
        for (slot, entry) in self.entries.iter().enumerate() {
            if entry.node != node || entry.end <= from || entry.start > to || entry.start >= entry.end {
                continue;
            }
            if entry.start <= from {
                there.add(entry);
            } else {
                self.changes.push((entry.start, true, slot as u32));
            }
            self.changes.push((entry.end, false, slot as u32));
        }
        if !look(from, there.at(from)) {
            return false;
        }
        // Who leaves at an instant is gone before another joins.
        self.changes.sort_unstable();
        for &(at, joins, slot) in &self.changes {
            let entry = &self.entries[slot as usize];
            match joins {
                _ if at > to => break,
                false => there.remove(entry),
                true => {
                    there.add(entry);
                    if !look(at, there.at(at)) {
                        return false;
                    }
                }
            }
        }
        true
    }
}

fn sum<'a>(entries: impl Iterator<Item = &'a Entry>) -> Sum {
    entries.fold(Sum::default(), |mut sum, entry| {
        sum.add(entry);
        sum
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stretch(node: u16, start: u64, time: u64, context: u64) -> Stretch {
        Stretch {
            node: NodeId(node),
            start: Nanos(start),
            time: Nanos(time),
            context: Tokens(context),
            step: Nanos(2),
        }
    }

    #[test]
    fn who_has_joined_and_not_left_counts_and_grows() {
        let mut forecast = Forecast::default();
        forecast.enter(0, stretch(4, 10, 20, 100));
        forecast.enter(2, stretch(5, 25, 20, 7));
        let at = |forecast: &Forecast, time| {
            let stays = |_, since: Nanos, later: Nanos| match since + later < Nanos(20) {
                true => Chance::CERTAIN,
                false => Chance::NONE,
            };
            let now = Nanos(time).saturating_sub(Nanos(1));
            let [found] = forecast.expected(now, [Nanos(time)], None, stays);
            (found.sequences, found.tokens.0)
        };
        assert_eq!(
            [9, 10, 26, 30, 45].map(|time| at(&forecast, time)),
            [(0, 0), (1, 100), (2, 100 + 8 + 7), (1, 7 + 2), (0, 0)]
        );
        assert_eq!(forecast.present(Nanos(26)).sequences, 0, "nobody has begun");
        forecast.begin(0, Nanos(40));
        assert_eq!(at(&forecast, 59), (1, 109));
        assert_eq!(
            forecast.present(Nanos(90)),
            Decoding { sequences: 1, tokens: Tokens(125) },
            "overdue, and there all the same"
        );
        forecast.strike(0);
        forecast.strike(2);
        assert_eq!(at(&forecast, 41), (0, 0));
    }

    proptest! {
        /// The sweep sees what asking for each moment sees.
        #[test]
        fn peaks_are_those_of_every_moment(
            stretches in proptest::collection::vec((0_u16..2, 0_u64..60, 0_u64..30, 1_u64..50), 0..12),
            from in 0_u64..60, length in 0_u64..30,
        ) {
            let mut forecast = Forecast::default();
            for (slot, &(node, start, time, context)) in stretches.iter().enumerate() {
                forecast.enter(slot, stretch(node, start, time, context));
            }
            let (mut seen, mut all) = (Decoding::default(), Decoding::default());
            let wider = |a: Decoding, b: Decoding| Decoding {
                sequences: a.sequences.max(b.sequences),
                tokens: a.tokens.max(b.tokens),
            };
            forecast.peaks(NodeId(1), Nanos(from), Nanos(from + length), |_, there| {
                seen = wider(seen, there);
                true
            });
            for time in from..=from + length {
                let there = stretches.iter().filter(|s| s.0 == 1 && s.1 <= time && time < s.1 + s.2);
                let tokens = there.clone().map(|s| s.3 * 2 + (time - s.1)).sum::<u64>() / 2;
                all = wider(all, Decoding { sequences: there.count() as u32, tokens: Tokens(tokens) });
            }
            prop_assert_eq!(seen.sequences, all.sequences);
            // Tokens grow between joins, by at most one a step and sequence, and halves are rounded.
            prop_assert!(seen.tokens <= all.tokens + Tokens(1));
            prop_assert!(all.tokens.0 <= seen.tokens.0 + 1 + u64::from(all.sequences) * length / 2);
        }
    }
}
