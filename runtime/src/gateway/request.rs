//! A request's body: JSON to a typed wish, or an error that says which field and what was expected.
//!
//! Fields are OpenAI's, with vLLM's `ignore_eos` and `cache_salt`. Those that are known and would change the answer in
//! a way that no engine here can are refused ([`refuse_unsupported`]); those that would not (a greedy request's
//! `top_p`) and those that are unknown are ignored, as clients send many of them.
//!
//! Not here: tokens, limits of the cluster, headers.

mod fields;

use super::config::GatewayConfig;
use super::error::ApiError;
use axum::http::StatusCode;
use conductor_engine::text::{Message, Stops};
use fields::{Body, Content, PromptField, StopField};

/// Length of a completion for which none was asked for, as of OpenAI.
const COMPLETION_TOKENS: u64 = 16;
/// Longest salt, bytes.
const SALT_BYTES_MAX: usize = 256;

/// Which of the two interfaces a request speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// `/v1/completions`.
    Completions,
    /// `/v1/chat/completions`.
    Chat,
}

/// What is to be continued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// A text.
    Text(String),
    /// Tokens.
    Tokens(Vec<u32>),
    /// A conversation.
    Chat(Vec<Message>),
}

/// What a client wishes.
#[derive(Clone, Debug)]
pub struct Wish {
    /// By which interface.
    pub api: Api,
    /// The name of a model or an adapter that there is.
    pub model: String,
    /// What is to be continued.
    pub input: Input,
    /// Tokens of the answer at most.
    pub output_max: u64,
    /// 0: always the likeliest token.
    pub temperature: f32,
    /// Of random numbers, if it was given.
    pub seed: Option<u64>,
    /// Go on when the model says that it has ended.
    pub ignore_end: bool,
    /// Where the answer ends.
    pub stops: Stops,
    /// Keeps its cached blocks apart.
    pub cache_salt: Option<String>,
    /// Token by token.
    pub stream: bool,
    /// A last chunk with the usage.
    pub include_usage: bool,
}

impl Wish {
    /// Reads a body.
    ///
    /// # Errors
    /// What is wrong with it: 400, or 404 for an unknown model.
    pub fn parse(api: Api, config: &GatewayConfig, body: &[u8]) -> Result<Self, ApiError> {
        let body: Body = serde_json::from_slice(body).map_err(|error| {
            let message = format!("the body is not understood: {error}");
            ApiError::new(StatusCode::BAD_REQUEST, "invalid-json", one_line(&message))
        })?;
        let known = body.model == config.model || config.adapters.contains(&body.model);
        if !known {
            let name = one_line(&body.model);
            let message = format!("the model {name:?} does not exist here");
            return Err(ApiError {
                param: Some("model"),
                ..ApiError::new(StatusCode::NOT_FOUND, "model-not-found", message)
            });
        }
        let temperature = temperature(&body)?;
        refuse_unsupported(api, &body, temperature <= 0.0)?;
        let (output_param, asked) = match body.max_completion_tokens {
            Some(tokens) if api == Api::Chat => ("max_completion_tokens", Some(tokens)),
            _ => ("max_tokens", body.max_tokens),
        };
        let most = config.output_tokens_max;
        let usual = match api {
            Api::Completions => COMPLETION_TOKENS.min(most),
            Api::Chat => config.output_tokens_default,
        };
        let output_max = asked.unwrap_or(usual);
        if output_max == 0 || output_max > most {
            let message = format!("`{output_param}` is {output_max}, expected 1 to {most}");
            return Err(ApiError::invalid(output_param, message));
        }
        let input = match api {
            Api::Completions => prompt(body.prompt)?,
            Api::Chat => conversation(body.messages)?,
        };
        let options = body.stream_options.unwrap_or_default();
        if body.stream_options.is_some() && body.stream != Some(true) {
            let message = "`stream_options` is allowed with `stream: true` only";
            return Err(ApiError::invalid("stream_options", message));
        }
        let salt = body.cache_salt;
        if salt
            .as_ref()
            .is_some_and(|salt| salt.is_empty() || salt.len() > SALT_BYTES_MAX)
        {
            let message = format!("`cache_salt` must have 1 to {SALT_BYTES_MAX} bytes");
            return Err(ApiError::invalid("cache_salt", message));
        }
        Ok(Self {
            api,
            model: body.model,
            input,
            output_max,
            temperature,
            seed: seed(body.seed)?,
            ignore_end: body.ignore_eos.unwrap_or(false),
            stops: stops(body.stop)?,
            cache_salt: salt,
            stream: body.stream.unwrap_or(false),
            include_usage: options.include_usage.unwrap_or(false),
        })
    }
}

