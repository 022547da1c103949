//! The truth of a simulated cluster: how long work really takes.
//!
//! Costs come from the nodes' profiles, times a uniform random factor around one whose width is a parameter. Draws
//! are numbered by what they are for (a request's prefill, a node's batch), so that two runs that differ in
//! policy see
//! the same noise for the same request, and running many steps at once sees the same noise as one by one.
//!
//! The Conductor never sees this object: it estimates with its own.

use conductor_core::config::ClusterConfig;
use conductor_core::cost::{Chunk, Costs, Factor, Piece, Pipeline, PromptCost, mixed};
use conductor_core::ids::{NodeId, Ticket};
use conductor_core::node::PrefillRun;
use conductor_core::rng::Stream;
use conductor_core::steps::StepRun;
use conductor_core::units::{Nanos, Tokens};

/// True costs of all nodes.
pub struct Truth {
    costs: Costs,
    prefill: Noise,
    decode: Noise,
}

#[derive(Clone, Copy, Debug)]
struct Noise {
    stream: Stream,
    half_width: f64,
}

impl Noise {
    fn factor(&self, counter: u64) -> Factor {
        if self.half_width == 0.0 {
            return Factor::ONE;
        }
        // 53 bits fit a double exactly: the factor is the same on every machine.
        let unit = (self.stream.draw(counter) >> 11) as f64 / (1_u64 << 53) as f64;
        Factor::from_f64(1.0 + self.half_width * (2.0 * unit - 1.0))
            .expect("the half width is below 1")
    }
}

impl Truth {
    /// The truth of `cluster`, with noise from `seed`.
    #[must_use]
    pub fn new(cluster: &ClusterConfig, seed: u64) -> Self {
        let noise = |name, half_width| Noise {
            stream: Stream::new(seed, name),
            half_width,
        };
        let truth = &cluster.text().truth;
        Self {
            costs: cluster.truth(),
            prefill: noise("truth-prefill", truth.prefill_noise),
            decode: noise("truth-decode", truth.decode_noise),
        }
    }

    /// Time to compute a prompt's tokens from those it reuses up to `end`, `loaded` of which have to be loaded into
    /// HBM.
    #[must_use]
    pub fn prefill(&self, node: NodeId, run: &PrefillRun, end: Tokens, loaded: Tokens) -> Nanos {
        let factor = self.prefill_factor(run.ticket);
        let whole = self.costs.prefill(node, end, run.cached);
        Nanos(factor.of((whole - self.saved(node, run, loaded)).0))
    }

    /// What is saved because not all that is reused has to be loaded.
    fn saved(&self, node: NodeId, run: &PrefillRun, loaded: Tokens) -> Nanos {
        let cost = self.costs.of(node);
        cost.load(run.cached) - cost.load(loaded)
    }

    /// The part of a prefill in which `loaded` tokens are loaded into HBM.
    #[must_use]
    pub fn load(&self, node: NodeId, loaded: Tokens) -> Nanos {
        self.costs.of(node).load(loaded)
    }

    /// When the prompt that starts `now` is computed, `loaded` of its tokens having to be loaded and the node being
    /// slower
    /// than usual by a factor, after which time it keeps the first of the node's stages;
    /// `stages`
    /// says until when each is busy.
    pub fn pipelined(
        &self,
        node: NodeId,
        run: &PrefillRun,
        (pipeline, loaded, slow): (&Pipeline, Tokens, Factor),
        now: Nanos,
        stages: &mut [Nanos],
    ) -> Nanos {
        let factor = self.prefill_factor(run.ticket);
        let mut end = now;
        // Loading is part of the first chunk, of which each stage has its share.
        let mut saved = self.saved(node, run, loaded) / u64::from(pipeline.stages);
        for chunk in pipeline.chunks(self.costs.of(node), run.input, run.cached) {
            let stage = chunk.stage.saturating_sub(std::mem::take(&mut saved));
            let stage = Nanos(slow.of(factor.of(stage.0)));
            end = pipeline.pass(Chunk { stage, ..chunk }, now, stages);
        }
        end
    }

    /// How `node` computes prompts.
    #[must_use]
    pub fn prompt_cost(&self, node: NodeId) -> PromptCost {
        self.costs.prompt_cost(node)
    }

    /// Time of a pass over pieces of prompts, the first of which is `ticket`'s, and a step of a batch.
    #[must_use]
    pub fn pass(
        &self,
        node: NodeId,
        ticket: Ticket,
        pieces: &[Piece],
        batch: u32,
        context: Tokens,
    ) -> Nanos {
        let time = mixed(self.costs.of(node), pieces, batch, context);
        Nanos(self.prefill_factor(ticket).of(time.0))
    }

    fn prefill_factor(&self, ticket: Ticket) -> Factor {
        let draw = ticket.request.0 ^ u64::from(ticket.attempt) << 48;
        self.prefill.factor(draw)
    }

    /// The steps of a batch; `composition` counts how often the node's batch has changed.
    #[must_use]
    pub fn decode(&self, node: NodeId, composition: u64, batch: u32, context: Tokens) -> StepRun {
        let factor = self.decode.factor(composition << 16 | u64::from(node.0));
        factor.of_run(self.costs.of(node).decode(batch, context))
    }
}
