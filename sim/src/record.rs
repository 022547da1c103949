//! What became of each request.

use conductor_core::action::RejectReason;
use conductor_core::ids::{NodeId, RequestId};
use conductor_core::units::{Nanos, Tokens};

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Its answer is complete.
    Completed,
    /// Turned away at arrival.
    Rejected(RejectReason),
    /// Its decode node could not hold it after its prefill.
    RejectedAfterPrefill,
}

impl Outcome {
    /// The words of `requests.csv`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Rejected(reason) => reason.name(),
            Self::RejectedAfterPrefill => "rejected-after-prefill",
        }
    }
}

/// One request's record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestRecord {
    /// Its number, by arrival.
    pub id: RequestId,
    /// When it arrived.
    pub arrival: Nanos,
    /// Prompt length.
    pub input: Tokens,
    /// True answer length.
    pub output: Tokens,
    /// Blocks of the prompt.
    pub blocks: u32,
    /// Where it was placed: prefill and decode node.
    pub placed: Option<(NodeId, NodeId)>,
    /// Leading blocks that it reused.
    pub hit_blocks: u32,
    /// Tokens in them.
    pub hit: Tokens,
    /// Time of its prefill alone.
    pub prefill: Nanos,
    /// Arrival to first token.
    pub ttft: Option<Nanos>,
    /// Mean of the longest 10 % of its token gaps.
    pub tbt: Option<Nanos>,
    /// First to last token.
    pub decode: Option<Nanos>,
    /// How it ended.
    pub outcome: Outcome,
}

impl RequestRecord {
    /// Arrival to last token.
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

    /// True if it completed within both limits. Without a gap the TBT limit is met.
    #[must_use]
    pub fn is_effective(&self, ttft: Nanos, tbt: Nanos) -> bool {
        self.outcome == Outcome::Completed
            && self.ttft.is_some_and(|found| found <= ttft)
            && self.tbt.is_none_or(|found| found <= tbt)
    }
}
