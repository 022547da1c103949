//! Bodies that are right, and bodies that are wrong: what each is taken for.

use crate::bench::{Setup, text};
use conductor_runtime::gateway::{Api, prepare};
use expect_test::expect;
use proptest::prelude::*;

/// Reads a body and says what it is taken for, or why it is refused.
fn read(api: Api, body: &str) -> String {
    match prepare(api, &Setup::new().front(), &text(), body.as_bytes(), 7) {
        Ok(prepared) => {
            let prompt = &prepared.prompt;
            let sampling = prompt.sampling;
            format!(
                "{} tokens, at most {}, temperature {}, seed {}",
                prompt.input.0,
                prompt.output_max.0,
                sampling.temperature,
                sampling.seed.cast_signed()
            )
        }
        Err(error) => {
            let param = error.param.unwrap_or("-");
            format!(
                "{} {} {param}: {}",
                error.status.as_u16(),
                error.code,
                error.message
            )
        }
    }
}

fn completions(fields: &str) -> String {
    read(
        Api::Completions,
        &format!(r#"{{"model": "tiny", {fields}}}"#),
    )
}

#[test]
fn what_is_right() {
    let bodies = [
        r#""prompt": "abc""#,
        r#""prompt": ["abc"]"#,
        r#""prompt": [1, 2]"#,
        r#""prompt": [[1, 2, 257]]"#,
        r#""prompt": "a", "max_tokens": null, "stop": null, "seed": null, "stream": null, "logprobs": null"#,
        r#""prompt": "a", "max_tokens": 3, "temperature": 0, "seed": -5, "stop": "x""#,
        r#""prompt": "a", "seed": 18446744073709551615, "stop": ["x", "yz"], "temperature": 2"#,
        r#""prompt": "a", "n": 1, "best_of": 1, "top_p": 1.0, "top_k": -1, "presence_penalty": 0, "logit_bias": {}"#,
        r#""prompt": "a", "temperature": 0, "top_p": 0.5, "top_k": 40, "user": "u", "unknown": {"a": [1]}"#,
        r#""prompt": "a", "logprobs": 0, "echo": false, "suffix": "", "tools": [], "response_format": {"type": "text"}"#,
    ];
    let read: Vec<String> = bodies.iter().map(|body| completions(body)).collect();
    expect![[r#"
        3 tokens, at most 16, temperature 1, seed 7
        3 tokens, at most 16, temperature 1, seed 7
        2 tokens, at most 16, temperature 1, seed 7
        3 tokens, at most 16, temperature 1, seed 7
        1 tokens, at most 16, temperature 1, seed 7
        1 tokens, at most 3, temperature 0, seed -5
        1 tokens, at most 16, temperature 2, seed -1
        1 tokens, at most 16, temperature 1, seed 7
        1 tokens, at most 16, temperature 0, seed 7
        1 tokens, at most 16, temperature 1, seed 7"#]]
    .assert_eq(&read.join("\n"));
}

#[test]
fn what_is_wrong() {
    let bodies = [
        r#""prompt": null"#,
        r#""prompt": """#,
        r#""prompt": []"#,
        r#""prompt": 3"#,
        r#""prompt": ["a", "b"]"#,
        r#""prompt": [[1], [2]]"#,
        r#""prompt": [1, "a"]"#,
        r#""prompt": [-1]"#,
        r#""prompt": [4294967296]"#,
        r#""prompt": [258]"#,
        r#""prompt": "a", "max_tokens": 0"#,
        r#""prompt": "a", "max_tokens": 99999999"#,
        r#""prompt": "a", "temperature": -0.1"#,
        r#""prompt": "a", "temperature": 1e999"#,
        r#""prompt": "a", "seed": 18446744073709551616"#,
        r#""prompt": "a", "stop": ["1", "2", "3", "4", "5"]"#,
        r#""prompt": "a", "stop": """#,
        r#""prompt": "a", "stop": 3"#,
        r#""prompt": "a", "n": 2"#,
        r#""prompt": "a", "best_of": 3"#,
        r#""prompt": "a", "logprobs": 5"#,
        r#""prompt": "a", "echo": true"#,
        r#""prompt": "a", "top_p": 0.9"#,
        r#""prompt": "a", "logit_bias": {"5": 100}"#,
        r#""prompt": "a", "response_format": {"type": "json_object"}"#,
        r#""prompt": "a", "stream_options": {"include_usage": true}"#,
        r#""prompt": "a", "cache_salt": """#,
        r#""prompt": "a", "messages": []"#,
        r#""prompt": "a", "max_tokens": "3""#,
    ];
    let read: Vec<String> = bodies.iter().map(|body| completions(body)).collect();
    expect![[r#"
        400 invalid-request prompt: `prompt` is missing
        400 invalid-request prompt: `prompt` has no tokens, expected at least one
        400 invalid-request prompt: `prompt` has no tokens, expected at least one
        400 invalid-json -: the body is not understood: invalid type: integer `3`, expected a text, or a list of tokens at line 1 column 29
        400 invalid-request prompt: `prompt` has 2 prompts, expected one a request
        400 invalid-request prompt: `prompt` has 2 prompts, expected one a request
        400 invalid-json -: the body is not understood: invalid type: string "a", expected u32 at line 1 column 35
        400 invalid-json -: the body is not understood: invalid type: integer `-1`, expected a token, or one prompt at line 1 column 31
        400 invalid-json -: the body is not understood: a token of more than 32 bits at line 1 column 39
        400 invalid-request prompt: `prompt` has the token 258, expected tokens below 258
        400 invalid-request max_tokens: `max_tokens` is 0, expected 1 to 32768
        400 invalid-request max_tokens: `max_tokens` is 99999999, expected 1 to 32768
        400 invalid-request temperature: `temperature` is -0.1, expected 0 to 2
        400 invalid-json -: the body is not understood: number out of range at line 1 column 53
        400 invalid-request seed: `seed` must have 64 bits
        400 invalid-request stop: `stop`: 5 stop strings, expected at most 4
        400 invalid-request stop: `stop`: a stop string is empty, expected at least one character
        400 invalid-json -: the body is not understood: expected a string or a list of strings at line 1 column 43
        400 unsupported n: `n` is not supported, expected 1
        400 unsupported best_of: `best_of` is not supported, expected 1
        400 unsupported logprobs: `logprobs` is not supported, expected none
        400 unsupported echo: `echo` is not supported, expected none
        400 unsupported top_p: `top_p` is not supported, expected 1
        400 unsupported logit_bias: `logit_bias` is not supported, expected none
        400 unsupported response_format: `response_format` is not supported, expected {"type": "text"}
        400 invalid-request stream_options: `stream_options` is allowed with `stream: true` only
        400 invalid-request cache_salt: `cache_salt` must have 1 to 256 bytes
        400 invalid-request messages: `messages` belong to /v1/chat/completions, expected `prompt`
        400 invalid-json -: the body is not understood: invalid type: string "3", expected u64 at line 1 column 50"#]].assert_eq(&read.join("\n"));
}

#[test]
fn conversations() {
    let bodies = [
        r#""messages": [{"role": "user", "content": "abc"}]"#,
        r#""messages": [{"role": "system", "content": "a"}, {"role": "user", "content": [{"type": "text", "text": "b"}]}], "max_tokens": 9"#,
        r#""messages": [{"role": "user", "content": "a"}], "max_tokens": 9, "max_completion_tokens": 5"#,
        r#""messages": []"#,
        r#""messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]"#,
        r#""messages": [{"content": "a"}]"#,
        r#""messages": [{"role": "user", "content": "a"}], "prompt": "a""#,
        r#""messages": [{"role": "user", "content": "a"}], "tools": [{"type": "function"}]"#,
        r#""messages": [{"role": "user", "content": "a"}], "logprobs": true"#,
        r#""max_tokens": 3"#,
    ];
    let chat = |fields: &&str| read(Api::Chat, &format!(r#"{{"model": "tiny", {fields}}}"#));
    let read: Vec<String> = bodies.iter().map(chat).collect();
    expect![[r#"
        22 tokens, at most 1024, temperature 1, seed 7
        31 tokens, at most 9, temperature 1, seed 7
        20 tokens, at most 5, temperature 1, seed 7
        400 invalid-request messages: `messages` is missing or empty, expected at least one message
        400 invalid-request messages: a part of `messages` is "image_url", expected "text"
        400 invalid-json -: the body is not understood: missing field `role` at line 1 column 47
        400 invalid-request prompt: `prompt` belongs to /v1/completions, expected `messages`
        400 unsupported tools: `tools` is not supported, expected none
        400 unsupported logprobs: `logprobs` is not supported, expected none
        400 invalid-request messages: `messages` is missing or empty, expected at least one message"#]].assert_eq(&read.join("\n"));
}

const SEEDS: [&str; 3] = [
    r#"{"model": "tiny", "prompt": [[1, 2, 257]], "max_tokens": 3, "seed": -5, "stop": ["x", "yz"]}"#,
    r#"{"model": "tiny", "prompt": "a\u00e4", "temperature": 0.5, "stream": true, "stream_options": {"include_usage": true}}"#,
    r#"{"model": "tiny", "messages": [{"role": "user", "content": [{"type": "text", "text": "b"}]}], "n": 1}"#,
];

proptest! {
    #[test]
    fn broken_bodies_are_told_so_in_one_line(
        seed in 0..SEEDS.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3), 0..6),
    ) {
        let mut body = SEEDS[seed].as_bytes().to_vec();
        for (at, byte, what) in changes {
            let at = at.index(body.len());
            match what {
                0 => body[at] = byte,
                1 => body.insert(at, byte),
                _ => body.truncate(at.max(1)),
            }
        }
        let (text, front) = (text(), Setup::new().front());
        for api in [Api::Completions, Api::Chat] {
            match prepare(api, &front, &text, &body, 7) {
                Ok(prepared) => {
                    let prompt = prepared.prompt;
                    prop_assert_eq!(prompt.tokens.len() as u64, prompt.input.0);
                    prop_assert!(prompt.input.0 >= 1 && prompt.output_max.0 >= 1);
                    prop_assert_eq!(prompt.blocks.len() as u64, prompt.input.0 / front.block.0);
                }
                Err(error) => {
                    prop_assert!(error.status.is_client_error());
                    prop_assert_eq!(error.message.lines().count(), 1);
                }
            }
        }
    }
}
