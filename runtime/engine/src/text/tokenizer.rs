//! The tokenizer that belongs to a model, with its chat template and the tokens that end an answer.
//!
//! Real models bring `tokenizer.json` (crate `tokenizers`), or their vocabulary in the GGUF file. A GGUF file names the
//! rule by which text is split before merging instead of giving it; only rules that are known here are accepted.
//!
//! A gateway needs this without the weights, so it is loaded by itself ([`TextModel::open`]).

use super::{ChatTemplate, bytes};
use crate::model::{LoadError, first_line, gguf, safetensors};
use candle_core::quantized::gguf_file::{Content, Value};
use candle_core::quantized::tokenizer::TokenizerFromGguf;
use serde_json::Value as Json;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use thiserror::Error;
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::sequence::Sequence;

/// Turns text into tokens and tokens into text.
#[derive(Clone, Debug)]
pub enum Tokenizer {
    /// A byte a token, for the model `tiny`.
    Bytes,
    /// A real model's; shared by all who use it.
    Model(Arc<tokenizers::Tokenizer>),
}

/// A text that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TextError {
    /// The tokenizer refuses it.
    #[error("cannot tokenize: {0}")]
    Tokenize(String),
    /// The chat template refuses the messages, or is wrong itself.
    #[error("chat template: {0}")]
    Template(String),
}

impl Tokenizer {
    /// The tokens of a text. `begin` lets the tokenizer add what it puts before a text (some models' first token); a
    /// chat template has written that already.
    pub fn encode(&self, text: &str, begin: bool) -> Result<Vec<u32>, TextError> {
        match self {
            Self::Bytes => Ok(bytes::encode(text)),
            Self::Model(tokenizer) => tokenizer
                .encode_fast(text, begin)
                .map(|encoding| encoding.get_ids().to_vec())
                .map_err(|error| TextError::Tokenize(error.to_string())),
        }
    }

    /// The text of tokens, without special ones. Bytes that are no text become U+FFFD.
    #[must_use]
    pub fn decode(&self, tokens: &[u32]) -> String {
        match self {
            Self::Bytes => {
                let bytes: Vec<u8> = tokens
                    .iter()
                    .filter_map(|&token| bytes::byte(token))
                    .collect();
                String::from_utf8_lossy(&bytes).into_owned()
            }
            // It fails for decoders that find what their vocabulary cannot have; there is no text then.
            Self::Model(tokenizer) => tokenizer.decode(tokens, true).unwrap_or_default(),
        }
    }

    /// How many tokens there are; every token is below it.
    #[must_use]
    pub fn vocabulary(&self) -> usize {
        match self {
            Self::Bytes => bytes::VOCABULARY,
            Self::Model(tokenizer) => tokenizer.get_vocab_size(true),
        }
    }
}

/// What a gateway knows of a model.
#[derive(Clone, Debug)]
pub struct TextModel {
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// How conversations are written.
    pub template: ChatTemplate,
    /// Tokens that end an answer.
    pub ends: Arc<[u32]>,
    /// Longest sequence, in tokens.
    pub positions: usize,
}

impl TextModel {
    /// The model `tiny`'s.
    #[must_use]
    pub fn tiny() -> Self {
        let config = crate::model::tiny::config();
        Self {
            tokenizer: Tokenizer::Bytes,
            template: ChatTemplate::chat_ml(),
            ends: config.ends.into(),
            positions: config.positions,
        }
    }

    /// Reads what belongs to a model in a GGUF file, or in a folder with `config.json` and `tokenizer.json`, but not
    /// its weights.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        match path.is_dir() {
            true => from_folder(path),
            false => from_gguf(path),
        }
    }
}

fn from_folder(folder: &Path) -> Result<TextModel, LoadError> {
    let config = safetensors::config(folder)?;
    let path = folder.join("tokenizer.json");
    let tokenizer = from_json(&path)?;
    let known = tokenizer.get_vocab_size(true);
    if known > config.vocabulary {
        let vocabulary = config.vocabulary;
        return Err(LoadError::Format {
            path,
            what: format!("has {known} tokens, expected at most {vocabulary}, the model's"),
        });
    }
    let mut ends = config.ends;
    // What a chat model ends its answers with stands here and not in `config.json`.
    let path = folder.join("generation_config.json");
    if path.exists() {
        for end in ends_of(&json(&path)?["eos_token_id"]) {
            if !ends.contains(&end) {
                ends.push(end);
            }
        }
    }
    let path = folder.join("tokenizer_config.json");
    let mut template = ChatTemplate::chat_ml();
    if path.exists() {
        let config = json(&path)?;
        if let Some(text) = template_of(&config["chat_template"]) {
            let special = |key: &str| {
                let token = &config[key];
                // A token is its text, or an object with its text.
                let text = token.as_str().or_else(|| token["content"].as_str());
                text.unwrap_or_default().to_owned()
            };
            let parsed = ChatTemplate::new(text, special("bos_token"), special("eos_token"));
            template = parsed.map_err(|error| LoadError::Format {
                path,
                what: error.to_string(),
            })?;
        }
    }
    Ok(TextModel {
        tokenizer: Tokenizer::Model(Arc::new(tokenizer)),
        template,
        ends: ends.into(),
        positions: config.positions,
    })
}

