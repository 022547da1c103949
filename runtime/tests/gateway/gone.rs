//! Clients that go, nodes that go, and a driver that goes.

use crate::bench::{CHAT, COMPLETIONS, Setup};

const STREAM: &str = r#"{"model": "tiny", "prompt": "abcdef", "stream": true}"#;

#[tokio::test]
async fn a_client_that_leaves_its_stream_is_cancelled_on_every_node() {
    let bench = Setup::held().start().await;
    let mut connection = bench.sent(COMPLETIONS, &[], STREAM).await;
    bench.fake.release(2);
    assert_eq!(connection.head().await.status, 200);
    let chunk = connection.chunk().await.expect("a token");
    assert!(chunk.contains("\"text\":\"a\""), "{chunk}");
    drop(connection);
    bench.until_idle().await;
    // The prefill node is done with it, and is told all the same.
    assert_eq!(bench.fake.aborted(), [0, 1]);
    assert_eq!(
        bench
            .sample("conductor_requests_total{outcome=\"cancelled\"}")
            .await,
        1
    );
    bench.end().await;
}

#[tokio::test]
async fn a_client_that_leaves_before_its_first_token_is_cancelled_too() {
    let bench = Setup::held().start().await;
    for (path, body) in [
        (COMPLETIONS, STREAM),
        (COMPLETIONS, r#"{"model": "tiny", "prompt": "abc"}"#),
        (
            CHAT,
            r#"{"model": "tiny", "messages": [{"role": "user", "content": "a"}]}"#,
        ),
    ] {
        let connection = bench.sent(path, &[], body).await;
        bench.until_live(1).await;
        drop(connection);
        bench.until_idle().await;
    }
    assert_eq!(bench.fake.aborted(), [0, 0, 0, 1, 1, 1]);
    // The nodes are free: the next one is served.
    bench.fake.release(100);
    assert_eq!(bench.post(COMPLETIONS, STREAM).await.status, 200);
    bench.end().await;
}

#[tokio::test]
async fn without_nodes_requests_are_turned_away_and_the_gateway_is_not_ready() {
    let bench = Setup::new().start().await;
    assert_eq!(bench.get("/ready").await.status, 200);
    bench.fake.down(0).await;
    let reply = bench.post(COMPLETIONS, STREAM).await;
    assert_eq!(
        (reply.status, reply.code().as_str()),
        (503, "no-prefill-node")
    );
    assert!(reply.header("retry-after").parse::<u64>().expect("seconds") >= 1);
    while bench.get("/ready").await.status != 503 {}
    assert_eq!(bench.get("/ready").await.code(), "no-nodes");
    assert_eq!(bench.get("/health").await.status, 200);
    assert_eq!(bench.sample("conductor_nodes_up").await, 1);
    bench.end().await;
}

#[tokio::test]
async fn a_lost_node_with_nobody_to_take_over_holds_the_stream_until_the_driver_ends() {
    let bench = Setup::held().start().await;
    let mut connection = bench.sent(COMPLETIONS, &[], STREAM).await;
    bench.fake.release(1);
    assert_eq!(connection.head().await.status, 200);
    connection.chunk().await.expect("the first token");
    bench.fake.down(1).await;
    bench.end_driver().await;
    let chunk = connection.chunk().await.expect("an error");
    assert!(
        chunk.starts_with("data: {\"error\":{\"message\":\"the scheduler has ended"),
        "{chunk}"
    );
    assert!(chunk.ends_with("data: [DONE]\n\n"));
    let reply = bench.post(COMPLETIONS, STREAM).await;
    assert_eq!((reply.status, reply.code().as_str()), (503, "ended"));
}
