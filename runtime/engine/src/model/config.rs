//! A model's sizes, from `config.json` or from whoever makes one up.
//!
//! What is not supported is refused by name: a model that is computed a little wrong is worse than none.

use crate::kv::{KvShape, ShapeError};
use crate::math::attention::Heads;
use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

/// More than any size of a model that a CPU could run; what is above it is a damaged file.
const SIZE_MAX: usize = 1 << 24;

/// Sizes that fit together.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Numbers of a token between layers.
    pub hidden: usize,
    /// Numbers inside of the MLP.
    pub intermediate: usize,
    /// Layers.
    pub layers: usize,
    /// Heads of attention.
    pub heads: Heads,
    /// Tokens that there are.
    pub vocabulary: usize,
    /// Longest sequence.
    pub positions: usize,
    /// Added to the mean of squares in norms.
    pub epsilon: f32,
    /// The base of rotary embedding.
    pub rope_base: f64,
    /// The head is the embedding.
    pub tied: bool,
    /// Tokens that end an answer.
    pub ends: Vec<u32>,
}

/// What is wrong with a model's sizes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// Not JSON, or a key is missing or of another type.
    #[error("{0}")]
    Json(String),
    /// A value that cannot be right, or that this engine does not know.
    #[error("{key} is {found}, expected {expected}")]
    Value {
        /// The key, as `config.json` has it.
        key: &'static str,
        /// Its value.
        found: String,
        /// What it should be.
        expected: &'static str,
    },
}

/// What is read of Hugging Face's `config.json`.
#[derive(Deserialize)]
struct Text {
    model_type: String,
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    vocab_size: usize,
    max_position_embeddings: usize,
    rms_norm_eps: f32,
    rope_theta: Option<f64>,
    rope_scaling: Option<Value>,
    rope_parameters: Option<RopeText>,
    #[serde(default)]
    tie_word_embeddings: bool,
    hidden_act: Option<String>,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    eos_token_id: Option<Ends>,
}

/// How newer files write rotary embedding.
#[derive(Deserialize)]
struct RopeText {
    rope_theta: Option<f64>,
    rope_type: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Ends {
    One(u32),
    Many(Vec<u32>),
}

fn wrong(key: &'static str, found: impl ToString, expected: &'static str) -> ConfigError {
    ConfigError::Value {
        key,
        found: found.to_string(),
        expected,
    }
}

impl Config {
    /// Reads the text of `config.json`.
    pub fn from_json(text: &str) -> Result<Self, ConfigError> {
        let text: Text =
            serde_json::from_str(text).map_err(|error| ConfigError::Json(error.to_string()))?;
        if text.model_type != "llama" {
            return Err(wrong("model_type", text.model_type, "llama"));
        }
        if let Some(activation) = text.hidden_act.filter(|name| name != "silu") {
            return Err(wrong("hidden_act", activation, "silu"));
        }
        for (key, found) in [
            ("attention_bias", text.attention_bias),
            ("mlp_bias", text.mlp_bias),
        ] {
            if found {
                return Err(wrong(key, found, "false"));
            }
        }
        if let Some(scaling) = text.rope_scaling.filter(|scaling| !scaling.is_null()) {
            return Err(wrong("rope_scaling", scaling, "null"));
        }
        let mut rope_base = text.rope_theta;
        if let Some(rope) = text.rope_parameters {
            if let Some(kind) = rope.rope_type.filter(|kind| kind != "default") {
                return Err(wrong("rope_parameters.rope_type", kind, "default"));
            }
            rope_base = rope.rope_theta.or(rope_base);
        }
        let heads = text.num_attention_heads;
        let config = Self {
            hidden: text.hidden_size,
            intermediate: text.intermediate_size,
            layers: text.num_hidden_layers,
            heads: Heads {
                query: heads,
                kv: text.num_key_value_heads.unwrap_or(heads),
                dim: text
                    .head_dim
                    .unwrap_or_else(|| text.hidden_size / heads.max(1)),
            },
            vocabulary: text.vocab_size,
            positions: text.max_position_embeddings,
            epsilon: text.rms_norm_eps,
            rope_base: rope_base.unwrap_or(10_000.0),
            tied: text.tie_word_embeddings,
            ends: match text.eos_token_id {
                None => Vec::new(),
                Some(Ends::One(end)) => vec![end],
                Some(Ends::Many(ends)) => ends,
            },
        };
        config.check()?;
        Ok(config)
    }

