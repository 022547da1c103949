//! Who is turned away at arrival (v3 section 7).
//!
//! Prefill load of a request is its predicted TTFT over the limit; decode load is a predicted step over the TBT limit,
//! and KV that would not fit counts as overload too. The policies differ in the decode load that they look at: none,
//! this moment's, or the one predicted for the end of this request's prefill. Acting on this moment's makes the two
//! pools swing, because what is admitted now reaches decode only after its prefill.
//!
//! A decode load is tested with the rule of the node's own scheduler ([`Room`]), so that admission and node agree
//! wherever the prediction is right.

use crate::action::RejectReason;
use crate::books::{Decoding, Forecast, Stretch};
use crate::config::{AdmissionConfig, PredictionLevel, Ratio, Slo};
use crate::ids::NodeId;
use crate::node::Room;
use crate::policy::predict::Chance;
use crate::units::Nanos;
use alloc::boxed::Box;

/// Decides whether a request that could be placed shall be.
pub trait AdmissionPolicy: Send {
    /// `Ok` to take it, or why not.
    ///
    /// # Errors
    /// The reason of the rejection.
    fn admit(&self, cx: &mut AdmissionContext<'_>) -> Result<(), RejectReason>;
}

/// What an admission policy may look at.
pub struct AdmissionContext<'a> {
    /// Now.
    pub now: Nanos,
    /// Predicted time to first token on the chosen prefill node.
    pub ttft: Nanos,
    /// The decoding that this request is predicted to do.
    pub this: Stretch,
    /// When a request that comes now could begin to decode at the earliest.
    pub first_join: Nanos,
    /// The limits.
    pub slo: Slo,
    /// What the decode node that it would go to can take at a load of one.
    pub room: Room<'a>,
    /// Decode nodes that are up.
    pub decode_nodes: usize,
    /// Who will be decoding when.
    pub forecast: &'a mut Forecast,
    /// How likely the request in a slot stays; see [`Forecast::expected`].
    pub stays: &'a dyn Fn(usize, Nanos, Nanos) -> Chance,
}

impl AdmissionContext<'_> {
    fn prefill(&self, threshold: Ratio) -> Result<(), RejectReason> {
        match self.ttft > threshold.of(self.slo.ttft) {
            true => Err(RejectReason::PrefillLoad),
            false => Ok(()),
        }
    }

    /// The moments for which a load is predicted: from the first at which anybody who comes now could join to the last
    /// at which one who was admitted will, denser at first.
    fn moments(&self, node: Option<NodeId>) -> [Nanos; 5] {
        let first = self.first_join;
        let span = self.forecast.last_join(node).saturating_sub(first);
        [0, 1, 2, 4, 8].map(|eighths| first + span * eighths / 8)
    }

    /// Tests the mean node of a pool that holds `pool`, with this request.
    fn pool(&self, pool: Decoding, threshold: Ratio) -> Result<(), RejectReason> {
        let node = pool.shared_by(self.decode_nodes).and(self.this.context);
        decode(self.room.at_load(threshold).takes(node))
    }
}

const fn decode(takes: bool) -> Result<(), RejectReason> {
    match takes {
        true => Ok(()),
        false => Err(RejectReason::DecodeLoad),
    }
}

/// Everybody who can be served at all.
#[derive(Clone, Copy, Debug)]
pub struct AdmitAll;

impl AdmissionPolicy for AdmitAll {
    fn admit(&self, _cx: &mut AdmissionContext<'_>) -> Result<(), RejectReason> {
        Ok(())
    }
}

/// By prefill load alone; decode tests for itself when its turn comes.
#[derive(Clone, Copy, Debug)]
pub struct PerStage {
    threshold: Ratio,
}

impl AdmissionPolicy for PerStage {
    fn admit(&self, cx: &mut AdmissionContext<'_>) -> Result<(), RejectReason> {
        cx.prefill(self.threshold)
    }
}

/// By the larger of the prefill load and this moment's decode load: that of the pool's mean node, with this request.
#[derive(Clone, Copy, Debug)]
pub struct Early {
    threshold: Ratio,
    decode_threshold: Ratio,
}

impl AdmissionPolicy for Early {
    fn admit(&self, cx: &mut AdmissionContext<'_>) -> Result<(), RejectReason> {
        cx.prefill(self.threshold)?;
        cx.pool(cx.forecast.present(cx.now), self.decode_threshold)
    }
}

/// By the larger of the prefill load and the decode load predicted for the end of this request's prefill.
#[derive(Clone, Copy, Debug)]
pub struct EarlyPredicted {
    threshold: Ratio,
    decode_threshold: Ratio,
    level: PredictionLevel,
}

impl AdmissionPolicy for EarlyPredicted {
    fn admit(&self, cx: &mut AdmissionContext<'_>) -> Result<(), RejectReason> {
        cx.prefill(self.threshold)?;
        let this = cx.this;
        match self.level {
            PredictionLevel::System => {
                let room = cx.room.at_load(self.decode_threshold);
                let pools = cx.forecast.expected(cx.now, cx.moments(None), None, cx.stays);
                let nodes = cx.decode_nodes;
                let takes = |pool: Decoding| room.takes(pool.shared_by(nodes).and(this.context));
                decode(pools.into_iter().all(takes))
            }
            PredictionLevel::Node => {
                let room = cx.room.at_load(self.decode_threshold);
                let node = Some(this.node);
                let loads = cx.forecast.expected(cx.now, cx.moments(node), node, cx.stays);
                decode(loads.into_iter().all(|there| room.takes(there.and(this.context))))
            }
            // Who joins while this request decodes was admitted before it, and has to find room as well.
            PredictionLevel::Request => {
                let room = cx.room.at_load(self.decode_threshold);
                let until = this.start + this.time;
                decode(cx.forecast.peaks(this.node, this.start, until, |at, there| {
                    room.takes(there.and(this.tokens_at(at)))
                }))
            }
        }
    }
}

/// The policy that the file names.
#[must_use]
pub fn build(config: AdmissionConfig) -> Box<dyn AdmissionPolicy> {
    match config {
        AdmissionConfig::None => Box::new(AdmitAll),
        AdmissionConfig::PerStage { threshold, .. } => Box::new(PerStage { threshold }),
        AdmissionConfig::Early {
            threshold,
            decode_threshold,
        } => Box::new(Early {
            threshold,
            decode_threshold,
        }),
        AdmissionConfig::EarlyPredicted {
            threshold,
            decode_threshold,
            level,
            ..
        } => Box::new(EarlyPredicted {
            threshold,
            decode_threshold,
            level,
        }),
    }
}
