//! What work costs: the time of a prefill and of decode steps.
//!
//! A [`CostModel`] is integer arithmetic only, so that an estimate is the same number on every machine. The model
//! that the Conductor *estimates* with and the one that *is* the truth in a simulator are two objects: with one
//! for both, prediction would be tested against an oracle.
//!
//! Not here: fitting (a calibration writes profiles), queues and transfers (`books`, `config::profile`).

mod polynomial;
mod table;

pub use polynomial::{DecodeCoefficients, Polynomial, PrefillCoefficients};
pub use table::{Grid, GridError, Table};

use crate::ids::NodeId;
use crate::steps::StepRun;
use crate::units::{Nanos, Tokens};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// The largest prompt, in tokens, that a cost model must be able to price without overflow.
pub const PROMPT_MAX: Tokens = Tokens(1 << 24);

/// Prices prefill and decode on one kind of node.
pub trait CostModel: Send + Sync {
    /// Time to compute the tokens of a prompt of length `prompt` that are not among its first `cached`.
    ///
    /// Must not fall when `prompt` grows, so that chunks of one prompt can be priced by difference.
    fn prefill(&self, prompt: Tokens, cached: Tokens) -> Nanos;

    /// The decode steps of a batch of `batch` requests that hold `context` KV tokens together before the first
    /// step, each step adding `batch` tokens. The run must hold for at least one step.
    fn decode(&self, batch: u32, context: Tokens) -> StepRun;

    /// Time of one decode step.
    fn decode_step(&self, batch: u32, context: Tokens) -> Nanos {
        self.decode(batch, context).at(0)
    }
}

/// A cost model multiplied by constant factors: the bias of an estimate.
pub struct Scaled {
    inner: Box<dyn CostModel>,
    prefill: Factor,
    decode: Factor,
}

/// A multiplier in fixed point, 2^-16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Factor(u64);

impl Factor {
    /// One.
    pub const ONE: Self = Self(1 << 16);

    /// The nearest multiple of 2^-16; `None` unless 0 < factor <= 1024.
    #[must_use]
    pub fn from_f64(factor: f64) -> Option<Self> {
        let scaled = factor * 65_536.0 + 0.5;
        (factor > 0.0 && factor <= 1024.0 && scaled >= 1.0).then_some(Self(scaled as u64))
    }

    /// `value` times this factor, rounded down.
    #[must_use]
    pub const fn of(self, value: u64) -> u64 {
        ((value as u128 * self.0 as u128) >> 16) as u64
    }

    /// A whole run of steps times this factor.
    #[must_use]
    pub const fn of_run(self, run: StepRun) -> StepRun {
        StepRun {
            first: self.of(run.first),
            slope: self.of(run.slope),
            steps: run.steps,
        }
    }
}

impl Scaled {
    /// Wraps `inner`, whose prefill and decode times are multiplied by the factors.
    #[must_use]
    pub fn new(inner: Box<dyn CostModel>, prefill: Factor, decode: Factor) -> Self {
        Self {
            inner,
            prefill,
            decode,
        }
    }
}

impl CostModel for Scaled {
    fn prefill(&self, prompt: Tokens, cached: Tokens) -> Nanos {
        Nanos(self.prefill.of(self.inner.prefill(prompt, cached).0))
    }

    fn decode(&self, batch: u32, context: Tokens) -> StepRun {
        self.decode.of_run(self.inner.decode(batch, context))
    }
}

/// The cost models of a cluster: one a profile, and which node has which.
pub struct Costs {
    models: Vec<Box<dyn CostModel>>,
    profile_of_node: Vec<u8>,
}

impl Costs {
    /// Model `profile_of_node[i]` prices node `i`.
    ///
    /// # Panics
    /// If a node names a model that is not there: the cluster's parser guarantees it.
    #[must_use]
    pub fn new(models: Vec<Box<dyn CostModel>>, profile_of_node: Vec<u8>) -> Self {
        assert!(
            profile_of_node
                .iter()
                .all(|&profile| usize::from(profile) < models.len())
        );
        Self {
            models,
            profile_of_node,
        }
    }

    /// How many models there are.
    #[must_use]
    pub fn profiles(&self) -> usize {
        self.models.len()
    }

    /// Which model prices `node`.
    #[must_use]
    pub fn profile(&self, node: NodeId) -> usize {
        usize::from(self.profile_of_node[node.index()])
    }

    /// The model at place `profile`.
    #[must_use]
    pub fn model(&self, profile: usize) -> &dyn CostModel {
        &*self.models[profile]
    }

    /// The model that prices `node`.
    #[must_use]
    pub fn of(&self, node: NodeId) -> &dyn CostModel {
        self.model(self.profile(node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_factor_is_exact_at_one_and_refuses_nonsense() {
        assert_eq!(Factor::from_f64(1.0), Some(Factor::ONE));
        assert_eq!(Factor::ONE.of(12_345), 12_345);
        assert_eq!(Factor::from_f64(2.0).map(|f| f.of(21)), Some(42));
        for bad in [0.0, -1.0, f64::NAN, 1e9] {
            assert_eq!(Factor::from_f64(bad), None, "{bad}");
        }
    }
}
