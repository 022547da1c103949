//! Answers as clients read them, byte for byte.

use crate::bench::{CHAT, COMPLETIONS, Setup};
use crate::support::http::Reply;
use expect_test::{Expect, expect};

const NAMED: [(&str, &str); 1] = [("x-request-id", "r1")];

/// The time of day is the only thing that differs between runs.
fn check(reply: &Reply, expected: &Expect) {
    let mut text = String::new();
    let mut rest = reply.body.as_str();
    while let Some((before, behind)) = rest.split_once("\"created\":") {
        text.push_str(before);
        text.push_str("\"created\":0");
        rest = behind.trim_start_matches(|c: char| c.is_ascii_digit());
    }
    text.push_str(rest);
    expected.assert_eq(&text);
}

#[tokio::test]
async fn a_completion() {
    let bench = Setup::new().start().await;
    let body = r#"{"model": "tiny", "prompt": "hälló 🦀"}"#;
    let reply = bench.post_with(COMPLETIONS, &NAMED, body).await;
    assert_eq!((reply.status, reply.header("x-request-id")), (200, "r1"));
    assert_eq!(reply.header("content-type"), "application/json");
    check(
        &reply,
        &expect![[
            r#"{"id":"cmpl-r1","object":"text_completion","created":0,"model":"tiny","choices":[{"index":0,"text":"hälló 🦀","logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":12,"completion_tokens":13,"total_tokens":25,"prompt_tokens_details":{"cached_tokens":0}}}"#
        ]],
    );
    bench.end().await;
}

#[tokio::test]
async fn a_completion_that_is_cut() {
    let bench = Setup::new().start().await;
    let body = r#"{"model": "tiny", "prompt": [104, 195, 164], "max_tokens": 2}"#;
    let reply = bench.post_with(COMPLETIONS, &NAMED, body).await;
    check(
        &reply,
        &expect![[
            r#"{"id":"cmpl-r1","object":"text_completion","created":0,"model":"tiny","choices":[{"index":0,"text":"h�","logprobs":null,"finish_reason":"length"}],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5,"prompt_tokens_details":{"cached_tokens":0}}}"#
        ]],
    );
    bench.end().await;
}

#[tokio::test]
async fn a_chat() {
    let bench = Setup::new().start().await;
    let body = r#"{"model": "tiny", "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]}"#;
    let reply = bench.post_with(CHAT, &NAMED, body).await;
    check(
        &reply,
        &expect![[
            r#"{"id":"chatcmpl-r1","object":"chat.completion","created":0,"model":"tiny","choices":[{"index":0,"message":{"role":"assistant","content":"user\nhi"},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":21,"completion_tokens":9,"total_tokens":30,"prompt_tokens_details":{"cached_tokens":0}}}"#
        ]],
    );
    bench.end().await;
}

