//! Taking a sequence off a decode node before its end: its client has gone, or its attempt was given up.
//!
//! A step that is under way cannot be stopped for one of its sequences: who is in the batch leaves with the end of that
//! step, silently. All others leave at once.

use super::{DecodeBatch, SequenceId};
use crate::units::Tokens;

impl DecodeBatch {
    /// Takes a sequence that is here out. True if it is in the batch: it leaves when the run ends, which must be with
    /// the step that is under way. A load that is on its way for it must be ended by the driver.
    pub fn cancel(&mut self, id: SequenceId) -> bool {
        let place = id.0;
        if self.batch.cancel(place) {
            return true;
        }
        let context = self.batch.member(place).context;
        self.outside -= 1;
        self.outside_tokens -= context;
        if let Some(at) = self.waiting.iter().position(|&other| other == place) {
            self.waiting.remove(at);
        } else {
            // It has HBM, and is being loaded or ready.
            self.loading_blocks -= self.blocks_after_step(context);
            self.ready.retain(|&other| other != place);
        }
        self.batch.forget(place);
        false
    }

    /// True if nothing is here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.batch.is_empty() && self.outside == 0
    }

    /// Asserts what must hold of those outside the batch.
    pub(super) fn check_outside(&self) {
        let places = self.batch.len() + self.batch.free() + self.outside as usize;
        assert_eq!(
            places,
            self.batch.known(),
            "a place is free, in the batch or outside"
        );
        let nothing = self.batch.is_empty() && self.outside == 0;
        assert!(
            !nothing || self.batch.context().is_zero() && self.loading_blocks == 0,
            "an empty node holds nothing"
        );
        assert!(
            self.outside > 0 || self.outside_tokens == Tokens::ZERO,
            "nobody has no tokens"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::Sequence;
    use super::*;
    use crate::ids::{RequestId, Ticket};
    use crate::steps::StepRun;
    use crate::units::Nanos;
    use alloc::vec::Vec;

    fn offer(node: &mut DecodeBatch, request: u64, context: u64, remaining: u64) -> SequenceId {
        node.offer(Sequence {
            ticket: Ticket {
                request: RequestId(request),
                attempt: 0,
            },
            context: Tokens(context),
            remaining: Tokens(remaining),
            last_token: Nanos::ZERO,
        })
    }

    fn load(node: &mut DecodeBatch) -> SequenceId {
        node.next_load(0).expect("there is room").0
    }

    #[test]
    fn who_waits_is_loaded_or_ready_leaves_at_once() {
        let mut node = DecodeBatch::new(Tokens(10), 8);
        let ids = [1, 2, 3].map(|request| offer(&mut node, request, 15, 5));
        assert_eq!([load(&mut node), load(&mut node)], [ids[0], ids[1]]);
        node.loaded(ids[0]);
        assert_eq!(node.ticket(ids[2]).request, RequestId(3));
        for id in ids {
            assert!(!node.cancel(id), "not in the batch");
            node.check();
        }
        assert!(node.is_empty() && !node.has_ready());
        assert_eq!(node.start(&mut Vec::new()), None);
        // All of HBM is free again.
        offer(&mut node, 4, 70, 5);
        load(&mut node);
    }

    #[test]
    fn who_is_in_the_batch_leaves_with_the_step_even_if_it_is_the_last_one() {
        for remaining in [1, 9] {
            let mut node = DecodeBatch::new(Tokens(10), 20);
            let mut ended = Vec::new();
            let gone = offer(&mut node, 1, 15, remaining);
            let stays = offer(&mut node, 2, 25, 9);
            for _ in 0..2 {
                let id = load(&mut node);
                node.loaded(id);
            }
            let run = node.start(&mut ended).expect("two run");
            assert_eq!((run.batch, run.context), (2, Tokens(40)));
            assert!(node.cancel(gone));
            node.finish(Nanos::ZERO, StepRun::once(Nanos(100)), 1, &mut ended);
            node.check();
            assert_eq!(ended, [], "nothing is said of it");
            let run = node.start(&mut ended).expect("one runs");
            assert_eq!((run.batch, run.context, run.steps), (1, Tokens(26), 8));
            assert!(node.cancel(stays));
            node.finish(Nanos(100), StepRun::once(Nanos(100)), 1, &mut ended);
            assert!(node.is_empty());
            node.check();
        }
    }
}
