//! The fields of a body, as they are written.
//!
//! One struct for both interfaces: what the two share is most of it, and serde reads a flat struct without buffering.

use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde_json::Value;
use std::fmt;

#[derive(Deserialize)]
pub(super) struct Body {
    pub(super) model: String,
    pub(super) prompt: Option<PromptField>,
    pub(super) messages: Option<Vec<MessageField>>,
    pub(super) max_tokens: Option<u64>,
    pub(super) max_completion_tokens: Option<u64>,
    pub(super) temperature: Option<f32>,
    pub(super) seed: Option<i128>,
    pub(super) stop: Option<StopField>,
    pub(super) stream: Option<bool>,
    pub(super) stream_options: Option<StreamOptions>,
    pub(super) ignore_eos: Option<bool>,
    pub(super) cache_salt: Option<String>,
    // Known, and refused where they would change something.
    pub(super) n: Option<f64>,
    pub(super) best_of: Option<f64>,
    pub(super) frequency_penalty: Option<f64>,
    pub(super) presence_penalty: Option<f64>,
    pub(super) repetition_penalty: Option<f64>,
    pub(super) min_tokens: Option<f64>,
    pub(super) top_p: Option<f64>,
    pub(super) min_p: Option<f64>,
    pub(super) top_k: Option<i64>,
    pub(super) echo: Option<bool>,
    pub(super) logprobs: Option<Value>,
    pub(super) top_logprobs: Option<Value>,
    pub(super) prompt_logprobs: Option<Value>,
    pub(super) suffix: Option<Value>,
    pub(super) logit_bias: Option<Value>,
    pub(super) tools: Option<Value>,
    pub(super) functions: Option<Value>,
    pub(super) stop_token_ids: Option<Value>,
    pub(super) response_format: Option<Value>,
}

#[derive(Clone, Copy, Default, Deserialize)]
pub(super) struct StreamOptions {
    pub(super) include_usage: Option<bool>,
}

#[derive(Deserialize)]
pub(super) struct MessageField {
    pub(super) role: String,
    pub(super) content: Option<Content>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text or a list of parts")]
pub(super) enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
pub(super) struct Part {
    pub(super) r#type: String,
    pub(super) text: Option<String>,
}

/// One string, or several.
pub(super) struct StopField(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for StopField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a string or a list of strings")]
        enum OneOrMore {
            One(String),
            More(Vec<String>),
        }
        Ok(match OneOrMore::deserialize(deserializer)? {
            OneOrMore::One(stop) => Self(vec![stop]),
            OneOrMore::More(stops) => Self(stops),
        })
    }
}

/// A text, tokens, or a list with one of these, which is how batches of one are written.
pub(super) enum PromptField {
    Text(String),
    Tokens(Vec<u32>),
    Several(usize),
}

/// An element of a prompt that is a list.
enum Element {
    Token(u32),
    Prompt(PromptField),
}

impl<'de> Deserialize<'de> for PromptField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PromptVisitor)
    }
}

struct PromptVisitor;

impl<'de> Visitor<'de> for PromptVisitor {
    type Value = PromptField;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, or a list of tokens")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<PromptField, E> {
        Ok(PromptField::Text(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<PromptField, E> {
        Ok(PromptField::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<PromptField, A::Error> {
        match list.next_element()? {
            None => Ok(PromptField::Tokens(Vec::new())),
            Some(Element::Token(first)) => {
                let mut tokens = vec![first];
                while let Some(token) = list.next_element()? {
                    tokens.push(token);
                }
                Ok(PromptField::Tokens(tokens))
            }
            Some(Element::Prompt(one)) => {
                let mut count = 1;
                while list.next_element::<serde::de::IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(match count {
                    1 => one,
                    count => PromptField::Several(count),
                })
            }
        }
    }
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ElementVisitor)
    }
}

struct ElementVisitor;

impl<'de> Visitor<'de> for ElementVisitor {
    type Value = Element;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a token, or one prompt")
    }

    fn visit_u64<E: Error>(self, token: u64) -> Result<Element, E> {
        let token = u32::try_from(token);
        token
            .map(Element::Token)
            .map_err(|_| E::custom("a token of more than 32 bits"))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Element, E> {
        Ok(Element::Prompt(PromptField::Text(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Element, A::Error> {
        let mut tokens = Vec::new();
        while let Some(token) = list.next_element()? {
            tokens.push(token);
        }
        Ok(Element::Prompt(PromptField::Tokens(tokens)))
    }
}
