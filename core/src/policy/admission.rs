//! Who is turned away at arrival (v3 section 7).
//!
//! Prefill load of a request is its predicted TTFT over the limit; decode load is a predicted step over the TBT limit,
//! and KV that would not fit counts as overload too. The policies differ in the decode load that they look at: none,
//! this moment's, or the one predicted for when requests that come now begin to decode. Acting on this moment's makes
//! the two pools swing, because what is admitted now reaches decode only after its prefill.
//!
//! A decode load is tested with the rule of the node's own scheduler ([`Room`]): at arrival for the pool's mean node,
//! at the threshold; by the node for itself, at the limits.

use crate::action::RejectReason;
use crate::books::{DecodeBooks, Decoding, Forecast, Question, Staying, Stretch};
use crate::config::{AdmissionConfig, Moment, PredictionLevel, Ratio};
use crate::node::Room;
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
    /// When requests that come now begin to decode at the earliest: as soon as the shortest queue has gone.
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
    /// How long requests stay.
    pub staying: Staying<'a>,
    /// True if a node drains: what is on it is not the pool's.
    pub one_drains: bool,
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
        decode(room.takes(there.and(self.this.context)))
    }

    /// Tests the mean node of the decode pool as it is now.
    ///
    /// # Errors
    /// If the load is above `threshold`.
    pub fn decode_now(&self, threshold: Ratio) -> Result<(), RejectReason> {
        let takes_work = |node| self.books.is_up(node);
        let on = self.one_drains.then_some(&takes_work as _);
        let pool = self.forecast.present(self.now, on);
        self.decode(pool.shared_by(self.books.up().len()), threshold)
    }

    /// Tests the mean node of the decode pool as it is expected to be then.
    ///
    /// # Errors
    /// If the load is above `threshold`.
    pub fn decode_at(&self, then: Question, threshold: Ratio) -> Result<(), RejectReason> {
        let takes_work = |node| self.books.is_up(node);
        let on = self.one_drains.then_some(&takes_work as _);
        let pool = self.forecast.expected(then, on, self.staying);
        self.decode(pool.shared_by(self.books.up().len()), threshold)
    }

    /// The moment of which a load is predicted.
    #[must_use]
    pub fn question(&self, moment: Moment) -> Question {
        let (time, promised) = match moment {
            Moment::FirstJoin => (self.joins, true),
            Moment::PrefillEnd => (self.this.start, false),
        };
        Question {
            now: self.now,
            time,
            promised,
        }
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
        cx.decode_now(self.decode_threshold)
    }
}

/// By the larger of the prefill load and the decode load predicted for when requests that come now begin to decode.
#[derive(Clone, Copy, Debug)]
pub struct EarlyPredicted {
    threshold: Ratio,
    decode_threshold: Ratio,
    level: PredictionLevel,
    moment: Moment,
}

impl AdmissionPolicy for EarlyPredicted {
    fn admit(&self, cx: &AdmissionContext<'_>) -> Result<(), RejectReason> {
        cx.prefill(self.threshold)?;
        let node = cx.this.node;
        let then = cx.question(self.moment);
        match self.level {
            PredictionLevel::System => cx.decode_at(then, self.decode_threshold),
            PredictionLevel::Node => {
                let there = |other| other == node;
                let there = cx.forecast.expected(then, Some(&there), cx.staying);
                cx.decode(there, self.decode_threshold)
            }
            PredictionLevel::Reserved => {
                // What is booked has room for every answer already, and for this one: none needs more.
                let with_this = Decoding {
                    sequences: cx.books.assigned(node) + 1,
                    tokens: cx.books.reserved(node) + cx.this.context + cx.this.answer(),
                };
                let room = cx.room.at_load(self.decode_threshold).at_load(cx.ceiling);
                decode(room.without_reserve().takes(with_this))
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
            moment,
            ..
        } => Box::new(EarlyPredicted {
            threshold,
            decode_threshold,
            level,
            moment,
        }),
    }
}
