//! From a body to what the driver takes: JSON, tokens, block names. Pure, and so can run on any thread.
//!
//! Small bodies are read where they arrive. Large ones take milliseconds, so they go to threads of their own, of which
//! no more run at once than the configuration says.

use super::error::ApiError;
use super::request::{Api, Input, Wish};
use super::{CacheSpace, block_hashes};
use super::{Front, Text};
use crate::protocol::{Prompt, Sampling, Space};
use axum::http::StatusCode;
use conductor_core::units::Tokens;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Bodies up to this many bytes are read on the thread that they arrive on: 16 KiB are some ten microseconds of JSON
/// and of tokenizing bytes, and below a millisecond with merges.
pub const INLINE_MAX: usize = 16 << 10;

/// What the driver takes, and what the answer needs.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// What the client wishes, without its prompt.
    pub wish: Wish,
    /// For the nodes.
    pub prompt: Prompt,
}

/// Reads a request. `seed` is for wishes that give none.
///
/// # Errors
/// What is wrong with it.
pub fn prepare(
    api: Api,
    front: &Front,
    text: &dyn Text,
    body: &[u8],
    seed: u64,
) -> Result<Prepared, ApiError> {
    let mut wish = Wish::parse(api, &front.config, body)?;
    let input = std::mem::replace(&mut wish.input, Input::Tokens(Vec::new()));
    let (param, tokens) = match input {
        Input::Tokens(tokens) => ("prompt", Ok(tokens)),
        Input::Text(prompt) => ("prompt", text.encode(&prompt)),
        Input::Chat(messages) => ("messages", text.chat(&messages)),
    };
    let tokens = tokens.map_err(|error| ApiError::invalid(param, error.to_string()))?;
    if tokens.is_empty() {
        let message = format!("`{param}` has no tokens, expected at least one");
        return Err(ApiError::invalid(param, message));
    }
    let vocabulary = text.vocabulary();
    if let Some(token) = tokens.iter().find(|&&token| u64::from(token) >= vocabulary) {
        let message =
            format!("`{param}` has the token {token}, expected tokens below {vocabulary}");
        return Err(ApiError::invalid(param, message));
    }
    let too_long = |message: String| ApiError {
        param: Some(param),
        ..ApiError::new(StatusCode::BAD_REQUEST, "context-length-exceeded", message)
    };
    let (length, most) = (tokens.len() as u64, front.config.prompt_tokens_max);
    if length > most {
        let message = format!("the prompt has {length} tokens, expected at most {most}");
        return Err(too_long(message));
    }
    let positions = text.positions();
    if length + wish.output_max > positions {
        let message = format!(
            "{length} tokens of prompt and {} of answer are more than the model's {positions}",
            wish.output_max
        );
        return Err(too_long(message));
    }
    let space = CacheSpace {
        model: &front.config.model,
        adapter: Some(wish.model.as_str()).filter(|&name| name != front.config.model),
        salt: wish.cache_salt.as_deref(),
    };
    let blocks = block_hashes(&space, front.block, &tokens);
    let prompt = Prompt {
        space: Space {
            adapter: space.adapter.map(Into::into),
            salt: space.salt.map(Into::into),
        },
        input: Tokens(length),
        tokens: tokens.into(),
        blocks: blocks.into(),
        output_max: Tokens(wish.output_max),
        sampling: Sampling {
            temperature: wish.temperature,
            seed: wish.seed.unwrap_or(seed),
            ignore_end: wish.ignore_end,
        },
    };
    Ok(Prepared { wish, prompt })
}

/// Makes [`prepare`] wait its turn where it would keep a thread busy.
#[derive(Debug)]
pub(super) struct Turns(Arc<Semaphore>);

impl Turns {
    pub(super) fn new(at_once: usize) -> Self {
        Self(Arc::new(Semaphore::new(at_once)))
    }

    pub(super) async fn prepare(
        &self,
        api: Api,
        front: &Arc<Front>,
        text: &Arc<dyn Text>,
        body: axum::body::Bytes,
        seed: u64,
    ) -> Result<Prepared, ApiError> {
        if body.len() <= INLINE_MAX {
            return prepare(api, front, text.as_ref(), &body, seed);
        }
        let broken = || {
            let message = "the request could not be read";
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
        };
        let turn = Arc::clone(&self.0).acquire_owned().await;
        let turn = turn.map_err(|_| broken())?;
        let (front, text) = (Arc::clone(front), Arc::clone(text));
        let read = move || {
            // A client that goes does not end the thread, so the thread keeps its turn.
            let _turn = turn;
            prepare(api, &front, text.as_ref(), &body, seed)
        };
        let read = tokio::task::spawn_blocking(read).await;
        read.map_err(|_| broken())?
    }
}
