//! The engine that computes: a [`Model`] on this machine's processor.

use crate::engine::{Engine, EngineError, blocks};
use crate::kv::{KvRegion, KvShape};
use crate::math::Workers;
use crate::model::{Model, Scratch};
use crate::step::{LayerDone, Limits, Sampled, Step, StepOutput};
use std::num::NonZeroUsize;
use std::sync::Arc;

/// Computes a small Llama over a region of host memory.
pub struct CpuEngine {
    model: Arc<Model>,
    shape: KvShape,
    limits: Limits,
    region: Arc<dyn KvRegion>,
    workers: Workers,
    scratch: Scratch,
}

impl CpuEngine {
    /// An engine over `region`, in blocks of `shape`, with this many threads. Models can be shared by several engines
    /// of a process.
    ///
    /// Panics if `shape` is not of this model: it comes from [`crate::model::Config::kv_shape`].
    pub fn new(
        model: Arc<Model>,
        shape: KvShape,
        region: Arc<dyn KvRegion>,
        threads: NonZeroUsize,
    ) -> Result<Self, EngineError> {
        let config = model.config();
        assert!(
            shape.layers() == config.layers && shape.width() == config.heads.kv_width(),
            "the pool's shape is the model's"
        );
        let limits = Limits {
            blocks: blocks(&shape, &*region)?,
            vocabulary: config.vocabulary,
            positions: config.positions,
        };
        let workers =
            Workers::new(threads).map_err(|error| EngineError::Threads(error.to_string()))?;
        Ok(Self {
            model,
            shape,
            limits,
            region,
            workers,
            scratch: Scratch::default(),
        })
    }

    /// The model.
    #[must_use]
    pub fn model(&self) -> &Model {
        &self.model
    }
}

impl Engine for CpuEngine {
    fn shape(&self) -> KvShape {
        self.shape
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    fn run(
        &mut self,
        step: &Step,
        on_layer: &mut dyn FnMut(LayerDone),
    ) -> Result<StepOutput, EngineError> {
        step.check(&self.shape, &self.limits)?;
        let mut logits = self.model.forward(
            step,
            &self.shape,
            &*self.region,
            &mut self.scratch,
            &self.workers,
            on_layer,
        );
        let mut output = StepOutput::default();
        for piece in &step.pieces {
            let Some(sampling) = piece.sample else {
                continue;
            };
            let position = piece.end() as u32;
            let logits = logits.next().expect("logits for each piece that asks");
            match sampling.choose(logits, position) {
                Some(token) => output.sampled.push(Sampled {
                    ticket: piece.ticket,
                    position,
                    token,
                }),
                None => output.failed.push(piece.ticket),
            }
        }
        Ok(output)
    }
}
