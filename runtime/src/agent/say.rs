//! What agents of several roles say in the same words: reports of a cache, and how an answer ended.

use super::{Output, Outputs};
use crate::protocol::{EndReason, FromNode};
use conductor_core::ids::{BlockHash, Ticket};
use conductor_core::node::CacheChanges;
use conductor_core::units::Tokens;

/// Reports of a cache, numbered from 0 in each session.
#[derive(Debug, Default)]
pub(super) struct Reports(u64);

impl Reports {
    fn number(&mut self) -> u64 {
        let number = self.0;
        self.0 += 1;
        number
    }

    /// What has changed, if anything has.
    pub(super) fn changes(&mut self, changes: &CacheChanges, out: &mut Outputs) {
        if changes.evicted.is_empty() && changes.stored.is_empty() {
            return;
        }
        out.push(Output::Say(FromNode::Cache {
            report: self.number(),
            evicted: changes.evicted.clone(),
            stored: changes.stored.clone(),
        }));
    }

    /// All that there is.
    pub(super) fn whole(&mut self, blocks: Vec<BlockHash>, out: &mut Outputs) {
        let report = self.number();
        out.push(Output::Say(FromNode::WholeCache { report, blocks }));
    }
}

/// An answer is complete, and nothing of it is kept.
pub(super) fn ended(ticket: Ticket, output: Tokens, reason: EndReason, out: &mut Outputs) {
    out.push(Output::Say(FromNode::Ended {
        ticket,
        output,
        reason,
    }));
    out.push(Output::Forget { ticket });
}

/// The machine has let a sequence go: `made` tokens are all that were asked for, or else there is no room for more.
pub(super) fn let_go(ticket: Ticket, made: Option<Tokens>, out: &mut Outputs) {
    match made {
        Some(output) => ended(ticket, output, EndReason::Length, out),
        None => {
            out.push(Output::Say(FromNode::Refused { ticket }));
            out.push(Output::Forget { ticket });
        }
    }
}
