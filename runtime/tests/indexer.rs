//! The indexer over HTTP, fed by a publisher over real sockets.

#[path = "../events/tests/support/publisher.rs"]
mod publisher;
#[path = "../events/tests/support/writer.rs"]
mod writer;

use conductor_runtime::indexer::{IndexerConfig, serve};
use publisher::{Publisher, addresses};
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use twox_hash::XxHash3_64;
use writer::{Form, Hashes, Said, Writer};

const SIZE: u32 = 4;
const PATIENCE: Duration = Duration::from_secs(20);

/// An indexer that serves until the test ends.
async fn start(config: IndexerConfig) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(serve(config, listener, std::future::pending()));
    address
}

/// Status and body of a request.
async fn send(at: SocketAddr, method: &str, path: &str, body: &str) -> (u16, String) {
    let exchange = async {
        let mut stream = TcpStream::connect(at).await.expect("it listens");
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.expect("it reads");
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .await
            .expect("it answers");
        let status = answer.split(' ').nth(1).and_then(|word| word.parse().ok());
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        (status.expect("a status"), body.to_owned())
    };
    tokio::time::timeout(PATIENCE, exchange)
        .await
        .expect("in time")
}

async fn post(at: SocketAddr, path: &str, body: Value) -> (u16, Value) {
    let (status, body) = send(at, "POST", path, &body.to_string()).await;
    (status, serde_json::from_str(&body).expect("JSON"))
}

fn registration(events: &str, replay: &str, instance: &str, rank: u32) -> Value {
    json!({
        "endpoint": events, "replay_endpoint": replay, "type": "vLLM", "modelname": "m",
        "instance_id": instance, "block_size": SIZE, "dp_rank": rank
    })
}

/// Blocks of a prompt from `first` on, of tokens 0, 1, 2, …
fn stored(first: u64, count: u64, medium: &'static str, salt: Option<&'static str>) -> Said {
    let name = |block: u64| block + 1 + if salt.is_some() { 1000 } else { 0 };
    let tokens = first as u32 * SIZE..(first + count) as u32 * SIZE;
    Said::Stored {
        blocks: (first..first + count).map(name).collect(),
        parent: (first > 0).then(|| name(first - 1)),
        tokens: tokens.collect(),
        size: SIZE,
        medium,
        lora: None,
        salt,
    }
}

fn batch(said: Said) -> bytes::Bytes {
    Writer::batch(Form::Maps, Hashes::Unsigned, &[said])
}

