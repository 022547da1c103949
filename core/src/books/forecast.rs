//! Who will be decoding when: what the decode load of a later moment is predicted from.
//!
//! Each request in the system has a predicted beginning of decoding: the end of its prefill, or when it did begin. The
//! load at a time is made of those whose prefill is done by then, each as likely as its answer still goes on (v3
//! section 7, where all take one time), and perhaps of those who are on the way. A sequence holds its prompt and one
//! token more for each step since it began, as it does on its node.
//!
//! Columns by slot of the request table. A look at a time reads them all, in order; where all answers are taken to be
//! of one length it reads sums instead ([`line`]), with the same result.
//!
//! Not here: how long an answer takes (`policy::predict`).

mod line;

use crate::ids::NodeId;
use crate::policy::predict::Chance;
use crate::sorted::Sum as _;
use crate::units::{Nanos, Tokens};
use alloc::vec::Vec;
use line::{Line, Totals};

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
    context: Tokens,
    /// At most 2^RATE_BITS.
    rate: u64,
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
    context: Tokens::ZERO,
    rate: 0,
    node: NodeId(0),
    state: State::Nobody,
};

impl Entry {
    fn new(stretch: Stretch, state: State) -> Self {
        Self {
            start: stretch.start,
            context: stretch.context,
            rate: (1 << RATE_BITS) / stretch.step.0.max(1),
            node: stretch.node,
            state,
        }
    }

    fn moved_to(self, start: Nanos) -> Self {
        Self { start, ..self }
    }

    fn base(&self) -> i128 {
        (i128::from(self.context.0) << RATE_BITS) - i128::from(self.rate) * i128::from(self.start.0)
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
        self.base += entry.base() * part;
        self.rate += i128::from(entry.rate) * part;
    }

    fn at(&self, time: Nanos) -> Decoding {
        let whole = u64::from(Chance::CERTAIN.0);
        let tokens = (self.base + self.rate * i128::from(time.0)) / i128::from(whole);
        decoding(self.sequences.div_ceil(whole) as u32, tokens)
    }
}

/// How long those stay who decode, or will.
#[derive(Clone, Copy)]
pub enum Staying<'a> {
    /// All for one time from their beginning, whoever they are.
    Alike(Nanos),
    /// As likely as it says for a slot, the time since it began, and the time from now, or from its beginning, to the
    /// moment that is asked about.
    Each(&'a dyn Fn(usize, Nanos, Nanos) -> Chance),
}

impl Staying<'_> {
    fn chance(&self, slot: usize, since: Nanos, later: Nanos) -> Chance {
        match self {
            Self::Alike(time) if since + later < *time => Chance::CERTAIN,
            Self::Alike(_) => Chance::NONE,
            Self::Each(stays) => stays(slot, since, later),
        }
    }
}

/// Predicted stretches of all requests in the system.
#[derive(Clone, Debug)]
pub struct Forecast {
    entries: Vec<Entry>,
    /// Those who come and those who are here, in order; kept only if somebody asks for sums.
    lines: Option<Lines>,
}

#[derive(Clone, Debug, Default)]
struct Lines {
    coming: Line,
    here: Line,
}

impl Lines {
    fn of(&mut self, state: State) -> Option<&mut Line> {
        match state {
            State::Nobody => None,
            State::Coming => Some(&mut self.coming),
            State::Here => Some(&mut self.here),
        }
    }
}

impl Forecast {
    /// Of nobody. `with_sums` if it will be asked about everybody, all staying alike, so often that keeping the order
    /// pays.
    #[must_use]
    pub fn new(with_sums: bool) -> Self {
        Self {
            entries: Vec::new(),
            lines: with_sums.then(Lines::default),
        }
    }

    /// The request in `slot` will decode as predicted.
    pub fn enter(&mut self, slot: usize, stretch: Stretch) {
        self.set(slot, Entry::new(stretch, State::Coming));
    }

    /// The request's decoding will begin at `start`.
    pub fn expect_at(&mut self, slot: usize, start: Nanos) {
        self.set(slot, self.entries[slot].moved_to(start));
    }

    /// The request's decoding has begun as it says.
    pub fn begin(&mut self, slot: usize, stretch: Stretch) {
        self.set(slot, Entry::new(stretch, State::Here));
    }

    /// The request has ended.
    pub fn strike(&mut self, slot: usize) {
        self.set(slot, NOBODY);
    }

    fn set(&mut self, slot: usize, entry: Entry) {
        if slot >= self.entries.len() {
            self.entries.resize(slot + 1, NOBODY);
        }
        let before = core::mem::replace(&mut self.entries[slot], entry);
        if let Some(lines) = &mut self.lines {
            if let Some(line) = lines.of(before.state) {
                line.remove(slot, &before);
            }
            if let Some(line) = lines.of(entry.state) {
                line.insert(slot, &entry);
            }
        }
    }

    /// Who decodes now on the nodes that `on` says, or anywhere: facts, however long they have been predicted to.
    #[must_use]
    pub fn present(&self, now: Nanos, on: Option<&dyn Fn(NodeId) -> bool>) -> Decoding {
        if let (Some(lines), None) = (&self.lines, on) {
            let all = lines.here.all();
            return decoding(all.sequences, all.grown(now));
        }
        let mut sum = Sum::default();
        for entry in &self.entries {
            if entry.state == State::Here && on.is_none_or(|on| on(entry.node)) {
                sum.add(entry, Chance::CERTAIN);
            }
        }
        sum.at(now)
    }

