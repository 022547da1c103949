//! Weights in the form of Hugging Face: a folder with `config.json` and `model.safetensors`.
//!
//! candle reads the file and turns numbers of any precision to 32-bit floats. The file is read whole, not mapped: a
//! file that changes while it is mapped is undefined behaviour, and tensors are packed anew anyway.
//!
//! Not here: weights in several files, which only models have that are too large for this engine.

use super::{Config, LayerPart, LoadError, Model, Part, Source, first_line};
use candle_core::safetensors::BufferedSafetensors;
use candle_core::{DType, Device};
use std::fs;
use std::path::{Path, PathBuf};

/// Reads a model from its folder.
pub fn open(folder: &Path) -> Result<Model, LoadError> {
    let config = config(folder)?;
    let path = folder.join("model.safetensors");
    let bytes = fs::read(&path).map_err(|error| LoadError::File {
        path: path.clone(),
        error,
    })?;
    let tensors = BufferedSafetensors::new(bytes).map_err(|error| LoadError::Format {
        path: path.clone(),
        what: format!("expected safetensors: {}", first_line(error)),
    })?;
    Model::load(config, &mut File { path, tensors })
}

/// Reads the model's sizes from its folder.
pub fn config(folder: &Path) -> Result<Config, LoadError> {
    let path = folder.join("config.json");
    let text = fs::read_to_string(&path).map_err(|error| LoadError::File {
        path: path.clone(),
        error,
    })?;
    Config::from_json(&text).map_err(|error| LoadError::Config { path, error })
}

struct File {
    path: PathBuf,
    tensors: BufferedSafetensors,
}

impl Source for File {
    fn tensor(&mut self, part: Part, sizes: &[usize]) -> Result<Vec<f32>, LoadError> {
        let name = name(part);
        let wrong = |what: String| LoadError::Tensor {
            path: self.path.clone(),
            name: name.clone(),
            what,
        };
        let view = self
            .tensors
            .get(&name)
            .map_err(|_| wrong(format!("not in the file, expected sizes {sizes:?}")))?;
        if view.shape() != sizes {
            let found = view.shape();
            return Err(wrong(format!("has sizes {found:?}, expected {sizes:?}")));
        }
        let tensor = self.tensors.load(&name, &Device::Cpu);
        tensor
            .and_then(|tensor| tensor.to_dtype(DType::F32)?.flatten_all()?.to_vec1())
            .map_err(|error| wrong(first_line(error)))
    }
}

fn name(part: Part) -> String {
    match part {
        Part::Embedding => "model.embed_tokens.weight".into(),
        Part::Norm => "model.norm.weight".into(),
        Part::Head => "lm_head.weight".into(),
        Part::Layer(layer, part) => {
            let part = match part {
                LayerPart::AttentionNorm => "input_layernorm",
                LayerPart::Query => "self_attn.q_proj",
                LayerPart::Key => "self_attn.k_proj",
                LayerPart::Value => "self_attn.v_proj",
                LayerPart::Output => "self_attn.o_proj",
                LayerPart::MlpNorm => "post_attention_layernorm",
                LayerPart::Gate => "mlp.gate_proj",
                LayerPart::Up => "mlp.up_proj",
                LayerPart::Down => "mlp.down_proj",
            };
            format!("model.layers.{layer}.{part}.weight")
        }
    }
}
