//! Bounds: of bodies, heads, waits, connections, and who may ask.

use crate::bench::{COMPLETIONS, Setup};
use crate::support::http::Connection;
use std::io::Write;

const BODY: &str = r#"{"model": "tiny", "prompt": "abc"}"#;

#[tokio::test]
async fn bodies_have_a_bound_whether_or_not_they_say_their_length() {
    let mut setup = Setup::new();
    setup.config.body_bytes_max = 1024;
    let bench = setup.start().await;
    let long = format!(r#"{{"model": "tiny", "prompt": "{}"}}"#, "a".repeat(2000));
    let reply = bench.post(COMPLETIONS, &long).await;
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (413, "body-too-large")
    );
    let mut connection = Connection::open(bench.address).await;
    let head = "POST /v1/completions HTTP/1.1\r\nhost: t\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = format!("400\r\n{}\r\n", " ".repeat(0x400));
    connection
        .write(format!("{head}{chunk}{chunk}").as_bytes())
        .await;
    assert_eq!(connection.reply().await.status, 413);
    assert_eq!(bench.post(COMPLETIONS, BODY).await.status, 200);
    bench.end().await;
}

#[tokio::test]
async fn bodies_and_heads_must_come_in_time() {
    let mut setup = Setup::new();
    setup.config.body_read_s = 1;
    setup.config.header_read_s = 1;
    let bench = setup.start().await;
    let mut half = Connection::open(bench.address).await;
    half.write(b"POST /v1/completions HTTP/1.1\r\nhost: t\r\ncontent-length: 10\r\n\r\n{")
        .await;
    let reply = half.reply().await;
    assert_eq!((reply.status, reply.code().as_str()), (408, "body-timeout"));
    let mut slow = Connection::open(bench.address).await;
    slow.write(b"POST /v1/compl").await;
    assert!(slow.is_closed().await);
    // One that is kept and idle, too.
    let mut idle = bench.sent(COMPLETIONS, &[], BODY).await;
    assert_eq!(idle.reply().await.status, 200);
    assert!(idle.is_closed().await);
    bench.end().await;
}

#[tokio::test]
async fn connections_have_a_bound() {
    let mut setup = Setup::new();
    setup.config.connections_max = 1;
    let bench = setup.start().await;
    let mut first = bench.sent(COMPLETIONS, &[], BODY).await;
    assert_eq!(first.reply().await.status, 200);
    let mut second = Connection::open(bench.address).await;
    let refused = second.reply().await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, "1"));
    assert!(second.is_closed().await);
    first.request("GET", "/metrics", &[], "").await;
    let page = first.reply().await.body;
    assert!(page.contains("conductor_connections_refused_total 1\n"));
    bench.end().await;
}

#[tokio::test]
async fn prompts_and_answers_have_bounds() {
    let mut setup = Setup::new();
    setup.config.prompt_tokens_max = 5;
    setup.config.output_tokens_max = 7;
    setup.config.output_tokens_default = 7;
    let bench = setup.start().await;
    let ask = async |prompt: &str, more: &str| {
        let body = format!(r#"{{"model": "tiny", "prompt": {prompt}{more}}}"#);
        let reply = bench.post(COMPLETIONS, &body).await;
        match reply.status {
            200 => "ok".to_owned(),
            _ => format!("{} {}", reply.status, reply.code()),
        }
    };
    assert_eq!(ask("\"abcde\"", "").await, "ok");
    assert_eq!(ask("\"abcdef\"", "").await, "400 context-length-exceeded");
    assert_eq!(
        ask("[1,2,3,4,5,6]", "").await,
        "400 context-length-exceeded"
    );
    assert_eq!(ask("\"a\"", ", \"max_tokens\": 7").await, "ok");
    assert_eq!(
        ask("\"a\"", ", \"max_tokens\": 8").await,
        "400 invalid-request"
    );
    assert_eq!(
        bench
            .sample("conductor_errors_total{code=\"context-length-exceeded\"}")
            .await,
        2
    );
    assert_eq!(
        bench
            .sample("conductor_requests_total{outcome=\"refused\"}")
            .await,
        3
    );
    bench.end().await;
}

#[tokio::test]
async fn where_there_are_keys_one_must_be_shown() {
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    writeln!(file, "# people\nsecret-1\n\n  secret-2  ").expect("written");
    let mut setup = Setup::new();
    setup.config.api_key_file = Some(file.path().to_owned());
    let bench = setup.start().await;
    let ask = async |header: &str| {
        let headers = [("authorization", header)];
        bench.post_with(COMPLETIONS, &headers, BODY).await.status
    };
    assert_eq!(ask("Bearer secret-2").await, 200);
    for wrong in [
        "Bearer secret-3",
        "Bearer secret-11",
        "Bearer ",
        "Basic secret-1",
        "secret-1",
    ] {
        assert_eq!(ask(wrong).await, 401, "{wrong}");
    }
    let reply = bench.post(COMPLETIONS, BODY).await;
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (401, "invalid-api-key")
    );
    assert_eq!(bench.get("/v1/models").await.status, 401);
    assert_eq!(bench.get("/health").await.status, 200);
    bench.end().await;
}

#[tokio::test]
async fn a_gateway_that_cannot_be_says_why() {
    let error = async |change: &dyn Fn(&mut Setup)| {
        let mut setup = Setup::new();
        change(&mut setup);
        let served = setup.start().await.served.await.expect("no panic");
        served.expect_err("cannot be").to_string()
    };
    let found = error(&|setup| setup.config.concurrent_max = 0).await;
    assert_eq!(
        found,
        "`gateway.concurrent_max`: 0, expected a number from 1 to 1048576"
    );
    let found = error(&|setup| setup.config.api_key_file = Some("/none".into())).await;
    assert!(
        found.starts_with("`gateway.api_key_file`: /none: "),
        "{found}"
    );
}

#[tokio::test]
async fn names_of_requests_are_taken_if_they_are_clean() {
    let bench = Setup::new().start().await;
    let ask = async |name: &str| {
        let headers = [("x-request-id", name)];
        let reply = bench.post_with(COMPLETIONS, &headers, BODY).await;
        let id = reply.json()["id"].as_str().expect("an id").to_owned();
        let name = reply.header("x-request-id").to_owned();
        assert_eq!(id, format!("cmpl-{name}"));
        name
    };
    assert_eq!(ask("abc-1").await, "abc-1");
    let made = ask("with blank").await;
    assert_eq!(made.len(), 16);
    assert_ne!(ask(&"x".repeat(129)).await, made);
    bench.end().await;
}
