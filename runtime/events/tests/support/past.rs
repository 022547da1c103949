//! A publisher without sockets: what it has published, and what it can be asked for.

use bytes::Bytes;
use std::collections::VecDeque;

/// A publisher's past: what it can be asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Past {
    pub(crate) next: u64,
    kept: VecDeque<(u64, Bytes)>,
    pub(crate) most: usize,
}

impl Past {
    pub(crate) fn of(most: usize) -> Self {
        Self {
            most,
            ..Self::default()
        }
    }

    pub(crate) fn publish(&mut self, payload: Bytes) -> u64 {
        let number = self.next;
        self.next += 1;
        self.kept.push_back((number, payload));
        if self.kept.len() > self.most {
            self.kept.pop_front();
        }
        number
    }

    pub(crate) fn from(&self, number: u64) -> Vec<(u64, Bytes)> {
        let kept = self.kept.iter();
        kept.filter(|&&(kept, _)| kept >= number).cloned().collect()
    }
}
