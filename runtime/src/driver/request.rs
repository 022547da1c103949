//! A request that is not answered: what its client asked for, where its attempt is, and what was passed on.

use crate::protocol::{EndReason, FromNode, Prompt};
use conductor_core::action::RejectReason;
use conductor_core::ids::{ClassId, NodeId, RequestId, Ticket, WorkflowId};
use conductor_core::slo::Gaps;
use conductor_core::units::{Nanos, Tokens};
use std::sync::Arc;

/// A client's request.
#[derive(Clone, Debug)]
pub struct Submission {
    /// What to answer.
    pub prompt: Arc<Prompt>,
    /// What kind of request it is.
    pub class: ClassId,
    /// What it is a step of; counts if its class has limits for workflows.
    pub workflow: Option<WorkflowId>,
    /// The true length of the answer, for the oracle predictor alone: nobody knows it but a replay.
    pub answer: Option<Tokens>,
}

/// What comes back for a request, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// One more token.
    Token {
        /// From 0, without a gap.
        position: u64,
        /// Which.
        token: u32,
        /// When the driver took it.
        at: Nanos,
    },
    /// It is complete.
    Finished {
        /// Tokens in all.
        output: Tokens,
        /// Why it ended.
        reason: EndReason,
        /// Tokens of the prompt that were not computed, because they were cached.
        cached: Tokens,
    },
    /// It was turned away.
    Rejected {
        /// Why.
        reason: RejectReason,
        /// When trying again may help.
        retry_after: Nanos,
    },
}

impl Answer {
    /// True if nothing comes after it.
    #[must_use]
    pub const fn is_last(&self) -> bool {
        !matches!(self, Self::Token { .. })
    }
}

/// A request that the Conductor does not know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Away {
    /// Its attempt was lost, and it is to be given in again.
    Lost,
}

/// See the module.
pub(super) struct Live {
    pub(super) submission: Submission,
    pub(super) ticket: Ticket,
    pub(super) away: Option<Away>,
    /// Since when no node could take it, after its attempt was lost.
    pub(super) nowhere: Option<Nanos>,
    /// Its client has what it wanted: it is to end, and not to be made again.
    pub(super) stopped: bool,
    /// Where its attempt is.
    pub(super) placed: Option<(NodeId, NodeId)>,
    /// A copy of blocks was ordered for the attempt.
    pub(super) fetching: bool,
    /// When the attempt's last token came; none before its first.
    pub(super) last_token: Option<Nanos>,
    /// Gaps between the attempt's tokens.
    pub(super) gaps: Gaps,
    pub(super) cached: Tokens,
    /// Tokens that the client has, of this or earlier attempts.
    pub(super) passed_on: Vec<u32>,
    /// What the decode node said before the first token was heard of.
    pub(super) early: Vec<(NodeId, FromNode)>,
}

impl Live {
    pub(super) fn new(request: RequestId, submission: Submission) -> Self {
        Self {
            submission,
            ticket: Ticket {
                request,
                attempt: 0,
            },
            away: None,
            nowhere: None,
            stopped: false,
            placed: None,
            fetching: false,
            last_token: None,
            gaps: Gaps::default(),
            cached: Tokens::ZERO,
            passed_on: Vec::new(),
            early: Vec::new(),
        }
    }

    /// Begins the next attempt: of the last one only what the client has stays.
    pub(super) fn next_attempt(&mut self) {
        self.ticket.attempt += 1;
        self.away = None;
        self.placed = None;
        self.fetching = false;
        self.last_token = None;
        self.gaps.clear();
        self.cached = Tokens::ZERO;
        self.early.clear();
    }
}
