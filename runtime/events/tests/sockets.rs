//! A source against a publisher over real sockets: late coming, loss, restarts, an end.

use crate::support::publisher::{Publisher, addresses};
use crate::support::writer::{Form, Hashes, Said, Writer};
use bytes::Bytes;
use conductor_core::ids::BlockHash;
use conductor_core::units::Tokens;
use conductor_events::names::{CacheSpace, block_hashes};
use conductor_events::source::{Source, SourceConfig, Told};
use conductor_events::tree::TreeConfig;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::mpsc;

const SIZE: u32 = 4;
const PATIENCE: Duration = Duration::from_secs(20);

/// A prompt of one block.
fn stored(block: u32) -> Bytes {
    let said = Said::Stored {
        blocks: vec![u64::from(block) + 1],
        parent: None,
        tokens: (0..SIZE).map(|token| block * 100 + token).collect(),
        size: SIZE,
        medium: "GPU",
        lora: None,
        salt: None,
    };
    Writer::batch(Form::Maps, Hashes::Unsigned, &[said])
}

fn removed(block: u32) -> Bytes {
    let said = Said::Removed {
        blocks: vec![u64::from(block) + 1],
        medium: "GPU",
    };
    Writer::batch(Form::Maps, Hashes::Unsigned, &[said])
}

fn name(block: u32) -> BlockHash {
    let space = CacheSpace {
        model: "m",
        ..CacheSpace::default()
    };
    let tokens: Vec<u32> = (0..SIZE).map(|token| block * 100 + token).collect();
    block_hashes(&space, Tokens(u64::from(SIZE)), &tokens)[0]
}

struct Listener {
    told: mpsc::Receiver<Told>,
    blocks: BTreeSet<BlockHash>,
    cleared: u32,
}

impl Listener {
    fn start(events: &str, replay: Option<&str>) -> (Source, Self) {
        let tree = TreeConfig::new("m", Tokens(u64::from(SIZE)));
        let config = SourceConfig {
            pause: Duration::from_millis(20),
            gone: Duration::from_millis(200),
            ..SourceConfig::new(events, replay, tree).expect("addresses")
        };
        let (source, told) = Source::spawn(config);
        let listener = Self {
            told,
            blocks: BTreeSet::new(),
            cleared: 0,
        };
        (source, listener)
    }

    /// Listens until exactly these blocks are there.
    async fn until(&mut self, blocks: &[u32]) {
        let wanted: BTreeSet<BlockHash> = blocks.iter().map(|&block| name(block)).collect();
        while self.blocks != wanted {
            let told = tokio::time::timeout(PATIENCE, self.told.recv()).await;
            match told.expect("in time").expect("the source runs") {
                Told::Cleared => {
                    self.cleared += 1;
                    self.blocks.clear();
                }
                Told::Changed(changes) => {
                    for change in changes {
                        match change.now.is_empty() {
                            true => self.blocks.remove(&change.block),
                            false => self.blocks.insert(change.block),
                        };
                    }
                }
            }
        }
    }
}

async fn connected(source: &Source) {
    let mut status = source.watch();
    let up = status.wait_for(|status| status.connected && !status.replaying);
    let up = tokio::time::timeout(PATIENCE, up).await;
    up.expect("in time").expect("the source runs");
}

/// Publishes until somebody hears it: a subscription takes effect some time after it was made.
async fn publish_until_heard(publisher: &mut Publisher, source: &Source, payload: &Bytes) {
    let before = source.status().counts.follower.applied;
    let heard = async {
        while source.status().counts.follower.applied == before {
            publisher.publish(payload.clone(), true).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, heard)
        .await
        .expect("in time");
}

async fn whole_life(with_topic: bool) {
    let (events, replay) = addresses();
    let mut publisher = Publisher::start(&events, &replay, with_topic).await;
    // Published before anybody listened.
    for payload in [stored(1), stored(2), removed(1)] {
        publisher.publish(payload, true).await;
    }
    let (source, mut listener) = Listener::start(&events, Some(&replay));
    listener.until(&[2]).await;
    connected(&source).await;
    publish_until_heard(&mut publisher, &source, &stored(3)).await;
    listener.until(&[2, 3]).await;
    // Lost on the way, and noticed with the next.
    publisher.publish(stored(4), false).await;
    publisher.publish(removed(2), false).await;
    publisher.publish(stored(5), true).await;
    listener.until(&[3, 4, 5]).await;
    assert_eq!(listener.cleared, 0, "nothing was lost for good");
    // Another process at the same address.
    drop(publisher);
    let mut publisher = Publisher::start(&events, &replay, with_topic).await;
    publisher.publish(stored(9), true).await;
    listener.until(&[9]).await;
    assert!(listener.cleared >= 1);
    // None at all any more.
    drop(publisher);
    listener.until(&[]).await;
}

#[tokio::test]
async fn an_engine_is_followed_through_loss_and_restart() {
    whole_life(true).await;
}

#[tokio::test]
async fn answers_without_a_topic_are_understood_too() {
    whole_life(false).await;
}

#[tokio::test]
async fn without_replay_a_new_connection_begins_anew() {
    let (events, replay) = addresses();
    let mut publisher = Publisher::start(&events, &replay, true).await;
    let (source, mut listener) = Listener::start(&events, None);
    connected(&source).await;
    publish_until_heard(&mut publisher, &source, &stored(1)).await;
    listener.until(&[1]).await;
    drop(publisher);
    listener.until(&[]).await;
    let mut publisher = Publisher::start(&events, &replay, true).await;
    publish_until_heard(&mut publisher, &source, &stored(2)).await;
    listener.until(&[2]).await;
}

#[tokio::test]
async fn a_replay_that_nobody_answers_does_not_hold_live_events_up() {
    let (events, replay) = addresses();
    let (_, nobody) = addresses();
    let mut publisher = Publisher::start(&events, &replay, true).await;
    let tree = TreeConfig::new("m", Tokens(u64::from(SIZE)));
    let config = SourceConfig {
        answer: Duration::from_millis(100),
        ..SourceConfig::new(&events, Some(&nobody), tree).expect("addresses")
    };
    let (source, told) = Source::spawn(config);
    let mut listener = Listener {
        told,
        blocks: BTreeSet::new(),
        cleared: 0,
    };
    connected(&source).await;
    publish_until_heard(&mut publisher, &source, &stored(1)).await;
    listener.until(&[1]).await;
    let error = source.status().error.expect("it is said");
    assert!(error.ends_with("no answer to a replay request"), "{error}");
}

#[test]
fn what_is_no_address_is_said() {
    let tree = || TreeConfig::new("m", Tokens(4));
    for wrong in [
        "",
        "tcp://*:5557",
        "http://a:1",
        "tcp://a",
        "tcp://a:0",
        "tcp://:5",
    ] {
        let error = SourceConfig::new(wrong, None, tree()).expect_err("no address");
        assert_eq!(
            error.to_string(),
            format!("{wrong:?}, expected tcp://HOST:PORT")
        );
    }
}