    /// Who is expected to decode on the nodes that `on` says, or anywhere: each who is there or will have joined, as
    /// likely as `staying` says.
    #[must_use]
    pub fn expected(
        &self,
        question: Question,
        on: Option<&dyn Fn(NodeId) -> bool>,
        staying: Staying<'_>,
    ) -> Decoding {
        if let (Some(lines), None, Staying::Alike(time)) = (&self.lines, on, staying) {
            return lines.expected(question, time);
        }
        let Question {
            now,
            time,
            promised,
        } = question;
        let mut sum = Sum::default();
        for (slot, entry) in self.entries.iter().enumerate() {
            match entry.state {
                State::Nobody => {}
                _ if on.is_some_and(|on| !on(entry.node)) => {}
                State::Here => sum.add(entry, staying.chance(slot, now - entry.start, time - now)),
                State::Coming if entry.start > time => {
                    if promised {
                        sum.add(&entry.moved_to(time), Chance::CERTAIN);
                    }
                }
                State::Coming => {
                    // Who should have begun by now will any moment.
                    let entry = entry.moved_to(entry.start.max(now));
                    let chance = staying.chance(slot, Nanos::ZERO, time - entry.start);
                    sum.add(&entry, chance);
                }
            }
        }
        sum.at(time)
    }
}

impl Lines {
    /// Who is expected, of all, if each stays for `stay`: those who begin in the `stay` before the moment.
    fn expected(&self, question: Question, stay: Nanos) -> Decoding {
        let Question {
            now,
            time,
            promised,
        } = question;
        // Who has begun until then has left.
        let left = |line: &Line| match time.0.checked_sub(stay.0) {
            Some(moment) => line.until(Nanos(moment)),
            None => Totals::default(),
        };
        let here = self.here.all().without(left(&self.here));
        let (mut sequences, mut tokens) = (here.sequences, here.grown(time));
        // Who should have begun by now will any moment.
        let overdue = self.coming.until(now);
        let joined = self.coming.until(time);
        if time - now < stay {
            sequences += overdue.sequences;
            tokens += overdue.grown_for(time - now);
        }
        let gone = match time.0.checked_sub(stay.0) {
            Some(moment) if moment > now.0 => left(&self.coming),
            _ => overdue,
        };
        let joins = joined.without(gone);
        sequences += joins.sequences;
        tokens += joins.grown(time);
        if promised {
            let later = self.coming.all().without(joined);
            sequences += later.sequences;
            tokens += later.grown_for(Nanos::ZERO);
        }
        decoding(sequences, tokens)
    }
}

/// So many sequences, and tokens in 2^-RATE_BITS.
fn decoding(sequences: u32, tokens: i128) -> Decoding {
    Decoding {
        sequences,
        tokens: Tokens(u64::try_from(tokens >> RATE_BITS).unwrap_or(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
        let found = forecast.expected(question, Some(&on), Staying::Each(&stays));
        (found.sequences, found.tokens.0)
    }

    #[test]
    fn who_has_joined_and_not_left_counts_and_grows() {
        let mut forecast = Forecast::new(false);
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
            forecast.present(Nanos(26), Some(&all)).sequences,
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
            forecast.present(Nanos(90), Some(&all)),
            present,
            "overdue, and there all the same"
        );
        forecast.strike(0);
        forecast.strike(2);
        assert_eq!(at(&forecast, 41, 41, None), (0, 0));
    }

    proptest! {
        /// The sums say what adding up one by one says, whatever comes, moves, begins and goes.
        #[test]
        fn sums_equal_the_literal_sum(
            ops in proptest::collection::vec((0_usize..12, 0..4, 0_u64..60, 0_u64..50, 1_u64..9), 1..80),
            now in 0_u64..60, ahead in 0_u64..40, stay in 0_u64..50, promised: bool,
        ) {
            let (mut fast, mut slow) = (Forecast::new(true), Forecast::new(false));
            // Nobody, coming, here.
            let mut states = [0; 12];
            for (slot, op, start, context, step) in ops {
                let stretch = Stretch { step: Nanos(step), ..stretch(1, start, context) };
                for forecast in [&mut fast, &mut slow] {
                    match (states[slot], op) {
                        (0, _) => forecast.enter(slot, stretch),
                        (_, 0) => forecast.strike(slot),
                        (1, 1) => forecast.expect_at(slot, Nanos(start)),
                        // Nobody is here who has not begun.
                        _ => forecast.begin(slot, Stretch { start: Nanos(start.min(now)), ..stretch }),
                    }
                }
                states[slot] = match (states[slot], op) {
                    (0, _) | (1, 1) => 1,
                    (_, 0) => 0,
                    _ => 2,
                };
                let (now, time) = (Nanos(now), Nanos(now + ahead));
                let question = Question { now, time, promised };
                let staying = Staying::Alike(Nanos(stay));
                prop_assert_eq!(fast.expected(question, None, staying), slow.expected(question, None, staying));
                prop_assert_eq!(fast.present(now, None), slow.present(now, None));
            }
        }
    }

    #[test]
    fn parts_of_sequences_add_up() {
        let mut forecast = Forecast::new(false);
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
        let found = forecast.expected(question, None, Staying::Each(&half));
        let nowhere = |_| false;
        let elsewhere = forecast.expected(question, Some(&nowhere), Staying::Each(&half));
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
