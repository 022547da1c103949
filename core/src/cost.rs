//! What work costs: the time of a prefill and of decode steps.
//!
//! A [`CostModel`] is integer arithmetic only, so that an estimate is the same number on every machine. The model
//! that the Conductor *estimates* with and the one that *is* the truth in a simulator are two objects: with one
//! for both, prediction would be tested against an oracle.
//!
//! Not here: fitting (a calibration writes profiles), queues and transfers (`books`, `config::profile`).

mod pass;
mod pipeline;
mod polynomial;
mod table;

pub use pass::{Piece, mixed};
pub use pipeline::{Chunk, Pipeline};
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

    /// The part of `prefill(prompt, cached)` that brings the reused KV into HBM: what is saved where it is there
    /// already.
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
    /// Like a prefill node, by several nodes in a row.
    Pipelined(Pipeline),
}

/// The cost models of a cluster, and how each node is priced.
pub struct Costs {
    models: Vec<Box<dyn CostModel>>,
    /// Different ways to price: which model, and how prompts are computed.
    kinds: Vec<(u8, PromptCost)>,
    kind_of_node: Vec<u8>,
    /// The first node of each kind.
    first_of_kind: Vec<NodeId>,
}

impl Costs {
    /// Model `nodes[i].0` prices node `i`.
    ///
    /// # Panics
    /// If a node names a model that is not there, or there are more than 256 kinds: the cluster's parser guarantees it.
    #[must_use]
    pub fn new(
        models: Vec<Box<dyn CostModel>>,
        nodes: impl Iterator<Item = (u8, PromptCost)>,
    ) -> Self {
        let (mut kinds, mut kind_of_node) = (Vec::new(), Vec::new());
        let mut first_of_kind = Vec::new();
        for (number, node) in (0..).zip(nodes) {
            assert!(usize::from(node.0) < models.len());
            let kind = kinds.iter().position(|kind| *kind == node);
            let kind = kind.unwrap_or_else(|| {
                kinds.push(node);
                first_of_kind.push(NodeId(number));
                kinds.len() - 1
            });
            kind_of_node.push(u8::try_from(kind).expect("a cluster has few kinds of nodes"));
        }
        Self {
            models,
            kinds,
            kind_of_node,
            first_of_kind,
        }
    }

    /// One node of each kind: what depends on a node's costs alone has the same value for all of a kind.
    pub fn representatives(&self) -> &[NodeId] {
        &self.first_of_kind
    }

    /// The model that prices `node`.
    #[must_use]
    pub fn of(&self, node: NodeId) -> &dyn CostModel {
        &*self.models[usize::from(self.kind(node).0)]
    }

    /// How `node` computes prompts.
    #[must_use]
    pub fn prompt_cost(&self, node: NodeId) -> PromptCost {
        self.kind(node).1
    }

    /// Time in which `node` computes a prompt whose first `cached` tokens it reuses, with nothing else to do.
    #[must_use]
    pub fn prefill(&self, node: NodeId, prompt: Tokens, cached: Tokens) -> Nanos {
        let model = self.of(node);
        match self.prompt_cost(node) {
            PromptCost::Loaded => model.prefill(prompt, cached),
            PromptCost::Resident => Piece {
                start: cached,
                end: prompt,
            }
            .alone(model),
            PromptCost::Pipelined(pipeline) => pipeline.latency(model, prompt, cached),
        }
    }

    /// Time for which such a prompt keeps `node` from the next one: less than [`Self::prefill`] in a pipeline.
    #[must_use]
    pub fn occupancy(&self, node: NodeId, prompt: Tokens, cached: Tokens) -> Nanos {
        match self.prompt_cost(node) {
            PromptCost::Loaded | PromptCost::Resident => self.prefill(node, prompt, cached),
            PromptCost::Pipelined(pipeline) => pipeline.occupancy(self.of(node), prompt, cached),
        }
    }

    fn kind(&self, node: NodeId) -> (u8, PromptCost) {
        self.kinds[usize::from(self.kind_of_node[node.index()])]
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
