//! Nodes that are killed, that stand still, that cannot do what they are asked: the client's stream goes on elsewhere
//! with the same tokens, or ends with a clear error.

use crate::client::Ask;
use crate::cluster::{Cluster, Setup, until};
use std::time::{Duration, Instant};

/// A prompt of 45 tokens for each of `times`, another one for each number.
fn prompt(number: u32, times: usize) -> String {
    format!(
        "{number} {}",
        "All work and no play makes Jack a dull boy. ".repeat(times)
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prefill_node_is_killed_in_the_middle_of_a_prefill() {
    let mut cluster = Cluster::start(&Setup::new(2, 2));
    let asks: Vec<Ask> = (0..6).map(|i| Ask::new(prompt(i, 24), 8)).collect();
    let mut expected = Vec::new();
    for ask in &asks {
        expected.push(cluster.answer(ask).await.text);
    }
    // Without what they left in the caches.
    for node in [0, 1] {
        cluster.kill(node);
        cluster.revive(node);
    }
    cluster.up(4).await;
    let asked: Vec<_> = asks.iter().map(|ask| cluster.ask(ask)).collect();
    let node = cluster.computing(0..2).await;
    cluster.kill(node);
    for (asked, expected) in asked.into_iter().zip(expected) {
        let said = asked.said().await;
        assert!(said.done && said.error.is_none(), "{said:?}");
        assert_eq!((said.text, said.tokens), (expected, 8));
    }
    assert!(cluster.metric("resubmitted_total").await >= 1);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decode_node_is_killed_in_the_middle_of_a_stream() {
    let mut cluster = Cluster::start(&Setup::new(2, 2));
    let ask = Ask::new(prompt(0, 8), 400);
    let expected = cluster.answer(&ask).await;
    let mut asked = cluster.ask(&ask);
    asked.has(20).await;
    let node = cluster.computing(2..4).await;
    cluster.kill(node);
    let said = asked.said().await;
    assert_eq!((said.text, said.tokens), (expected.text, 400));
    assert!(said.done && said.error.is_none());
    assert_eq!(cluster.metric("resubmitted_total").await, 1);
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prefill_and_a_decode_node_stand_still_for_ten_seconds() {
    let cluster = Cluster::start(&Setup::new(2, 2));
    let ask = Ask::new(prompt(0, 8), 400);
    let expected = cluster.answer(&ask).await;
    let mut asked = cluster.ask(&ask);
    asked.has(20).await;
    let node = cluster.computing(2..4).await;
    let stopped = Instant::now();
    for node in [0, node] {
        cluster.signal(node, "-STOP");
    }
    let said = asked.said().await;
    assert_eq!((said.text, said.tokens), (expected.text, 400));
    cluster.up(2).await;
    // Others are served meanwhile.
    cluster.answer(&Ask::new(prompt(1, 8), 20)).await;
    tokio::time::sleep(Duration::from_secs(10).saturating_sub(stopped.elapsed())).await;
    for node in [0, node] {
        cluster.signal(node, "-CONT");
    }
    cluster.up(4).await;
    // What it did when it was stopped it has given up; it serves again.
    cluster.is_still().await;
    let again = [2, 3, 4, 5].map(|i| cluster.ask(&Ask::new(prompt(i, 8), 20)));
    for asked in again {
        assert_eq!(asked.said().await.tokens, 20);
    }
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_every_node_fails_ends_with_an_error() {
    let setup = Setup {
        engine: "kind = \"sleep\"\npositions = 64",
        ..Setup::new(2, 2)
    };
    let cluster = Cluster::start(&setup);
    let said = cluster.ask(&Ask::new(prompt(0, 3), 8)).said().await;
    let code = Some("too-many-attempts".to_owned());
    assert_eq!((said.status, said.error), (503, code));
    assert_eq!(cluster.metric("given_up_total").await, 1);
    assert_eq!(cluster.metric("lost_attempts_total").await, 8);
    // It was this one's fault.
    cluster.answer(&Ask::new("short", 8)).await;
    cluster.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_ends_with_an_error_when_nothing_is_left_to_run_it() {
    let setup = Setup {
        policy: "[lost]\nwait_s = 2.0\n",
        ..Setup::new(1, 2)
    };
    let mut cluster = Cluster::start(&setup);
    let ask = Ask::new(prompt(0, 4), 2_000);
    let mut asked = cluster.ask(&ask);
    asked.has(20).await;
    for node in [1, 2] {
        cluster.kill(node);
    }
    let said = asked.said().await;
    let code = Some("no-decode-node".to_owned());
    assert_eq!((said.status, said.error), (200, code));
    assert!(said.tokens >= 20 && said.tokens < 2_000);
    assert_eq!(cluster.ask(&ask).said().await.status, 503);
    // When there are nodes again there are answers.
    cluster.revive(1);
    let up = async || cluster.metric("nodes_up").await == 2;
    until("a decode node is up", up).await;
    cluster.answer(&Ask::new(prompt(0, 4), 20)).await;
    cluster.end().await;
}
