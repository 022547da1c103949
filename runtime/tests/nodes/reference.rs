//! What a request's answer is: its own engine, alone, one token after the other.

use super::cluster::{BLOCK, Setup};
use conductor_core::cost::CostModel;
use conductor_core::ids::{RequestId, Ticket};
use conductor_core::steps::StepRun;
use conductor_core::units::{Nanos, Tokens};
use conductor_engine::kv::{BlockId, HeapRegion, KvShape};
use conductor_engine::model::tiny;
use conductor_engine::sampling::Sampling;
use conductor_engine::{CpuEngine, Engine, Phase, Piece, SleepEngine, Step};
use conductor_runtime::node::EngineConfig;
use conductor_runtime::protocol::Prompt;
use std::num::NonZeroUsize;
use std::sync::Arc;

struct NoTime;

impl CostModel for NoTime {
    fn prefill(&self, _: Tokens, _: Tokens) -> Nanos {
        Nanos::ZERO
    }

    fn decode(&self, _: u32, _: Tokens) -> StepRun {
        StepRun::once(Nanos::ZERO)
    }

    fn load(&self, _: Tokens) -> Nanos {
        Nanos::ZERO
    }
}

pub(crate) struct Model(Box<dyn Engine>);

impl Model {
    pub(crate) fn new(setup: &Setup) -> Self {
        const BLOCKS: u32 = 256;
        match setup.engine {
            EngineConfig::Sleep { layers, width, .. } => {
                let shape = KvShape::new(layers, 1, width, BLOCK as u32).expect("a shape");
                let region = Arc::new(HeapRegion::new(shape.region_bytes(BLOCKS)));
                let engine =
                    SleepEngine::new(shape, 1 << 16, region, Box::new(NoTime), Box::new(|_| {}));
                Self(Box::new(engine.expect("an engine")))
            }
            // The engine on a GPU makes the CPU's tokens.
            _ => {
                let model = tiny::model(0);
                let shape = model.config().kv_shape(BLOCK as u32).expect("a shape");
                let region = Arc::new(HeapRegion::new(shape.region_bytes(BLOCKS)));
                let engine = CpuEngine::new(Arc::new(model), shape, region, NonZeroUsize::MIN);
                Self(Box::new(engine.expect("an engine")))
            }
        }
    }

    /// The whole answer.
    pub(crate) fn answer(&mut self, prompt: &Prompt) -> Vec<u32> {
        let ticket = Ticket {
            request: RequestId(0),
            attempt: 0,
        };
        let (mut start, mut tokens) = (0, prompt.tokens.to_vec());
        let mut answer = Vec::new();
        while (answer.len() as u64) < prompt.output_max.0 {
            let end = start + tokens.len();
            let blocks = end.div_ceil(BLOCK as usize) as u32;
            let step = Step {
                pieces: vec![Piece {
                    ticket,
                    phase: Phase::Prefill,
                    start: start as u32,
                    tokens,
                    stored: start as u32,
                    blocks: (0..blocks).map(BlockId).collect(),
                    sample: Some(Sampling::Greedy),
                }],
            };
            let output = self.0.run(&step, &mut |_| {}).expect("a step");
            let token = output.sampled[0].token;
            answer.push(token);
            (start, tokens) = (end, vec![token]);
        }
        answer
    }
}
