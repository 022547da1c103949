//! Answers as JSON: whole, and in chunks as server-sent events.
//!
//! Every token is a chunk, also one whose text is empty (half a character, or held back for a stop string), so that
//! clients can count and time tokens. All chunks of an answer have the same beginning, which is written once.

use super::generation::{Ending, Usage};
use super::request::Api;
use crate::protocol::EndReason;
use serde::Serialize;

/// What all parts of one answer say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// By which interface.
    pub(super) api: Api,
    /// The answer's name.
    pub(super) id: String,
    /// Seconds since 1970.
    pub(super) created: u64,
    /// As the request named it.
    pub(super) model: String,
}

#[derive(Serialize)]
struct Whole<'a, C> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: [C; 1],
    usage: UsageText,
}

#[derive(Serialize)]
struct TextChoice<'a> {
    index: u32,
    text: &'a str,
    logprobs: Option<()>,
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct ChatChoice<'a> {
    index: u32,
    message: Said<'a>,
    logprobs: Option<()>,
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct Said<'a> {
    role: &'static str,
    content: &'a str,
}

#[derive(Serialize)]
struct UsageText {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: Details,
}

#[derive(Serialize)]
struct Details {
    cached_tokens: u64,
}

impl From<Usage> for UsageText {
    fn from(usage: Usage) -> Self {
        Self {
            prompt_tokens: usage.prompt,
            completion_tokens: usage.output,
            total_tokens: usage.prompt + usage.output,
            prompt_tokens_details: Details {
                cached_tokens: usage.cached,
            },
        }
    }
}

const fn reason_name(reason: EndReason) -> &'static str {
    match reason {
        EndReason::Stop => "stop",
        EndReason::Length => "length",
    }
}

fn json(value: &impl Serialize) -> String {
    // Texts and numbers: there is nothing that JSON could not write.
    serde_json::to_string(value).unwrap_or_default()
}

/// The whole answer.
pub(super) fn whole(head: &Head, text: &str, ending: &Ending) -> String {
    let (id, created, model) = (head.id.as_str(), head.created, head.model.as_str());
    let (usage, finish_reason) = (ending.usage.into(), reason_name(ending.reason));
    match head.api {
        Api::Completions => json(&Whole {
            id,
            object: "text_completion",
            created,
            model,
            choices: [TextChoice {
                index: 0,
                text,
                logprobs: None,
                finish_reason,
            }],
            usage,
        }),
        Api::Chat => json(&Whole {
            id,
            object: "chat.completion",
            created,
            model,
            choices: [ChatChoice {
                index: 0,
                message: Said {
                    role: "assistant",
                    content: text,
                },
                logprobs: None,
                finish_reason,
            }],
            usage,
        }),
    }
}

/// Writes the chunks of one answer.
#[derive(Clone, Debug)]
pub(super) struct Events {
    api: Api,
    /// `data: {"id": …, "choices":`.
    beginning: String,
    /// With a usage: the others have null.
    usage: bool,
}

impl Events {
    pub(super) fn new(head: &Head, usage: bool) -> Self {
        let object = match head.api {
            Api::Completions => "text_completion",
            Api::Chat => "chat.completion.chunk",
        };
        let (id, model, created) = (json(&head.id), json(&head.model), head.created);
        Self {
            api: head.api,
            beginning: format!(
                "data: {{\"id\":{id},\"object\":\"{object}\",\"created\":{created},\"model\":{model},\"choices\":"
            ),
            usage,
        }
    }

    /// What comes before the first token: a chat's answer says who speaks.
    pub(super) fn begin(&self, out: &mut String) {
        if self.api == Api::Chat {
            self.choice("{\"role\":\"assistant\",\"content\":\"\"}", None, out);
        }
    }

    /// One more token.
    pub(super) fn token(&self, text: &str, out: &mut String) {
        self.text(text, None, out);
    }

    /// The end.
    pub(super) fn end(&self, ending: &Ending, out: &mut String) {
        self.text(&ending.text, Some(ending.reason), out);
        if self.usage {
            out.push_str(&self.beginning);
            let usage = json(&UsageText::from(ending.usage));
            out.push_str(&format!("[],\"usage\":{usage}}}\n\n"));
        }
        out.push_str("data: [DONE]\n\n");
    }

    /// Something has gone wrong after the first token: `error` is an error's JSON.
    pub(super) fn error(error: &str, out: &mut String) {
        out.push_str(&format!("data: {error}\n\ndata: [DONE]\n\n"));
    }

    fn text(&self, text: &str, reason: Option<EndReason>, out: &mut String) {
        match self.api {
            Api::Completions => self.choice(&json(&text), reason, out),
            Api::Chat if text.is_empty() && reason.is_some() => self.choice("{}", reason, out),
            Api::Chat => self.choice(&format!("{{\"content\":{}}}", json(&text)), reason, out),
        }
    }

    /// A chunk whose one choice has this text or delta.
    fn choice(&self, what: &str, reason: Option<EndReason>, out: &mut String) {
        let key = match self.api {
            Api::Completions => "text",
            Api::Chat => "delta",
        };
        out.push_str(&self.beginning);
        out.push_str(&format!(
            "[{{\"index\":0,\"{key}\":{what},\"logprobs\":null,"
        ));
        match reason {
            None => out.push_str("\"finish_reason\":null}]"),
            Some(reason) => {
                let reason = reason_name(reason);
                out.push_str(&format!("\"finish_reason\":\"{reason}\"}}]"));
            }
        }
        if self.usage {
            out.push_str(",\"usage\":null");
        }
        out.push_str("}\n\n");
    }
}

#[derive(Serialize)]
struct Models<'a> {
    object: &'static str,
    data: Vec<Model<'a>>,
}

#[derive(Serialize)]
struct Model<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
    /// The adapter's model.
    parent: Option<&'a str>,
    max_model_len: u64,
}

/// The list of models: the model, and its adapters.
pub(super) fn models(model: &str, adapters: &[String], created: u64, positions: u64) -> String {
    let one = |id, parent| Model {
        id,
        object: "model",
        created,
        owned_by: "conductor",
        parent,
        max_model_len: positions,
    };
    let mut data = vec![one(model, None)];
    data.extend(adapters.iter().map(|name| one(name, Some(model))));
    json(&Models {
        object: "list",
        data,
    })
}
