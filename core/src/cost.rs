//! What work costs: the time of a prefill and of decode steps.
//!
//! A [`CostModel`] is integer arithmetic only, so that an estimate is the same number on every machine. The model
//! that the Conductor *estimates* with and the one that *is* the truth in a simulator are two objects: with one
//! for both, prediction would be tested against an oracle.
//!
//! Not here: fitting (a calibration writes profiles), queues and transfers (`books`, `config::profile`).

mod pass;
mod polynomial;
mod table;

pub use pass::{Piece, mixed};
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

    /// The part of `prefill(prompt, cached)` that brings the reused KV into HBM: what is saved where it is there already.
    fn load(&self, cached: Tokens) -> Nanos;

    /// What a pass of the engine takes before its first token: reading the weights, launching kernels. Prompts and a
    /// batch that are computed in one pass pay for it once (see [`mixed`]). By default the smaller of what a prefill of
    /// no token and a step of one request without context take.
    fn pass(&self) -> Nanos {
        let none = Tokens::ZERO;
        self.prefill(none, none).min(self.decode_step(1, none))
    }

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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

    fn load(&self, cached: Tokens) -> Nanos {
        Nanos(self.prefill.of(self.inner.load(cached).0))
    }

    fn pass(&self) -> Nanos {
        Nanos(self.prefill.min(self.decode).of(self.inner.pass().0))
    }
}

/// How a node computes a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PromptCost {
    /// Reused KV comes from DRAM or beyond: a prefill node.
    Loaded,
    /// Reused KV is in HBM already: a coupled node.
    Resident,
}

/// The cost models of a cluster: one a profile, and which node has which.
pub struct Costs {
    models: Vec<Box<dyn CostModel>>,
    nodes: Vec<(u8, PromptCost)>,
}

impl Costs {
    /// Model `nodes[i].0` prices node `i`.
    ///
    /// # Panics
    /// If a node names a model that is not there: the cluster's parser guarantees it.
    #[must_use]
    pub fn new(models: Vec<Box<dyn CostModel>>, nodes: Vec<(u8, PromptCost)>) -> Self {
        assert!(nodes.iter().all(|node| usize::from(node.0) < models.len()));
        Self { models, nodes }
    }

    /// How many models there are.
    #[must_use]
    pub fn profiles(&self) -> usize {
        self.models.len()
    }

    /// Which model prices `node`.
    #[must_use]
    pub fn profile(&self, node: NodeId) -> usize {
        usize::from(self.nodes[node.index()].0)
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

    /// Time in which `node` computes a prompt whose first `cached` tokens it reuses, with nothing else to do.
    #[must_use]
    pub fn prefill(&self, node: NodeId, prompt: Tokens, cached: Tokens) -> Nanos {
        let model = self.of(node);
        match self.nodes[node.index()].1 {
            PromptCost::Loaded => model.prefill(prompt, cached),
            PromptCost::Resident => Piece {
                start: cached,
                end: prompt,
            }
            .alone(model),
        }
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