#[tokio::test]
async fn a_streamed_completion_with_its_usage() {
    let bench = Setup::new().start().await;
    let body = r#"{"model": "tiny", "prompt": "aä", "stream": true, "stream_options": {"include_usage": true}}"#;
    let reply = bench.post_with(COMPLETIONS, &NAMED, body).await;
    assert_eq!(
        reply.header("content-type"),
        "text/event-stream; charset=utf-8"
    );
    check(
        &reply,
        &expect![[r#"
        data: {"id":"cmpl-r1","object":"text_completion","created":0,"model":"tiny","choices":[{"index":0,"text":"a","logprobs":null,"finish_reason":null}],"usage":null}

        data: {"id":"cmpl-r1","object":"text_completion","created":0,"model":"tiny","choices":[{"index":0,"text":"","logprobs":null,"finish_reason":null}],"usage":null}

        data: {"id":"cmpl-r1","object":"text_completion","created":0,"model":"tiny","choices":[{"index":0,"text":"ä","logprobs":null,"finish_reason":null}],"usage":null}

        data: {"id":"cmpl-r1","object":"text_completion","created":0,"model":"tiny","choices":[{"index":0,"text":"","logprobs":null,"finish_reason":null}],"usage":null}

        data: {"id":"cmpl-r1","object":"text_completion","created":0,"model":"tiny","choices":[{"index":0,"text":"","logprobs":null,"finish_reason":"stop"}],"usage":null}

        data: {"id":"cmpl-r1","object":"text_completion","created":0,"model":"tiny","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4,"total_tokens":7,"prompt_tokens_details":{"cached_tokens":0}}}

        data: [DONE]

    "#]],
    );
    bench.end().await;
}

#[tokio::test]
async fn a_streamed_chat() {
    let bench = Setup::new().start().await;
    let body = r#"{"model": "tiny", "messages": [{"role": "user", "content": "x"}], "stream": true, "max_completion_tokens": 4}"#;
    let reply = bench.post_with(CHAT, &NAMED, body).await;
    check(
        &reply,
        &expect![[r#"
        data: {"id":"chatcmpl-r1","object":"chat.completion.chunk","created":0,"model":"tiny","choices":[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}

        data: {"id":"chatcmpl-r1","object":"chat.completion.chunk","created":0,"model":"tiny","choices":[{"index":0,"delta":{"content":""},"logprobs":null,"finish_reason":null}]}

        data: {"id":"chatcmpl-r1","object":"chat.completion.chunk","created":0,"model":"tiny","choices":[{"index":0,"delta":{"content":"u"},"logprobs":null,"finish_reason":null}]}

        data: {"id":"chatcmpl-r1","object":"chat.completion.chunk","created":0,"model":"tiny","choices":[{"index":0,"delta":{"content":"s"},"logprobs":null,"finish_reason":null}]}

        data: {"id":"chatcmpl-r1","object":"chat.completion.chunk","created":0,"model":"tiny","choices":[{"index":0,"delta":{"content":"e"},"logprobs":null,"finish_reason":null}]}

        data: {"id":"chatcmpl-r1","object":"chat.completion.chunk","created":0,"model":"tiny","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"length"}]}

        data: [DONE]

    "#]],
    );
    bench.end().await;
}

#[tokio::test]
async fn the_list_of_models() {
    let mut setup = Setup::new();
    setup.config.adapters = vec!["tiny-sql".into()];
    let bench = setup.start().await;
    check(
        &bench.get("/v1/models").await,
        &expect![[
            r#"{"object":"list","data":[{"id":"tiny","object":"model","created":0,"owned_by":"conductor","parent":null,"max_model_len":1048576},{"id":"tiny-sql","object":"model","created":0,"owned_by":"conductor","parent":"tiny","max_model_len":1048576}]}"#
        ]],
    );
    bench.end().await;
}

#[tokio::test]
async fn errors_in_openai_form() {
    let bench = Setup::new().start().await;
    let reply = bench
        .post(COMPLETIONS, r#"{"model": "gpt", "prompt": "a"}"#)
        .await;
    assert_eq!(reply.status, 404);
    check(
        &reply,
        &expect![[
            r#"{"error":{"message":"the model \"gpt\" does not exist here","type":"not_found_error","param":"model","code":"model-not-found"}}"#
        ]],
    );
    let reply = bench
        .post(COMPLETIONS, r#"{"model": "tiny", "prompt": "a", "n": 2}"#)
        .await;
    assert_eq!(reply.status, 400);
    check(
        &reply,
        &expect![[
            r#"{"error":{"message":"`n` is not supported, expected 1","type":"invalid_request_error","param":"n","code":"unsupported"}}"#
        ]],
    );
    let reply = bench.post(COMPLETIONS, "{\"model\":\n 3}").await;
    assert_eq!(reply.status, 400);
    check(
        &reply,
        &expect![[
            r#"{"error":{"message":"the body is not understood: invalid type: integer `3`, expected a string at line 2 column 2","type":"invalid_request_error","param":null,"code":"invalid-json"}}"#
        ]],
    );
    assert_eq!(bench.get("/v1/else").await.status, 404);
    assert_eq!(bench.get(COMPLETIONS).await.status, 405);
    bench.end().await;
}

#[tokio::test]
async fn what_was_cached_is_said() {
    let bench = Setup::new().start().await;
    let ask = async |prompt: &str, salt: &str| {
        let body = format!(r#"{{"model": "tiny", "prompt": "{prompt}"{salt}}}"#);
        let reply = bench.post(COMPLETIONS, &body).await;
        let usage = reply.json()["usage"].clone();
        assert_eq!(usage["prompt_tokens"], 1100);
        usage["prompt_tokens_details"]["cached_tokens"]
            .as_u64()
            .expect("a number")
    };
    let prompt = "a".repeat(1100);
    assert_eq!(ask(&prompt, "").await, 0);
    assert_eq!(ask(&prompt, "").await, 1024);
    let other = format!("{}{}", "a".repeat(600), "b".repeat(500));
    assert_eq!(ask(&other, "").await, 512);
    assert_eq!(ask(&prompt, r#", "cache_salt": "mine""#).await, 0);
    assert_eq!(ask(&prompt, r#", "cache_salt": "mine""#).await, 1024);
    bench.end().await;
}

#[tokio::test]
async fn stop_strings_end_answers_across_tokens() {
    let bench = Setup::new().start().await;
    for (stop, text, tokens) in [
        (r#""cd""#, "ab", 4),
        (r#"["xx", "ä", "e"]"#, "abcd", 5),
        (r#""zz""#, "abcdeä", 8),
    ] {
        for stream in [false, true] {
            let body = format!(
                r#"{{"model": "tiny", "prompt": "abcdeä", "stop": {stop}, "stream": {stream}}}"#
            );
            let reply = bench.post(COMPLETIONS, &body).await;
            if stream {
                let events = reply.body.split("\n\n");
                let events = events.filter_map(|event| event.strip_prefix("data: {"));
                let events: Vec<serde_json::Value> = events
                    .map(|event| serde_json::from_str(&format!("{{{event}")).expect("JSON"))
                    .collect();
                let said = events
                    .iter()
                    .map(|e| e["choices"][0]["text"].as_str().expect("text"));
                assert_eq!(said.collect::<String>(), text);
                let (last, all) = events.split_last().expect("events");
                assert_eq!(last["choices"][0]["finish_reason"], "stop");
                assert_eq!(all.len(), tokens);
                continue;
            }
            let json = reply.json();
            assert_eq!(json["choices"][0]["text"], text);
            assert_eq!(json["choices"][0]["finish_reason"], "stop");
            assert_eq!(json["usage"]["completion_tokens"], tokens);
        }
    }
    bench.until_idle().await;
    bench.end().await;
}

#[tokio::test]
async fn an_ignored_end_is_no_end() {
    let bench = Setup::new().start().await;
    let body = r#"{"model": "tiny", "prompt": "ab", "max_tokens": 5, "ignore_eos": true}"#;
    let json = bench.post(COMPLETIONS, body).await.json();
    assert_eq!(json["choices"][0]["text"], "ababa");
    assert_eq!(json["choices"][0]["finish_reason"], "length");
    bench.end().await;
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let bench = Setup::new().start().await;
    let mut connection = bench
        .sent(COMPLETIONS, &[], r#"{"model": "tiny", "prompt": "a"}"#)
        .await;
    for text in ["a", "b", "c"] {
        let json = connection.reply().await.json();
        assert_eq!(json["choices"][0]["text"], text);
        let next = (text.as_bytes()[0] + 1) as char;
        let body = format!(r#"{{"model": "tiny", "prompt": "{next}", "stream": false}}"#);
        connection.request("POST", COMPLETIONS, &[], &body).await;
    }
    bench.end().await;
}