/// Reads `tokenizer.json`. The crate panics for text that is not JSON and for damaged tables of one kind of normalizer,
/// which no Llama has: both are looked for first.
fn from_json(path: &Path) -> Result<tokenizers::Tokenizer, LoadError> {
    let damaged = |what: String| LoadError::Format {
        path: path.into(),
        what,
    };
    let text = json(path)?;
    if is_precompiled(&text["normalizer"]) {
        let what = "normalizer.type is Precompiled, which is not supported";
        return Err(damaged(what.into()));
    }
    serde_json::from_value(text)
        .map_err(|error| damaged(format!("expected a tokenizer: {}", first_line(error))))
}

fn is_precompiled(normalizer: &Json) -> bool {
    match &normalizer["normalizers"] {
        Json::Array(several) => several.iter().any(is_precompiled),
        _ => normalizer["type"] == "Precompiled",
    }
}

fn from_gguf(path: &Path) -> Result<TextModel, LoadError> {
    let damaged = |what: String| LoadError::Format {
        path: path.into(),
        what,
    };
    let (_, content) = gguf::header(path)?;
    let config = gguf::config(path, &content)?;
    let mut tokenizer =
        tokenizers::Tokenizer::from_gguf(&content).map_err(|error| damaged(first_line(error)))?;
    match string(&content, "tokenizer.ggml.pre") {
        // candle knows these.
        Some("qwen2" | "llama3" | "smaug-bpe") => {}
        Some("smollm") => {
            let split: [PreTokenizerWrapper; 2] = [
                Digits::new(true).into(),
                ByteLevel::new(false, true, true).into(),
            ];
            tokenizer.with_pre_tokenizer(Some(Sequence::new(split.into())));
        }
        Some("gpt-2") => {
            tokenizer.with_pre_tokenizer(Some(ByteLevel::new(false, true, true)));
        }
        other => {
            let found = other.unwrap_or("missing");
            let expected = "smollm, gpt-2, qwen2, llama3 or smaug-bpe";
            return Err(damaged(format!(
                "tokenizer.ggml.pre is {found}, expected {expected}"
            )));
        }
    }
    let known = tokenizer.get_vocab_size(true);
    if known > config.vocabulary {
        let vocabulary = config.vocabulary;
        return Err(damaged(format!(
            "has {known} tokens, expected at most {vocabulary}, the model's"
        )));
    }
    let special = |key: &str| {
        let token = content.metadata.get(key)?.to_u32().ok()?;
        tokenizer.id_to_token(token)
    };
    let template = match string(&content, "tokenizer.chat_template") {
        None => ChatTemplate::chat_ml(),
        Some(text) => ChatTemplate::new(
            text,
            special("tokenizer.ggml.bos_token_id").unwrap_or_default(),
            special("tokenizer.ggml.eos_token_id").unwrap_or_default(),
        )
        .map_err(|error| damaged(error.to_string()))?,
    };
    Ok(TextModel {
        tokenizer: Tokenizer::Model(Arc::new(tokenizer)),
        template,
        ends: config.ends.into(),
        positions: config.positions,
    })
}

fn string<'a>(content: &'a Content, key: &str) -> Option<&'a str> {
    match content.metadata.get(key)? {
        Value::String(text) => Some(text),
        _ => None,
    }
}

/// One token, or several.
fn ends_of(value: &Json) -> Vec<u32> {
    let one = |value: &Json| u32::try_from(value.as_u64()?).ok();
    match value {
        Json::Array(several) => several.iter().filter_map(one).collect(),
        value => one(value).into_iter().collect(),
    }
}

/// One template, or several of which the one named `default` is meant.
fn template_of(value: &Json) -> Option<&str> {
    match value {
        Json::Array(several) => several
            .iter()
            .find(|template| template["name"] == "default")?["template"]
            .as_str(),
        value => value.as_str(),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, LoadError> {
    fs::read(path).map_err(|error| LoadError::File {
        path: path.into(),
        error,
    })
}

fn json(path: &Path) -> Result<Json, LoadError> {
    serde_json::from_slice(&read(path)?).map_err(|error| LoadError::Format {
        path: path.into(),
        what: format!("expected JSON: {error}"),
    })
}