/// Asks until this is the answer.
async fn until(at: SocketAddr, path: &str, question: Value, wanted: Value) {
    let mut last = Value::Null;
    let asked = async {
        loop {
            let (status, answer) = post(at, path, question.clone()).await;
            if (status, &answer) == (200, &wanted) {
                return;
            }
            last = answer;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let asked = tokio::time::timeout(PATIENCE, asked).await;
    assert!(asked.is_ok(), "expected {wanted}, last {last}");
}

fn tokens(count: u32) -> Vec<u32> {
    (0..count).collect()
}

#[tokio::test]
async fn the_published_interface_answers_over_what_engines_say() {
    let at = start(IndexerConfig::default()).await;
    let (events, replay) = addresses();
    let mut publisher = Publisher::start(&events, &replay, true).await;
    publisher
        .publish(batch(stored(0, 3, "GPU", None)), true)
        .await;
    publisher
        .publish(batch(stored(0, 2, "CPU", None)), true)
        .await;
    publisher
        .publish(batch(stored(0, 1, "GPU", Some("tenantA"))), true)
        .await;
    let registered = post(at, "/register", registration(&events, &replay, "one", 0)).await;
    assert_eq!(
        registered,
        (
            200,
            json!({"status": "registered successfully", "instance_id": "one"})
        )
    );
    // Whole blocks only: 13 tokens are three of them, of which the engine has three.
    let hit = json!({"longest_matched": 12, "GPU": 12, "CPU": 8, "DISK": 0, "DP": {"0": 12}});
    let question = json!({"model": "m", "token_ids": tokens(13), "block_size": SIZE});
    until(
        at,
        "/query",
        question.clone(),
        json!({"default": {"one": hit}}),
    )
    .await;
    // What is set apart is apart.
    let salted =
        json!({"model": "m", "token_ids": tokens(13), "block_size": SIZE, "cache_salt": "tenantA"});
    let hit = json!({"longest_matched": 4, "GPU": 4, "CPU": 0, "DISK": 0, "DP": {"0": 4}});
    until(at, "/query", salted, json!({"default": {"one": hit}})).await;
    // By hashes that anybody can compute: XXH3-64 with seed 1337, rolling.
    let hash = |bytes: &[u8]| XxHash3_64::oneshot_with_seed(1337, bytes);
    let local = |first: u32| {
        let bytes: Vec<u8> = (first..first + SIZE).flat_map(u32::to_le_bytes).collect();
        hash(&bytes)
    };
    let second = hash(&[local(0).to_le_bytes(), local(SIZE).to_le_bytes()].concat());
    for name in ["seq_hashes", "block_hash"] {
        let mut question = json!({"model": "m", "block_size": SIZE, "instance_id": "one"});
        question[name] = json!([local(0), second]);
        let hit = json!({"longest_matched": 8, "GPU": 8, "CPU": 8, "DISK": 0, "DP": {"0": 8}});
        until(
            at,
            "/query_by_hash",
            question,
            json!({"default": {"one": hit}}),
        )
        .await;
    }
    // What goes and comes again, in whatever form it is said.
    let removed = Said::Removed {
        blocks: vec![3],
        medium: "GPU",
    };
    let removed = Writer::batch(Form::Arrays, Hashes::Signed, &[removed]);
    publisher.publish(removed, true).await;
    let hit = json!({"longest_matched": 8, "GPU": 8, "CPU": 8, "DISK": 0, "DP": {"0": 8}});
    until(
        at,
        "/query",
        question.clone(),
        json!({"default": {"one": hit}}),
    )
    .await;
    let anew = [Said::Cleared, stored(0, 1, "GPU", None)];
    let anew = Writer::batch(Form::Maps, Hashes::Bytes, &anew);
    publisher.publish(anew, true).await;
    let hit = json!({"longest_matched": 4, "GPU": 4, "CPU": 0, "DISK": 0, "DP": {"0": 4}});
    until(
        at,
        "/query",
        question.clone(),
        json!({"default": {"one": hit}}),
    )
    .await;
    let nobody = json!({"model": "other", "token_ids": tokens(13), "block_size": SIZE});
    assert_eq!(
        post(at, "/query", nobody).await,
        (200, json!({"default": {}}))
    );
    let gone = json!({"type": "vLLM", "modelname": "m", "instance_id": "one", "block_size": SIZE, "dp_rank": 0});
    assert_eq!(
        post(at, "/unregister", gone.clone()).await,
        (
            200,
            json!({"status": "unregistered successfully", "removed_instances": ["one|default|0"]})
        )
    );
    assert_eq!(
        post(at, "/query", question).await,
        (200, json!({"default": {}}))
    );
    assert_eq!(post(at, "/unregister", gone).await.0, 404);
}

#[tokio::test]
async fn ranks_are_one_instance_and_tiers_together_one_prefix() {
    let at = start(IndexerConfig::default()).await;
    let ((events, replay), (others, other_replay)) = (addresses(), addresses());
    let mut first = Publisher::start(&events, &replay, true).await;
    let mut second = Publisher::start(&others, &other_replay, false).await;
    first.publish(batch(stored(0, 1, "GPU", None)), true).await;
    // The front on the host, the rest on the device: whole together, and nothing on the device alone.
    second.publish(batch(stored(0, 2, "CPU", None)), true).await;
    second.publish(batch(stored(2, 2, "GPU", None)), true).await;
    for (rank, (events, replay)) in [(0, (&events, &replay)), (1, (&others, &other_replay))] {
        let registered = post(at, "/register", registration(events, replay, "one", rank)).await;
        assert_eq!(registered.0, 200);
    }
    let question = json!({"model": "m", "token_ids": tokens(64), "block_size": SIZE});
    let hit =
        json!({"longest_matched": 16, "GPU": 4, "CPU": 8, "DISK": 0, "DP": {"0": 4, "1": 16}});
    until(at, "/query", question, json!({"default": {"one": hit}})).await;
    let (status, metrics) = send(at, "GET", "/metrics", "").await;
    assert_eq!(status, 200);
    assert!(
        metrics.contains("conductor_indexer_blocks 4\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("conductor_indexer_publisher_connected{publisher=\"one|default|1\"} 1\n"),
        "{metrics}"
    );
}

#[tokio::test]
async fn what_cannot_be_is_said_with_its_field() {
    let at = start(IndexerConfig {
        publishers_max: 1,
        body_bytes_max: 1000,
        ..IndexerConfig::default()
    })
    .await;
    let (events, replay) = addresses();
    let with = |field: &str, value: Value| {
        let mut asked = registration(&events, &replay, "one", 0);
        asked[field] = value;
        asked
    };
    for (asked, expected) in [
        (
            with("type", json!("TGI")),
            "type: \"TGI\", expected vLLM, SGLang or Mooncake",
        ),
        (
            with("block_size", json!(0)),
            "block_size: 0, expected 1 to 65536 tokens",
        ),
        (
            with("instance_id", json!("")),
            "instance_id: 0 bytes, expected 1 to 512 bytes",
        ),
    ] {
        assert_eq!(
            post(at, "/register", asked).await,
            (400, json!({"error": expected}))
        );
    }
    let (status, answer) = post(at, "/register", with("endpoint", json!("tcp://*:1"))).await;
    assert_eq!(status, 400, "{answer}");
    assert_eq!(post(at, "/register", json!({"endpoint": "x"})).await.0, 400);
    assert_eq!(
        post(at, "/query", json!({"model": "m".repeat(2000)}))
            .await
            .0,
        413
    );
    assert_eq!(
        post(at, "/register", registration(&events, &replay, "one", 0))
            .await
            .0,
        200
    );
    assert_eq!(
        post(at, "/register", registration(&events, &replay, "two", 0))
            .await
            .0,
        503
    );
    // The same again is the same one, and takes no more room.
    assert_eq!(
        post(at, "/register", registration(&events, &replay, "one", 0))
            .await
            .0,
        200
    );
    assert_eq!(send(at, "GET", "/health", "").await, (200, "ok\n".into()));
}
