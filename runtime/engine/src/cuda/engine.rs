//! The engine: steps in, tokens out, on one device.
//!
//! A step is laid out, copied to the device in one piece and enqueued whole; then the layers' events are waited for one
//! by one, and each layer is told of while the next is computed. A step costs one copy there, one copy back, and no
//! allocation once the largest step was seen.
//!
//! After an error of the device the engine is of no use, and every later step says so.

use super::compile::Image;
use super::driver::{CudaError, Event, Pinned, Result, Stream};
use super::forward::{Pass, Scratch};
use super::kernels::{HEAD_MAX, Kernels, NONE, View, prefill_tile};
use super::mirror::Mirror;
use super::plan::Plan;
use super::pool::DevicePool;
use super::products::{Multiply, Products};
use super::weights::Weights;
use crate::engine::{Engine, EngineError};
use crate::kv::{BlockId, KvRegion, KvShape};
use crate::model::{Config, Model};
use crate::step::{LayerDone, Limits, Sampled, Step, StepOutput};
use std::path::PathBuf;
use std::sync::Arc;

/// How an engine is set up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// By whom products are computed.
    pub products: Products,
    /// The folder in which compiled kernels are kept; without one they are compiled at each start.
    pub kernels: Option<PathBuf>,
}

/// Computes a small Llama on a device.
pub struct CudaEngine {
    config: Config,
    frequencies: Vec<f32>,
    limits: Limits,
    weights: Weights,
    kernels: Kernels,
    multiply: Multiply,
    stored: Vec<Event>,
    scratch: Scratch,
    mirror: Option<Mirror>,
    upload: Pinned,
    download: Pinned,
    stream: Stream,
    pool: Arc<DevicePool>,
}

impl CudaEngine {
    /// An engine whose KV is in the device's pool and nowhere else.
    pub fn new(model: &Model, pool: Arc<DevicePool>, settings: &Settings) -> Result<Self> {
        let config = model.config().clone();
        let shape = pool.shape();
        assert!(
            shape.layers() == config.layers && shape.width() == config.heads.kv_width(),
            "the pool's shape is the model's"
        );
        if config.heads.dim > HEAD_MAX {
            let (found, expected) = (config.heads.dim.to_string(), format!("at most {HEAD_MAX}"));
            return Err(CudaError::Setting {
                what: "dimensions of a head",
                found,
                expected,
            });
        }
        let device = pool.device().clone();
        let image = Image::get(device.capability()?, settings.kernels.as_deref())?;
        let stream = Stream::new(&device)?;
        Ok(Self {
            frequencies: model.frequencies().to_vec(),
            limits: Limits {
                blocks: pool.len() / shape.block_bytes(),
                vocabulary: config.vocabulary,
                positions: config.positions,
            },
            weights: Weights::new(model, &device)?,
            kernels: Kernels::load(&device, &image)?,
            multiply: Multiply::new(settings.products, &stream)?,
            stored: (0..config.layers)
                .map(|_| Event::new(&device))
                .collect::<Result<_>>()?,
            scratch: Scratch::new(&device)?,
            mirror: None,
            upload: Pinned::new(&device, 4)?,
            download: Pinned::new(&device, 4)?,
            stream,
            pool,
            config,
        })
    }

    /// An engine whose KV is in `region` too, for messengers that cannot reach the device: what is stored is there when
    /// its layer is told of, and what others wrote to it counts when the engine is told ([`Engine::arrived`]).
    ///
    /// Panics if the region is shorter than the pool.
    pub fn staged(
        model: &Model,
        pool: Arc<DevicePool>,
        region: Arc<dyn KvRegion>,
        settings: &Settings,
    ) -> Result<Self> {
        assert!(region.len() >= pool.len(), "a region as long as the pool");
        let mut engine = Self::new(model, pool, settings)?;
        engine.mirror = Some(Mirror::new(engine.pool.device(), region)?);
        Ok(engine)
    }

    fn compute(&mut self, step: &Step, on_layer: &mut dyn FnMut(LayerDone)) -> Result<StepOutput> {
        if let Some(error) = self.pool.failed() {
            return Err(error);
        }
        let shape = self.pool.shape();
        let (tile_rows, _) = prefill_tile(self.config.heads.dim);
        let plan = Plan::new(step, &shape, &self.frequencies, tile_rows);
        self.scratch.fit(&self.config, &plan)?;
        let bytes = plan.bytes.len();
        fit(&mut self.upload, bytes)?;
        self.upload.write()[..bytes].copy_from_slice(&plan.bytes);
        self.stream
            .upload(&self.upload, 0..bytes, self.scratch.plan.buffer(), 0)?;
        let mut pass = Pass {
            config: &self.config,
            weights: &self.weights,
            kernels: &self.kernels,
            multiply: &mut self.multiply,
            pool: &self.pool,
            stream: &self.stream,
            scratch: &self.scratch,
            plan: &plan,
        };
        pass.enqueue(&self.stored)?;
        let logits = self.start_download(&plan)?;
        self.tell(&plan, &shape, on_layer)?;
        self.stream.synchronize()?;
        Ok(self.output(step, &plan, logits))
    }

