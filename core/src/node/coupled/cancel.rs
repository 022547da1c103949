//! Taking a request off a coupled node before its end.
//!
//! A pass that is under way cannot be stopped for one of its requests: who is in it leaves with its end, silently. All
//! others leave at once.

use super::{CoupledBatch, PlaceId};
use crate::ids::Ticket;

impl CoupledBatch {
    /// Takes a request that is here out. True if it is in what is under way: it leaves when that ends, which must be
    /// with
    /// the step that is under way.
    pub fn cancel(&mut self, id: PlaceId) -> bool {
        let place = id.0;
        if self.batch.cancel(place) {
            return true;
        }
        if self.pieces_of.contains(&place) {
            self.prompts[place as usize].cancelled = true;
            return true;
        }
        self.waiting.retain(|&other| other != place);
        self.computing.retain(|&other| other != place);
        self.release(place);
        self.batch.forget(place);
        false
    }

    /// Whose request it is, while it is here.
    #[must_use]
    pub fn ticket(&self, id: PlaceId) -> Ticket {
        self.batch.member(id.0).ticket
    }
}

#[cfg(test)]
mod tests {
    use super::super::CoupledNews;
    use super::*;
    use crate::config::{CoupledConfig, CoupledSchedule, EvictionConfig, Ratio};
    use crate::ids::RequestId;
    use crate::steps::StepRun;
    use crate::units::{Nanos, Tokens};

    #[test]
    fn who_waits_leaves_at_once_and_who_is_in_a_pass_with_its_end() {
        let config = CoupledConfig {
            schedule: CoupledSchedule::Chunked,
            prefix_caching: false,
            pass_tokens: Tokens(20),
            batch_requests: 2,
            watermark: Ratio(0),
        };
        let mut node = CoupledBatch::new(config, Tokens(10), 100, EvictionConfig::Lru);
        let mut news = CoupledNews::default();
        let ids = [1, 2, 3].map(|request| {
            let ticket = Ticket {
                request: RequestId(request),
                attempt: 0,
            };
            node.enqueue(ticket, Tokens(15), Tokens(9), &[])
        });
        let step = |node: &mut CoupledBatch, at: u64, news: &mut CoupledNews| {
            node.finish(Nanos(at), StepRun::once(Nanos(10)), 1, news);
            node.check();
        };
        node.start(&mut news).expect("two are taken in");
        assert!(!node.cancel(ids[2]), "it waits");
        assert!(node.cancel(ids[1]), "a piece of it is in the pass");
        step(&mut node, 0, &mut news);
        assert_eq!((node.batch(), news.first.len()), (1, 1));
        node.start(&mut news).expect("one is decoded");
        assert!(node.cancel(ids[0]));
        step(&mut node, 10, &mut news);
        assert!(node.is_idle() && news.ended.is_empty());
        assert_eq!(node.used_now(), 0);
    }
}