/// Fields that would change the answer and that no engine here knows, unless they have the value that changes nothing.
/// With `greedy` the likeliest token is taken whatever the tail of the distribution is.
fn refuse_unsupported(api: Api, body: &Body, greedy: bool) -> Result<(), ApiError> {
    let flags = [
        (
            "logprobs",
            body.logprobs.as_ref().is_some_and(asks_for_something),
        ),
        (
            "top_logprobs",
            body.top_logprobs.as_ref().is_some_and(asks_for_something),
        ),
        (
            "prompt_logprobs",
            body.prompt_logprobs
                .as_ref()
                .is_some_and(asks_for_something),
        ),
        ("echo", body.echo == Some(true)),
        (
            "suffix",
            body.suffix.as_ref().is_some_and(asks_for_something),
        ),
        (
            "logit_bias",
            body.logit_bias.as_ref().is_some_and(asks_for_something),
        ),
        ("tools", body.tools.as_ref().is_some_and(asks_for_something)),
        (
            "functions",
            body.functions.as_ref().is_some_and(asks_for_something),
        ),
        (
            "stop_token_ids",
            body.stop_token_ids.as_ref().is_some_and(asks_for_something),
        ),
    ];
    if let Some((param, _)) = flags.into_iter().find(|&(_, asked)| asked) {
        return Err(ApiError::unsupported(param, "none"));
    }
    let numbers = [
        ("n", body.n, 1.0, true),
        ("best_of", body.best_of, 1.0, true),
        ("frequency_penalty", body.frequency_penalty, 0.0, true),
        ("presence_penalty", body.presence_penalty, 0.0, true),
        ("repetition_penalty", body.repetition_penalty, 1.0, true),
        ("min_tokens", body.min_tokens, 0.0, true),
        ("top_p", body.top_p, 1.0, !greedy),
        ("min_p", body.min_p, 0.0, !greedy),
    ];
    for (param, value, neutral, counts) in numbers {
        if counts && value.is_some_and(|value| (value - neutral).abs() > 0.0) {
            return Err(ApiError::unsupported(param, &neutral.to_string()));
        }
    }
    // 0 and -1 both mean "all" to those who have it.
    if !greedy && body.top_k.is_some_and(|k| k != 0 && k != -1) {
        return Err(ApiError::unsupported("top_k", "-1"));
    }
    let format = body.response_format.as_ref();
    let text = |format: &serde_json::Value| format["type"] == "text" || format.is_null();
    if format.is_some_and(|format| !text(format)) {
        return Err(ApiError::unsupported(
            "response_format",
            "{\"type\": \"text\"}",
        ));
    }
    match api {
        Api::Completions if body.messages.is_some() => {
            let message = "`messages` belong to /v1/chat/completions, expected `prompt`";
            Err(ApiError::invalid("messages", message))
        }
        Api::Chat if body.prompt.is_some() => {
            let message = "`prompt` belongs to /v1/completions, expected `messages`";
            Err(ApiError::invalid("prompt", message))
        }
        _ => Ok(()),
    }
}

/// False for null, false, 0, and what is empty.
fn asks_for_something(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Null => false,
        serde_json::Value::Bool(asked) => *asked,
        serde_json::Value::Number(number) => number.as_u64() != Some(0),
        serde_json::Value::String(text) => !text.is_empty(),
        serde_json::Value::Array(items) => !items.is_empty(),
        serde_json::Value::Object(items) => !items.is_empty(),
    }
}

/// As of OpenAI 0 to 2, and 1 if nothing is said.
fn temperature(body: &Body) -> Result<f32, ApiError> {
    match body.temperature.unwrap_or(1.0) {
        value if (0.0..=2.0).contains(&value) => Ok(value),
        value => {
            let message = format!("`temperature` is {value}, expected 0 to 2");
            Err(ApiError::invalid("temperature", message))
        }
    }
}

/// Any whole number of 64 bits, with or without a sign.
fn seed(seed: Option<i128>) -> Result<Option<u64>, ApiError> {
    let Some(seed) = seed else { return Ok(None) };
    let bits = u64::try_from(seed).ok();
    let bits = bits.or_else(|| i64::try_from(seed).ok().map(i64::cast_unsigned));
    match bits {
        Some(bits) => Ok(Some(bits)),
        None => Err(ApiError::invalid("seed", "`seed` must have 64 bits")),
    }
}

fn stops(field: Option<StopField>) -> Result<Stops, ApiError> {
    let stops = field.map_or_else(Vec::new, |StopField(stops)| stops);
    Stops::new(stops).map_err(|error| ApiError::invalid("stop", format!("`stop`: {error}")))
}

fn prompt(field: Option<PromptField>) -> Result<Input, ApiError> {
    match field {
        Some(PromptField::Text(text)) => Ok(Input::Text(text)),
        Some(PromptField::Tokens(tokens)) => Ok(Input::Tokens(tokens)),
        Some(PromptField::Several(count)) => {
            let message = format!("`prompt` has {count} prompts, expected one a request");
            Err(ApiError::invalid("prompt", message))
        }
        None => Err(ApiError::invalid("prompt", "`prompt` is missing")),
    }
}

fn conversation(messages: Option<Vec<fields::MessageField>>) -> Result<Input, ApiError> {
    let messages = messages.unwrap_or_default();
    if messages.is_empty() {
        let message = "`messages` is missing or empty, expected at least one message";
        return Err(ApiError::invalid("messages", message));
    }
    let said = messages.into_iter().map(|message| {
        let content = match message.content {
            None => String::new(),
            Some(Content::Text(text)) => text,
            Some(Content::Parts(parts)) => {
                let mut whole = String::new();
                for part in parts {
                    let Some(text) = part.text.filter(|_| part.r#type == "text") else {
                        let found = one_line(&part.r#type);
                        let message =
                            format!("a part of `messages` is {found:?}, expected \"text\"");
                        return Err(ApiError::invalid("messages", message));
                    };
                    whole.push_str(&text);
                }
                whole
            }
        };
        Ok(Message {
            role: message.role,
            content,
        })
    });
    Ok(Input::Chat(said.collect::<Result<_, _>>()?))
}

/// What clients wrote may come back to them in an error, in one line and not at length.
fn one_line(text: &str) -> String {
    let printable = text.chars().take(300);
    printable
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
