//! Who is turned away at arrival (v3 section 7).
//!
//! Prefill load of a request is its predicted TTFT over the limit; decode load is a predicted step over the TBT
//! limit.
//! The policies differ in the decode load that they look at: none, this moment's, or the one predicted for the end of
//! this request's prefill. Acting on this moment's makes the two pools swing, because what is admitted now reaches
//! decode only after its prefill. KV that would not fit counts as overload too.

use crate::action::RejectReason;
use crate::books::{DecodeBooks, Decoding, Forecast};
use crate::config::{AdmissionConfig, PredictionLevel, Ratio, Slo};
use crate::cost::Costs;
use crate::ids::NodeId;
use crate::units::{Nanos, Tokens};
use alloc::boxed::Box;

/// Decides whether a request that could be placed shall be.
pub trait AdmissionPolicy: Send {
    /// `Ok` to take it, or why not.
    ///
    /// # Errors
    /// The reason of the rejection.
    fn admit(&self, cx: &AdmissionContext<'_>) -> Result<(), RejectReason>;
}

/// What an admission policy may look at.
pub struct AdmissionContext<'a> {
    /// Now.
    pub now: Nanos,
    /// Predicted time to first token on the chosen prefill node.
    pub ttft: Nanos,
    /// The decode node that the request would go to.
    pub decode: NodeId,
    /// KV tokens that it would hold there.
    pub tokens: Tokens,
    /// The limits.
    pub slo: Slo,
    /// What is promised to decode nodes.
    pub books: &'a DecodeBooks,
    /// Who will be decoding when.
    pub forecast: &'a Forecast,
    /// What work is estimated to cost.
    pub costs: &'a Costs,
}

impl AdmissionContext<'_> {
    fn prefill(&self, threshold: Ratio) -> Result<(), RejectReason> {
        match exceeds(self.ttft, self.slo.ttft, threshold) {
            true => Err(RejectReason::PrefillLoad),
            false => Ok(()),
        }
    }

    /// Tests a decode node with `there` on it, as the one that the request would go to.
    fn decode(&self, there: Decoding, threshold: Ratio) -> Result<(), RejectReason> {
        let step = match there.requests {
            0 => Nanos::ZERO,
            batch => self.costs.of(self.decode).decode_step(batch, there.tokens),
        };
        let full = there.tokens > self.books.capacity(self.decode);
        match full || exceeds(step, self.slo.tbt, threshold) {
            true => Err(RejectReason::DecodeLoad),
            false => Ok(()),
        }
    }

    /// The mean node of a pool that holds `pool`.
    fn mean_node(&self, pool: Decoding) -> Decoding {
        let nodes = self.books.by_count().len().max(1);
        Decoding {
            requests: pool.requests.div_ceil(nodes as u32),
            tokens: pool.tokens / nodes as u64,
        }
    }

    /// `there` and this request.
    fn and_this(&self, there: Decoding) -> Decoding {
        Decoding {
            requests: there.requests + 1,
            tokens: there.tokens + self.tokens,
        }
    }
}

/// True if `latency` is more than `threshold` times `limit`.
fn exceeds(latency: Nanos, limit: Nanos, threshold: Ratio) -> bool {
    u128::from(latency.0) * 1000 > u128::from(limit.0) * u128::from(threshold.0)
}

/// Everybody who can be served at all.
#[derive(Clone, Copy, Debug)]
pub struct AdmitAll;

impl AdmissionPolicy for AdmitAll {
    fn admit(&self, _cx: &AdmissionContext<'_>) -> Result<(), RejectReason> {
        Ok(())
    }
}

/// By prefill load alone; decode tests for itself when its turn comes.
#[derive(Clone, Copy, Debug)]
pub struct PerStage {
    threshold: Ratio,
}

impl AdmissionPolicy for PerStage {
    fn admit(&self, cx: &AdmissionContext<'_>) -> Result<(), RejectReason> {
        cx.prefill(self.threshold)
    }
}

/// By the larger of the prefill load and this moment's decode load: that of the pool's mean node, with this request.
#[derive(Clone, Copy, Debug)]
pub struct Early {
    threshold: Ratio,
}

impl AdmissionPolicy for Early {
    fn admit(&self, cx: &AdmissionContext<'_>) -> Result<(), RejectReason> {
        cx.prefill(self.threshold)?;
        let nodes = cx.books.by_count();
        let pool = nodes.iter().fold(Decoding::default(), |sum, &node| {
            let (requests, tokens) = cx.books.decoding(node);
            Decoding {
                requests: sum.requests + requests,
                tokens: sum.tokens + tokens,
            }
        });
        cx.decode(cx.and_this(cx.mean_node(pool)), self.threshold)
    }
}

/// By the larger of the prefill load and the decode load predicted for the end of this request's prefill.
#[derive(Clone, Copy, Debug)]
pub struct EarlyPredicted {
    threshold: Ratio,
    level: PredictionLevel,
}

impl AdmissionPolicy for EarlyPredicted {
    fn admit(&self, cx: &AdmissionContext<'_>) -> Result<(), RejectReason> {
        cx.prefill(self.threshold)?;
        let then = cx.now + cx.ttft;
        let there = match self.level {
            PredictionLevel::System => cx.and_this(cx.mean_node(cx.forecast.at(then))),
            PredictionLevel::Request => cx.and_this(cx.forecast.at_node(then, cx.decode)),
        };
        cx.decode(there, self.threshold)
    }
}

/// The policy that the file names.
#[must_use]
pub fn build(config: AdmissionConfig) -> Box<dyn AdmissionPolicy> {
    match config {
        AdmissionConfig::None => Box::new(AdmitAll),
        AdmissionConfig::PerStage { threshold } => Box::new(PerStage { threshold }),
        AdmissionConfig::Early { threshold } => Box::new(Early { threshold }),
        AdmissionConfig::EarlyPredicted {
            threshold, level, ..
        } => Box::new(EarlyPredicted { threshold, level }),
    }
}
