//! A model of the Llama architecture: its weights, where they come from, and the forward pass.
//!
//! Root-mean-square norms, rotary embedding, grouped-query attention, SwiGLU, a head that is the embedding (tied) or is
//! not. Weights are 32-bit floats here, whatever the file has. They come from `config.json` and `model.safetensors`
//! ([`safetensors`]), from a GGUF file ([`gguf`]), or from a seed ([`tiny`]), each a [`Source`] of named tensors.
//!
//! Not here: other architectures, biases, scaled rotary embedding, sliding windows. A file that has them is refused.

mod config;
mod forward;
pub mod gguf;
pub mod safetensors;
mod source;
pub mod tiny;

pub use config::{Config, ConfigError};
pub use forward::Scratch;
pub(crate) use source::first_line;
pub use source::{LayerPart, LoadError, Part, Source};

use crate::math::matrix::Matrix;
use conductor_core::digest::Digest;
use std::path::Path;

/// The weights of one layer.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Norm before attention.
    pub attention_norm: Vec<f32>,
    /// Queries from hidden.
    pub query: Matrix,
    /// Keys from hidden.
    pub key: Matrix,
    /// Values from hidden.
    pub value: Matrix,
    /// Hidden from what attention gives.
    pub output: Matrix,
    /// Norm before the MLP.
    pub mlp_norm: Vec<f32>,
    /// The gate.
    pub gate: Matrix,
    /// What is gated.
    pub up: Matrix,
    /// Hidden from what is gated.
    pub down: Matrix,
}

/// A model in memory.
#[derive(Clone, Debug)]
pub struct Model {
    config: Config,
    embedding: Matrix,
    layers: Vec<Layer>,
    norm: Vec<f32>,
    /// `None` if it is the embedding.
    head: Option<Matrix>,
    frequencies: Vec<f32>,
}

impl Model {
    /// Reads the weights that `config` asks for.
    pub fn load(config: Config, source: &mut dyn Source) -> Result<Self, LoadError> {
        let hidden = config.hidden;
        let heads = config.heads;
        let mut layers = Vec::with_capacity(config.layers);
        for layer in 0..config.layers {
            let mut matrix = |part, outputs, inputs| {
                let numbers = source.tensor(Part::Layer(layer, part), &[outputs, inputs])?;
                Ok::<_, LoadError>(Matrix::pack(&numbers, outputs, inputs))
            };
            let query = matrix(LayerPart::Query, heads.query_width(), hidden)?;
            let key = matrix(LayerPart::Key, heads.kv_width(), hidden)?;
            let value = matrix(LayerPart::Value, heads.kv_width(), hidden)?;
            let output = matrix(LayerPart::Output, hidden, heads.query_width())?;
            let gate = matrix(LayerPart::Gate, config.intermediate, hidden)?;
            let up = matrix(LayerPart::Up, config.intermediate, hidden)?;
            let down = matrix(LayerPart::Down, hidden, config.intermediate)?;
            let mut norm = |part| source.tensor(Part::Layer(layer, part), &[hidden]);
            layers.push(Layer {
                attention_norm: norm(LayerPart::AttentionNorm)?,
                query,
                key,
                value,
                output,
                mlp_norm: norm(LayerPart::MlpNorm)?,
                gate,
                up,
                down,
            });
        }
        let mut table = |part| {
            let numbers = source.tensor(part, &[config.vocabulary, hidden])?;
            Ok::<_, LoadError>(Matrix::pack(&numbers, config.vocabulary, hidden))
        };
        let embedding = table(Part::Embedding)?;
        let head = match config.tied {
            true => None,
            false => Some(table(Part::Head)?),
        };
        Ok(Self {
            frequencies: crate::math::frequencies(config.rope_base, heads.dim),
            norm: source.tensor(Part::Norm, &[hidden])?,
            config,
            embedding,
            layers,
            head,
        })
    }

    /// Reads a model from a GGUF file, or from a folder with `config.json` and `model.safetensors`.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        match path.is_dir() {
            true => safetensors::open(path),
            false => gguf::open(path),
        }
    }

    /// The digest of all that decides what the model computes. Nodes whose digests differ must not use each other's KV.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let config = &self.config;
        let mut digest = Digest::default();
        let heads = [config.heads.query, config.heads.kv, config.heads.dim];
        let sizes = [
            config.hidden,
            config.intermediate,
            config.layers,
            config.vocabulary,
        ];
        for size in heads.into_iter().chain(sizes) {
            digest.word(size as u64);
        }
        digest.word(u64::from(config.epsilon.to_bits()));
        digest.word(config.rope_base.to_bits());
        for layer in &self.layers {
            mix(&mut digest, &layer.attention_norm);
            mix(&mut digest, &layer.mlp_norm);
            let attention = [&layer.query, &layer.key, &layer.value, &layer.output];
            for matrix in attention
                .into_iter()
                .chain([&layer.gate, &layer.up, &layer.down])
            {
                mix(&mut digest, matrix.numbers());
            }
        }
        mix(&mut digest, &self.norm);
        mix(&mut digest, self.embedding.numbers());
        mix(&mut digest, self.head().numbers());
        digest
    }

    /// The model's sizes.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// The layers, first to last.
    #[must_use]
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The embedding: one output a token.
    #[must_use]
    pub const fn embedding(&self) -> &Matrix {
        &self.embedding
    }

    /// The norm before the head.
    #[must_use]
    pub fn norm(&self) -> &[f32] {
        &self.norm
    }

    /// The head: one output a token.
    #[must_use]
    pub fn head(&self) -> &Matrix {
        self.head.as_ref().unwrap_or(&self.embedding)
    }

    /// The frequencies of rotary embedding.
    #[must_use]
    pub fn frequencies(&self) -> &[f32] {
        &self.frequencies
    }
}

fn mix(digest: &mut Digest, numbers: &[f32]) {
    for number in numbers {
        digest.word(u64::from(number.to_bits()));
    }
}
