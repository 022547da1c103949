//! What became of each request.
//!
//! A request is one thing that a user wants, however often its client tries. Times from its arrival are from the first
//! try's; where it was, what it reused and how it ended are the last try's; what earlier tries cost is kept apart.

use crate::parts::Moments;
use conductor_core::action::RejectReason;
use conductor_core::ids::{ClassId, NodeId, RequestId, WorkflowId};
use conductor_core::units::{Nanos, Tokens};
use conductor_core::workload::WorkloadRequest;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its answer is complete.
    Completed,
    /// Turned away at arrival.
    Rejected(RejectReason),
    /// Its decode node could not hold it after its prefill.
    RejectedAfterPrefill,
    /// Its client went.
    Cancelled,
}

impl Outcome {
    /// The words of `requests.csv`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Rejected(reason) => reason.name(),
            Self::RejectedAfterPrefill => "rejected-after-prefill",
            Self::Cancelled => "cancelled",
        }
    }
}

/// What the prefills of a request's tries cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Prefills {
    /// How many there were.
    pub count: u32,
    /// Their time alone, together.
    pub time: Nanos,
    /// Leading blocks that they reused, together.
    pub hit_blocks: u32,
    /// Tokens in them.
    pub hit: Tokens,
}

/// One request's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestRecord {
    /// Its number, by arrival.
    pub id: RequestId,
    /// When it arrived, for the first time.
    pub arrival: Nanos,
    /// Prompt length.
    pub input: Tokens,
    /// True answer length.
    pub output: Tokens,
    /// Blocks of the prompt.
    pub blocks: u32,
    /// What kind of request it is.
    pub class: ClassId,
    /// The session that it belongs to, where the workload knows.
    pub workflow: Option<WorkflowId>,
    /// Tries that its client made: 1, and more only if clients try again.
    pub tries: u32,
    /// Attempts that were lost by faults, of all tries together.
    pub lost: u32,
    /// How the first of them ended.
    pub first_outcome: Outcome,
    /// Prefills of the tries and attempts before the last one; each was in vain, or there would be no later one. One
    /// that was broken off counts as a whole.
    pub earlier: Prefills,
    /// Where the last try was placed: prefill and decode node.
    pub placed: Option<(NodeId, NodeId)>,
    /// Leading blocks that the last try reused.
    pub hit_blocks: u32,
    /// Tokens in them.
    pub hit: Tokens,
    /// Time of the last try's prefill alone; 0 if it had none.
    pub prefill: Nanos,
    /// First arrival to the last try's first token.
    pub ttft: Option<Nanos>,
    /// Mean of the longest 10 % of its token gaps.
    pub tbt: Option<Nanos>,
    /// First to last token.
    pub decode: Option<Nanos>,
    /// Time in the system, of all tries together; waits between them are not in it.
    pub inside: Nanos,
    /// When its last try passed from one part of its way to the next.
    pub moments: Moments,
    /// How it ended: how its last try did.
    pub outcome: Outcome,
}

impl RequestRecord {
    /// The record of a request that arrives.
    #[must_use]
    pub(crate) const fn new(id: RequestId, request: &WorkloadRequest) -> Self {
        Self {
            id,
            arrival: request.arrival,
            input: request.input,
            output: request.output,
            blocks: request.blocks.len() as u32,
            class: request.class,
            workflow: request.workflow,
            tries: 1,
            lost: 0,
            first_outcome: Outcome::Completed,
            earlier: Prefills {
                count: 0,
                time: Nanos::ZERO,
                hit_blocks: 0,
                hit: Tokens::ZERO,
            },
            placed: None,
            hit_blocks: 0,
            hit: Tokens::ZERO,
            prefill: Nanos::ZERO,
            ttft: None,
            tbt: None,
            decode: None,
            inside: Nanos::ZERO,
            moments: Moments::NONE,
            outcome: Outcome::Completed,
        }
    }

    /// The client comes again: what the try before cost is kept, the rest begins anew.
    pub(crate) const fn next_try(&mut self) {
        self.tries += 1;
        self.begin_anew();
    }

    /// The attempt is lost, and the request given in again.
    pub(crate) const fn next_attempt(&mut self) {
        self.lost += 1;
        self.begin_anew();
    }

    const fn begin_anew(&mut self) {
        self.earlier = self.prefills();
        self.placed = None;
        (self.hit_blocks, self.hit, self.prefill) = (0, Tokens::ZERO, Nanos::ZERO);
        (self.ttft, self.tbt, self.decode) = (None, None, None);
        self.moments = Moments::NONE;
    }

    /// The prefills of all tries.
    #[must_use]
    pub const fn prefills(&self) -> Prefills {
        let earlier = self.earlier;
        Prefills {
            count: earlier.count + !self.prefill.is_zero() as u32,
            time: Nanos(earlier.time.0 + self.prefill.0),
            hit_blocks: earlier.hit_blocks + self.hit_blocks,
            hit: Tokens(earlier.hit.0 + self.hit.0),
        }
    }

    /// Time of the prefills that were in vain.
    #[must_use]
    pub fn wasted_prefill(&self) -> Nanos {
        match self.outcome {
            Outcome::RejectedAfterPrefill
            | Outcome::Cancelled
            | Outcome::Rejected(RejectReason::TooManyAttempts) => self.earlier.time + self.prefill,
            Outcome::Completed | Outcome::Rejected(_) => self.earlier.time,
        }
    }

    /// First arrival to last token.
    #[must_use]
    pub fn e2e(&self) -> Option<Nanos> {
        Some(self.ttft? + self.decode?)
    }

    /// Mean gap between its tokens, of a completed request with more than one.
    #[must_use]
    pub fn tpot(&self) -> Option<Nanos> {
        let gaps = self.output.0 - 1;
        (gaps > 0).then_some(())?;
        Some(self.decode? / gaps)
    }
}
