//! The same `Idempotency-Key`, the same answer.

use crate::bench::{COMPLETIONS, Setup};

const BODY: &str = r#"{"model": "tiny", "prompt": "abc"}"#;
const STREAM: &str = r#"{"model": "tiny", "prompt": "abcdef", "stream": true}"#;
const KEY: [(&str, &str); 1] = [("idempotency-key", "k1")];

#[tokio::test]
async fn a_repeated_request_gets_the_answer_that_was_made() {
    let bench = Setup::new().start().await;
    let first = bench.post_with(COMPLETIONS, &KEY, BODY).await;
    let second = bench.post_with(COMPLETIONS, &KEY, BODY).await;
    assert_eq!(first.status, 200);
    assert_eq!(first.body, second.body);
    assert_ne!(first.header("x-request-id"), second.header("x-request-id"));
    assert_eq!(bench.arrived().await, 1);
    assert_eq!(bench.sample("conductor_repeated_total").await, 1);
    let other = [("idempotency-key", "k2")];
    assert_ne!(
        bench.post_with(COMPLETIONS, &other, BODY).await.body,
        first.body
    );
    let reply = bench.post_with(COMPLETIONS, &KEY, STREAM).await;
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (422, "idempotency-key-reused")
    );
    bench.end().await;
}

#[tokio::test]
async fn who_repeats_a_request_that_runs_reads_along_and_one_who_leaves_takes_nothing_away() {
    let bench = Setup::held().start().await;
    let mut first = bench.sent(COMPLETIONS, &KEY, STREAM).await;
    bench.fake.release(2);
    assert_eq!(first.head().await.status, 200);
    first.chunk().await.expect("a token");
    let mut second = bench.sent(COMPLETIONS, &KEY, STREAM).await;
    assert_eq!(second.head().await.status, 200);
    let mut body = second.chunk().await.expect("the tokens so far");
    drop(first);
    bench.fake.release(10);
    while let Some(chunk) = second.chunk().await {
        body.push_str(&chunk);
    }
    assert_eq!(body.matches("\"text\":\"").count(), 8);
    assert!(body.ends_with("data: [DONE]\n\n"));
    assert_eq!(bench.arrived().await, 1);
    assert_eq!(bench.post_with(COMPLETIONS, &KEY, STREAM).await.body, body);
    bench.end().await;
}

#[tokio::test]
async fn when_all_have_left_it_is_cancelled_and_then_made_anew() {
    let bench = Setup::held().start().await;
    let first = bench.sent(COMPLETIONS, &KEY, STREAM).await;
    bench.until_live(1).await;
    drop(first);
    bench.until_idle().await;
    assert_eq!(bench.fake.aborted(), [0, 1]);
    bench.fake.release(100);
    let reply = bench.post_with(COMPLETIONS, &KEY, STREAM).await;
    assert_eq!(reply.status, 200);
    assert_eq!(bench.arrived().await, 2);
    bench.end().await;
}

#[tokio::test]
async fn what_was_turned_away_is_decided_anew() {
    let bench = Setup::held().one_at_a_time().start().await;
    let mut first = bench.sent(COMPLETIONS, &[], BODY).await;
    bench.until_live(1).await;
    assert_eq!(bench.post_with(COMPLETIONS, &KEY, BODY).await.status, 429);
    bench.fake.release(100);
    assert_eq!(first.reply().await.status, 200);
    assert_eq!(bench.post_with(COMPLETIONS, &KEY, BODY).await.status, 200);
    bench.end().await;
}

#[tokio::test]
async fn the_store_has_bounds_and_forgets_the_oldest_first() {
    let mut setup = Setup::new();
    setup.config.idempotency_entries_max = 2;
    let bench = setup.start().await;
    let ask = async |key: &str| {
        let headers = [("idempotency-key", key)];
        bench.post_with(COMPLETIONS, &headers, BODY).await.body
    };
    let (a, b, c) = (ask("a").await, ask("b").await, ask("c").await);
    assert_eq!((ask("b").await, ask("c").await), (b, c));
    assert_ne!(ask("a").await, a);
    bench.end().await;
}
