//! Who is turned away at arrival (v3 section 7).
//!
//! Prefill load of a request is its predicted TTFT over the limit; decode load is a predicted step over the TBT limit,
//! and KV that would not fit counts as overload too. The policies differ in the decode load that they look at: none,
//! this moment's, or the one predicted for when requests that come now begin to decode. Acting on this moment's makes
//! the two pools swing, because what is admitted now reaches decode only after its prefill.
//!
//! A decode load is tested with the rule of the node's own scheduler ([`Room`]), so that admission and node agree
//! wherever the prediction is right.

use crate::action::RejectReason;
use crate::books::{DecodeBooks, Decoding, Forecast, Stretch};
use crate::config::{AdmissionConfig, PredictionLevel, Ratio};
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
    fn admit(&self, cx: &AdmissionContext<'_>) -> Result<(), RejectReason>;
}

/// What an admission policy may look at.
pub struct AdmissionContext<'a> {
    /// Now.
    pub now: Nanos,
    /// Predicted time to first token on the chosen prefill node.
    pub ttft: Nanos,
    /// The decoding that this request is predicted to do.
    pub this: Stretch,
    /// When requests that come now begin to decode: as soon as the shortest queue has gone. This one may need a longer
    /// prefill than others, but those that overtake it will by then have filled what is free until it comes.
    pub joins: Nanos,
    /// The longest time to first token that its class allows.
    pub ttft_limit: Nanos,
    /// What part of the thresholds it may use.
    pub ceiling: Ratio,
    /// What the decode node that it would go to can take at a load of one.
    pub room: Room<'a>,
    /// What is promised to decode nodes.
    pub books: &'a DecodeBooks,
    /// Who will be decoding when.
    pub forecast: &'a Forecast,
    /// How likely the request in a slot stays; see [`Forecast::expected`].
    pub stays: &'a dyn Fn(usize, Nanos, Nanos) -> Chance,
}

impl AdmissionContext<'_> {
    fn prefill(&self, threshold: Ratio) -> Result<(), RejectReason> {
        match self.ttft > self.ceiling.of(threshold.of(self.ttft_limit)) {
            true => Err(RejectReason::PrefillLoad),
            false => Ok(()),
        }
    }

    /// Tests a decode node that holds `there`, with this request.
    fn decode(&self, there: Decoding, threshold: Ratio) -> Result<(), RejectReason> {
        let room = self.room.at_load(threshold).at_load(self.ceiling);
        match room.takes(there.and(self.this.context)) {
            true => Ok(()),
            false => Err(RejectReason::DecodeLoad),
        }
    }

    /// Tests the mean node of the decode pool as it is expected to be at `time`.
    ///
    /// # Errors
    /// If the load is above `threshold`.
    pub fn decode_at(&self, time: Nanos, threshold: Ratio) -> Result<(), RejectReason> {
        self.decode(self.mean_node_at(time), threshold)
    }

    /// Who is expected to decode at `time` on a node that has its even share of the pool.
    fn mean_node_at(&self, time: Nanos) -> Decoding {
        let pool = self.forecast.expected(self.now, time, None, self.stays);
        pool.shared_by(self.books.by_count().len())
    }
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
    decode_threshold: Ratio,
}

impl AdmissionPolicy for Early {
    fn admit(&self, cx: &AdmissionContext<'_>) -> Result<(), RejectReason> {
        cx.prefill(self.threshold)?;
        let pool = cx.forecast.present(cx.now);
        let node = pool.shared_by(cx.books.by_count().len());
        cx.decode(node, self.decode_threshold)
    }
}

/// By the larger of the prefill load and the decode load predicted for when requests that come now begin to decode.
#[derive(Clone, Copy, Debug)]
pub struct EarlyPredicted {
    threshold: Ratio,
    decode_threshold: Ratio,
    level: PredictionLevel,
}

impl AdmissionPolicy for EarlyPredicted {
    fn admit(&self, cx: &AdmissionContext<'_>) -> Result<(), RejectReason> {
        cx.prefill(self.threshold)?;
        let node = cx.this.node;
        let there = match self.level {
            PredictionLevel::System => return cx.decode_at(cx.joins, self.decode_threshold),
            PredictionLevel::Node => cx.forecast.expected(cx.now, cx.joins, Some(node), cx.stays),
            PredictionLevel::Reserved => {
                // What is booked has room for every answer already, and for this one: none needs more.
                let there = Decoding {
                    sequences: cx.books.assigned(node) + 1,
                    tokens: cx.books.reserved(node) + cx.this.context + cx.this.answer(),
                };
                let room = cx.room.at_load(self.decode_threshold).at_load(cx.ceiling);
                return match room.without_reserve().takes(there) {
                    true => Ok(()),
                    false => Err(RejectReason::DecodeLoad),
                };
            }
        };
        cx.decode(there, self.decode_threshold)
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