    /// Says whether the sizes fit together.
    pub fn check(&self) -> Result<(), ConfigError> {
        let sizes = [
            ("hidden_size", self.hidden),
            ("intermediate_size", self.intermediate),
            ("num_hidden_layers", self.layers),
            ("num_attention_heads", self.heads.query),
            ("num_key_value_heads", self.heads.kv),
            ("head_dim", self.heads.dim),
            ("vocab_size", self.vocabulary),
            ("max_position_embeddings", self.positions),
        ];
        for (key, size) in sizes {
            if !(1..=SIZE_MAX).contains(&size) {
                return Err(wrong(key, size, "1 to 16,777,216"));
            }
        }
        if !self.heads.query.is_multiple_of(self.heads.kv) {
            let expected = "a divisor of num_attention_heads";
            return Err(wrong("num_key_value_heads", self.heads.kv, expected));
        }
        if !self.heads.dim.is_multiple_of(2) {
            return Err(wrong("head_dim", self.heads.dim, "an even number"));
        }
        if !(self.epsilon > 0.0 && self.epsilon < 1.0) {
            return Err(wrong("rms_norm_eps", self.epsilon, "between 0 and 1"));
        }
        if !(self.rope_base > 1.0 && self.rope_base.is_finite()) {
            return Err(wrong("rope_theta", self.rope_base, "a number above 1"));
        }
        let beyond = |end: &&u32| **end as usize >= self.vocabulary;
        if let Some(end) = self.ends.iter().find(beyond) {
            return Err(wrong("eos_token_id", end, "a token below vocab_size"));
        }
        Ok(())
    }

    /// The KV pool of this model, in blocks of `block_tokens`.
    pub fn kv_shape(&self, block_tokens: u32) -> Result<KvShape, ShapeError> {
        let Heads { kv, dim, .. } = self.heads;
        KvShape::new(self.layers as u32, kv as u32, dim as u32, block_tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMOLLM2: &str = r#"{"model_type": "llama", "hidden_size": 576, "intermediate_size": 1536,
        "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": 49152,
        "max_position_embeddings": 8192, "rms_norm_eps": 1e-05, "rope_theta": 100000, "rope_scaling": null,
        "tie_word_embeddings": true, "hidden_act": "silu", "attention_bias": false, "eos_token_id": 2}"#;

    #[test]
    fn a_real_configuration_is_read() {
        let config = Config::from_json(SMOLLM2).expect("valid");
        assert_eq!((config.heads.dim, config.heads.kv), (64, 3));
        assert_eq!(
            (config.tied, config.ends.as_slice()),
            (true, [2].as_slice())
        );
        let shape = config.kv_shape(16).expect("a shape");
        assert_eq!(shape.block_bytes(), 30 * 2 * 16 * 3 * 64 * 4);
    }

    #[test]
    fn what_is_not_supported_is_named() {
        let says = |from: &str, to: &str| {
            let text = SMOLLM2.replace(from, to);
            assert_ne!(text, SMOLLM2);
            let error = Config::from_json(&text).expect_err("not supported");
            error.to_string()
        };
        assert_eq!(
            says(r#""llama""#, r#""gemma3""#),
            "model_type is gemma3, expected llama"
        );
        assert_eq!(
            says(r#""num_key_value_heads": 3"#, r#""num_key_value_heads": 2"#),
            "num_key_value_heads is 2, expected a divisor of num_attention_heads"
        );
        let scaled = r#""rope_scaling": {"type": "yarn"}"#;
        assert_eq!(
            says(r#""rope_scaling": null"#, scaled),
            r#"rope_scaling is {"type":"yarn"}, expected null"#
        );
        assert_eq!(
            says(r#""hidden_size": 576"#, r#""hidden_size": 0"#),
            "hidden_size is 0, expected 1 to 16,777,216"
        );
        assert!(says(r#""hidden_size": 576, "#, "").contains("missing field `hidden_size`"));
        assert_eq!(
            says(r#""eos_token_id": 2"#, r#""eos_token_id": 99999"#),
            "eos_token_id is 99999, expected a token below vocab_size"
        );
    }
}
