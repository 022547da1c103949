//! What is asked of an engine, and the stream of events that it answers with: OpenAI's completions, in token ids both
//! ways (vLLM's `prompt` as ids, and `return_token_ids`).
//!
//! Not here: connections, what the pieces mean for a request ([`super::Book`]).

use crate::protocol::{EndReason, Prompt};
use serde::{Deserialize, Serialize};

/// An event of a stream is not longer than this: the first one repeats the prompt.
const EVENT_BYTES_MAX: usize = 16 << 20;

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    prompt: &'a [u32],
    max_tokens: u64,
    temperature: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    stream: bool,
    stream_options: StreamOptions,
    return_token_ids: bool,
    ignore_eos: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_salt: Option<&'a str>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

/// The body of a request for `prompt`; an adapter is a model of its own to an engine.
#[must_use]
pub fn request_body(model: &str, prompt: &Prompt) -> Vec<u8> {
    let sampling = &prompt.sampling;
    let body = Body {
        model: prompt.space.adapter.as_deref().unwrap_or(model),
        prompt: &prompt.tokens,
        max_tokens: prompt.output_max.0,
        temperature: sampling.temperature,
        // Engines take 63 bits.
        seed: (sampling.temperature > 0.0).then_some(sampling.seed >> 1),
        stream: true,
        stream_options: StreamOptions {
            include_usage: true,
        },
        return_token_ids: true,
        ignore_eos: sampling.ignore_end,
        cache_salt: prompt.space.salt.as_deref(),
    };
    // Numbers and texts: there is nothing that could not be written.
    serde_json::to_vec(&body).unwrap_or_default()
}

/// What comes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// More of the answer.
    Tokens(Vec<u32>),
    /// The answer is complete.
    End(EndReason),
    /// Tokens of the prompt that were cached, as the engine says, which it does at the end if at all.
    Cached(u64),
    /// The engine cannot go on with it; another attempt may.
    Failed(String),
    /// The engine says that the request cannot be.
    Refused(String),
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<Choice>,
    usage: Option<Usage>,
    error: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Choice {
    token_ids: Option<Vec<u32>>,
    #[serde(default)]
    text: String,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens_details: Option<Details>,
}

#[derive(Deserialize)]
struct Details {
    cached_tokens: Option<u64>,
}

/// Splits a stream into pieces.
#[derive(Debug, Default)]
pub struct Events {
    buffer: Vec<u8>,
    /// Up to here there is no end of a line.
    searched: usize,
    ended: bool,
}

impl Events {
    /// True if the stream has said that it ends.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.ended
    }

    /// What more of the stream says.
    ///
    /// # Errors
    /// If it is no such stream; nothing of it can be used then.
    pub fn push(&mut self, data: &[u8], pieces: &mut Vec<Piece>) -> Result<(), String> {
        self.buffer.extend_from_slice(data);
        let mut from = 0;
        while let Some(length) = self.buffer[self.searched..]
            .iter()
            .position(|&byte| byte == b'\n')
        {
            let end = self.searched + length;
            self.ended |= line(&self.buffer[from..end], pieces)?;
            from = end + 1;
            self.searched = from;
        }
        self.buffer.drain(..from);
        self.searched = self.buffer.len();
        match self.buffer.len() > EVENT_BYTES_MAX {
            true => Err(format!("an event of more than {EVENT_BYTES_MAX} bytes")),
            false => Ok(()),
        }
    }
}

/// True if it is the last line.
fn line(line: &[u8], pieces: &mut Vec<Piece>) -> Result<bool, String> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let Some(data) = line.strip_prefix(b"data:") else {
        return Ok(false); // Empty, or a comment that keeps the connection alive.
    };
    if data.trim_ascii() == b"[DONE]" {
        return Ok(true);
    }
    let chunk: Chunk =
        serde_json::from_slice(data).map_err(|error| format!("an event that is none: {error}"))?;
    if let Some(error) = chunk.error {
        pieces.push(Piece::Failed(error.to_string()));
        return Ok(false);
    }
    for choice in chunk.choices.into_iter().take(1) {
        match choice.token_ids {
            Some(tokens) if !tokens.is_empty() => pieces.push(Piece::Tokens(tokens)),
            None if !choice.text.is_empty() => {
                return Err("text without token ids, which vLLM sends since 0.10.2".into());
            }
            _ => {}
        }
        match choice.finish_reason.as_deref() {
            None => {}
            Some("length") => pieces.push(Piece::End(EndReason::Length)),
            Some("stop") => pieces.push(Piece::End(EndReason::Stop)),
            Some(other) => pieces.push(Piece::Failed(format!("it ended by \"{other}\""))),
        }
    }
    let details = chunk.usage.and_then(|usage| usage.prompt_tokens_details);
    let cached = details.and_then(|details| details.cached_tokens);
    pieces.extend(cached.map(Piece::Cached));
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = concat!(
        ": alive\n\n",
        "data: {\"choices\":[{\"index\":0,\"text\":\"a\",\"finish_reason\":null,\"token_ids\":[7],\"prompt_token_ids\":[1,2]}]}\n\n",
        "data: {\"choices\":[{\"text\":\"\",\"finish_reason\":\"length\",\"token_ids\":[8,9]}]}\r\n\r\n",
        "data: {\"choices\":[],\"usage\":{\"completion_tokens\":3,\"prompt_tokens_details\":{\"cached_tokens\":1}}}\n\n",
        "data: [DONE]\n\n",
    );

    #[test]
    fn a_stream_in_pieces_of_any_size_says_the_same() {
        for size in [1, 2, 7, 1000] {
            let (mut events, mut pieces) = (Events::default(), Vec::new());
            for part in STREAM.as_bytes().chunks(size) {
                events.push(part, &mut pieces).expect("a stream");
            }
            assert!(events.is_complete());
            let expected = [
                Piece::Tokens(vec![7]),
                Piece::Tokens(vec![8, 9]),
                Piece::End(EndReason::Length),
                Piece::Cached(1),
            ];
            assert_eq!(pieces, expected);
        }
    }

    #[test]
    fn what_cannot_be_used_is_said() {
        let said = |event: &str| {
            let mut pieces = Vec::new();
            let pushed = Events::default().push(format!("data: {event}\n").as_bytes(), &mut pieces);
            pushed.map(|()| pieces)
        };
        let text = said(r#"{"choices":[{"text":"a","finish_reason":null}]}"#);
        assert!(text.expect_err("no ids").contains("token ids"));
        assert!(said("{").is_err());
        let error = said(r#"{"error":{"message":"gone"}}"#).expect("it is said");
        assert!(matches!(&error[..], [Piece::Failed(why)] if why.contains("gone")));
    }
}