    /// Waits for layer after layer and tells of each.
    fn tell(
        &mut self,
        plan: &Plan,
        shape: &KvShape,
        on_layer: &mut dyn FnMut(LayerDone),
    ) -> Result<()> {
        let layers = self.config.layers;
        let blocks = || {
            (
                View::new(self.scratch.plan.buffer(), plan.at.touched),
                plan.touched.len(),
            )
        };
        if let Some(mirror) = &mut self.mirror {
            for layer in 0..layers.min(2) {
                mirror.start(
                    &self.kernels,
                    &self.pool,
                    &self.stored[layer],
                    layer,
                    blocks(),
                )?;
            }
        }
        for layer in 0..layers {
            match &mut self.mirror {
                None => self.stored[layer].synchronize()?,
                Some(mirror) => {
                    mirror.finish(shape, layer, &plan.touched)?;
                    if let Some(stored) = self.stored.get(layer + 2) {
                        mirror.start(&self.kernels, &self.pool, stored, layer + 2, blocks())?;
                    }
                }
            }
            on_layer(LayerDone { layer });
        }
        Ok(())
    }

    /// Puts the copies of what came out behind the step: the tokens, then logits of which the host chooses. Returns
    /// where these begin.
    fn start_download(&mut self, plan: &Plan) -> Result<usize> {
        let row = 4 * self.config.vocabulary;
        let tokens = 4 * plan.picks;
        fit(&mut self.download, tokens + plan.nucleus.len() * row)?;
        if tokens > 0 {
            self.stream.download(
                self.scratch.tokens.buffer(),
                0..tokens,
                &mut self.download,
                0,
            )?;
        }
        for (place, &pick) in plan.nucleus.iter().enumerate() {
            let logits = pick * row..(pick + 1) * row;
            self.stream.download(
                self.scratch.logits.buffer(),
                logits,
                &mut self.download,
                tokens + place * row,
            )?;
        }
        Ok(tokens)
    }

    fn output(&self, step: &Step, plan: &Plan, logits: usize) -> StepOutput {
        let mut output = StepOutput::default();
        let bytes = self.download.read();
        let (tokens, _) = bytes[..logits].as_chunks::<4>();
        let mut nucleus = bytes[logits..].chunks_exact(4 * self.config.vocabulary);
        let asking = step
            .pieces
            .iter()
            .filter_map(|piece| Some((piece, piece.sample?)));
        for (pick, ((piece, sampling), token)) in asking.zip(tokens).enumerate() {
            let position = piece.end() as u32;
            let token = match plan.nucleus.contains(&pick) {
                true => {
                    let (numbers, _) = nucleus.next().expect("logits for each").as_chunks::<4>();
                    let logits: Vec<f32> = numbers
                        .iter()
                        .map(|number| f32::from_ne_bytes(*number))
                        .collect();
                    sampling.choose(&logits, position)
                }
                false => Some(u32::from_ne_bytes(*token)).filter(|&token| token != NONE),
            };
            match token {
                Some(token) => output.sampled.push(Sampled {
                    ticket: piece.ticket,
                    position,
                    token,
                }),
                None => output.failed.push(piece.ticket),
            }
        }
        output
    }

    /// The logits of the last step, a row for each piece that asked; for tests.
    pub fn logits(&mut self, rows: usize) -> Result<Vec<f32>> {
        let bytes = 4 * rows * self.config.vocabulary;
        fit(&mut self.download, bytes)?;
        self.stream.download(
            self.scratch.logits.buffer(),
            0..bytes,
            &mut self.download,
            0,
        )?;
        self.stream.synchronize()?;
        let (numbers, _) = self.download.read()[..bytes].as_chunks::<4>();
        Ok(numbers
            .iter()
            .map(|number| f32::from_ne_bytes(*number))
            .collect())
    }
}

/// Makes room for so many bytes; what was in it is lost then.
fn fit(pinned: &mut Pinned, bytes: usize) -> Result<()> {
    if pinned.bytes() < bytes {
        *pinned = Pinned::new(pinned.device(), bytes.next_power_of_two())?;
    }
    Ok(())
}

impl From<CudaError> for EngineError {
    fn from(error: CudaError) -> Self {
        Self::Device(error.to_string())
    }
}

impl Engine for CudaEngine {
    fn shape(&self) -> KvShape {
        self.pool.shape()
    }

    fn limits(&self) -> Limits {
        self.limits
    }

    fn arrived(&mut self, blocks: &[BlockId]) -> std::result::Result<(), EngineError> {
        match &mut self.mirror {
            Some(mirror) => Ok(mirror.fetch(&self.kernels, &self.pool, blocks)?),
            None => Ok(()),
        }
    }

    fn run(
        &mut self,
        step: &Step,
        on_layer: &mut dyn FnMut(LayerDone),
    ) -> std::result::Result<StepOutput, EngineError> {
        step.check(&self.pool.shape(), &self.limits)?;
        let done = self.compute(step, on_layer);
        if done.is_err() {
            // What is under way reads memory that the next step fills.
            let _ = self.stream.synchronize();
        }
        Ok(done?)
    }
}
