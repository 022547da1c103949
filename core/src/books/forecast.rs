//! Who will be decoding when: what the decode load of a later moment is predicted from.
//!
//! Each request in the system has a predicted stretch of decoding: from the end of its prefill (or from when it did
//! begin) for as long as its answer is predicted to take. The load at a time is made of the stretches that hold
//! it: those
//! whose prefill is done by then have joined, those that have decoded for longer have left (v3 section 7).
//!
//! Columns by slot of the request table; a look at a time reads them all, in order.

use crate::ids::NodeId;
use crate::units::{Nanos, Tokens};
use alloc::vec::Vec;

/// A predicted stretch of decoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stretch {
    start: Nanos,
    end: Nanos,
    tokens: Tokens,
    node: NodeId,
}

/// Requests that decode at a time, and the KV tokens held for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decoding {
    /// How many.
    pub requests: u32,
    /// KV tokens.
    pub tokens: Tokens,
}

/// Predicted stretches of all requests in the system.
#[derive(Clone, Debug, Default)]
pub struct Forecast {
    stretches: Vec<Stretch>,
}

/// No time lies in it.
const NEVER: Stretch = Stretch {
    start: Nanos::MAX,
    end: Nanos::ZERO,
    tokens: Tokens::ZERO,
    node: NodeId(0),
};

impl Forecast {
    /// The request in `slot` will decode on `node` from `start` for `time`, holding `tokens`.
    pub fn enter(&mut self, slot: usize, node: NodeId, start: Nanos, time: Nanos, tokens: Tokens) {
        if slot >= self.stretches.len() {
            self.stretches.resize(slot + 1, NEVER);
        }
        self.stretches[slot] = Stretch {
            start,
            end: start + time,
            tokens,
            node,
        };
    }

    /// The request's decoding begins at `start`, for as long as was predicted.
    pub fn begin_at(&mut self, slot: usize, start: Nanos) {
        let stretch = &mut self.stretches[slot];
        stretch.end = start + (stretch.end - stretch.start);
        stretch.start = start;
    }

    /// The request has ended.
    pub fn strike(&mut self, slot: usize) {
        self.stretches[slot] = NEVER;
    }

    /// Who decodes at `time` anywhere.
    #[must_use]
    pub fn at(&self, time: Nanos) -> Decoding {
        Self::sum(
            self.stretches
                .iter()
                .filter(|stretch| stretch.start <= time && time < stretch.end),
        )
    }

    /// Who decodes at `time` on `node`.
    #[must_use]
    pub fn at_node(&self, time: Nanos, node: NodeId) -> Decoding {
        let there = self.stretches.iter().filter(|stretch| stretch.node == node);
        Self::sum(there.filter(|stretch| stretch.start <= time && time < stretch.end))
    }

    fn sum<'a>(stretches: impl Iterator<Item = &'a Stretch>) -> Decoding {
        stretches.fold(Decoding::default(), |sum, stretch| Decoding {
            requests: sum.requests + 1,
            tokens: sum.tokens + stretch.tokens,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_joined_and_not_left_counts() {
        let mut forecast = Forecast::default();
        forecast.enter(0, NodeId(4), Nanos(10), Nanos(20), Tokens(100));
        forecast.enter(2, NodeId(5), Nanos(25), Nanos(20), Tokens(7));
        let at = |forecast: &Forecast, time| {
            let Decoding { requests, tokens } = forecast.at(Nanos(time));
            (requests, tokens.0)
        };
        assert_eq!(
            [9, 10, 26, 30, 45].map(|time| at(&forecast, time)),
            [(0, 0), (1, 100), (2, 107), (1, 7), (0, 0)]
        );
        assert_eq!(forecast.at_node(Nanos(26), NodeId(5)).tokens, Tokens(7));
        forecast.begin_at(0, Nanos(40));
        assert_eq!(at(&forecast, 59), (1, 100));
        forecast.strike(0);
        forecast.strike(2);
        assert_eq!(at(&forecast, 41), (0, 0));
    }
}
