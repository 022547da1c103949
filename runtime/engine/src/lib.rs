//! Engines: what runs the steps that a node machine orders, over a paged KV pool that others may read and write.
//!
//! [`Engine`] is the seam. A [`Step`] is a batch of [`Piece`]s, chunks of prompts and single tokens of answers alike,
//! each with the table of the KV blocks that its sequence has. An engine computes the tokens, leaves their KV in the
//! blocks of a [`kv::KvRegion`], says so after each layer, and gives back one sampled token for each piece that asked.
//! [`CpuEngine`] computes a small Llama, and so does `cuda::CudaEngine` (feature `cuda`) on a GPU; [`SleepEngine`]
//! takes the time that a profile says and makes tokens up, for measuring everything around an engine. Who decides
//! *what* a step computes is `conductor_core::node`.
//!
//! # The promise
//!
//! The tokens of a sequence are a function of the model, its tokens so far and its sampling, **to the bit**: not of
//! what else is in the batch, where prompts are cut into chunks, which prefix was reused, in which blocks KV lies, on
//! which node it was computed, or how many threads there are. [`math`] says how; `tests/plain.rs` is the definition
//! that the engine is compared with.
//!
//! # The map
//!
//! [`kv`]: the shape of the pool, the region of bytes, the blocks and who may touch them. [`model`]: weights from
//! safetensors, GGUF or a seed, and the forward pass. [`math`]: the loops. [`text`]: tokenizers, chat templates,
//! streaming text out of tokens. [`sampling`]: a token from logits. `cuda`: the same on a GPU.
//!
//! Not here: scheduling (the core's), moving blocks between nodes (the messenger's), sockets, clocks.

mod cpu;
#[cfg(feature = "cuda")]
pub mod cuda;
mod engine;
pub mod kv;
pub mod math;
pub mod model;
pub mod sampling;
mod sleep;
mod step;
pub mod text;

pub use cpu::CpuEngine;
pub use engine::{Engine, EngineError};
pub use sleep::SleepEngine;
pub use step::{LayerDone, Limits, Phase, Piece, Sampled, Step, StepOutput};
