//! Whether an engine is there and is what the gateway takes it for: its model, and that it makes
//! the same tokens of a text as the gateway does, without which no prefix would ever be found.

use super::http::{Http, beginning};
use crate::gateway::Text;
use conductor_engine::text::Message;
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;

/// For each answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is tokenized for comparison: cases in which tokenizers that are nearly the same part.
const SAMPLES: [&str; 3] = [
    "Hello, world!  Two  spaces, a\ttab,\nand 12345 numbers.",
    "Größe, naïve, 東京, 🙂: beyond ASCII.",
    "fn main() { println!(\"{}\", x[0] + 1.5e-3); }\n\n",
];

#[derive(Deserialize)]
struct Tokenized {
    tokens: Vec<u32>,
    max_model_len: Option<u64>,
}

/// True if it says that it is well.
pub(super) async fn is_well(http: &Http, patience: Duration) -> Result<(), String> {
    match http.ask("/health", None, patience).await? {
        (200, _) => Ok(()),
        (status, body) => Err(format!("/health: status {status}: {}", beginning(&body))),
    }
}

/// Compares the engine with what the gateway takes it for. The error says what differs. Returns how many tokens of
/// prompt and answer it takes, if that is less than the gateway's text allows.
pub(super) async fn compare(
    http: &Http,
    model: &str,
    text: &dyn Text,
) -> Result<Option<u64>, String> {
    let mut tokens_max = None;
    for sample in SAMPLES {
        let ours = text.encode(sample).map_err(|error| error.to_string())?;
        let body = json!({"model": model, "prompt": sample});
        let theirs = tokenize(http, &body).await?;
        same(sample, &ours, &theirs.tokens)?;
        tokens_max = theirs.max_model_len;
    }
    let messages = [("system", "Be brief."), ("user", SAMPLES[0])].map(|(role, content)| Message {
        role: role.into(),
        content: content.into(),
    });
    let ours = text.chat(&messages).map_err(|error| error.to_string())?;
    let said = messages.map(|message| json!({"role": message.role, "content": message.content}));
    let body = json!({"model": model, "messages": said, "add_generation_prompt": true});
    let theirs = tokenize(http, &body).await?;
    same("a chat", &ours, &theirs.tokens)?;
    Ok(tokens_max.filter(|&most| most < text.positions()))
}

async fn tokenize(http: &Http, body: &serde_json::Value) -> Result<Tokenized, String> {
    let body = Some(body.to_string().into_bytes());
    match http.ask("/tokenize", body, PATIENCE).await? {
        (200, body) => serde_json::from_slice(&body).map_err(|error| format!("/tokenize: {error}")),
        (status, body) => Err(format!("/tokenize: status {status}: {}", beginning(&body))),
    }
}

fn same(what: &str, ours: &[u32], theirs: &[u32]) -> Result<(), String> {
    let apart = ours.iter().zip(theirs).take_while(|(a, b)| a == b).count();
    match ours == theirs {
        true => Ok(()),
        false => Err(format!(
            "of {what:?} it makes {} tokens, the gateway {}, the first that differs is number {apart}",
            theirs.len(),
            ours.len()
        )),
    }
}
