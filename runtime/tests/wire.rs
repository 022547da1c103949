//! Recorded streams of events, in the encodings of five versions of vLLM and of SGLang: all lead to one index.
//!
//! `data/README.md` says which were recorded and which were written again. The streams hold prompts with shared
//! beginnings, two salts, blocks that went to make room, a replay and live messages.

use bytes::Bytes;
use conductor_core::ids::{BlockHash, NodeId};
use conductor_core::index::{BlockIndex, Matches};
use conductor_core::units::Tokens;
use conductor_events::event::Tiers;
use conductor_events::feed::{Feed, FeedCounts, Update};
use conductor_events::follower::FollowerConfig;
use conductor_events::frames;
use conductor_events::names::{CacheSpace, block_hashes, hash};
use conductor_events::recording::{self, Came, Recorded};
use conductor_events::tree::TreeConfig;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Tokens in a block of the recorded engines.
const SIZE: u64 = 32;

const FILES: [&str; 7] = [
    "vllm-0.23.0",
    "vllm-0.25.1",
    "vllm-0.26.0",
    "vllm-0.29.0",
    "vllm-0.32.0",
    "vllm-0.32.0-bytes",
    "sglang-0.5.23",
];

fn messages(name: &str) -> Vec<Recorded> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let path = root.join("tests/data").join(format!("{name}.bin"));
    let file = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    recording::read(&file).unwrap_or_else(|error| panic!("{name}: {error}"))
}

type Index = BTreeMap<BlockHash, Tiers>;

/// Plays a recording as a source would hear it; `keep` says which live messages are heard, by their place.
fn play(name: &str, own: u64, keep: impl Fn(usize) -> bool) -> (Index, FeedCounts) {
    let tree = TreeConfig::new("tiny", Tokens(own));
    let mut feed = Feed::new(FollowerConfig::new(true), tree);
    let mut index = Index::new();
    let mut updates = Vec::new();
    feed.connected(&mut updates);
    let all = messages(name);
    for (place, message) in all.iter().enumerate() {
        match message.came {
            Came::Live if !keep(place) => {}
            Came::Live => {
                let live = frames::live(&message.frames).expect("a live message");
                feed.live(live.number, live.payload, &mut updates);
            }
            Came::Replayed => {
                let attempt = asked(&updates).expect("asked at the connection").0;
                match frames::replayed(&message.frames).expect("an answer") {
                    Some(answer) => {
                        feed.replayed(attempt, answer.number, answer.payload, &mut updates);
                    }
                    None => feed.replay_ended(attempt, &mut updates),
                }
            }
        }
        answer_later_requests(&mut feed, &all[..=place], &mut updates);
    }
    for update in updates {
        match update {
            Update::Cleared => index.clear(),
            Update::Changed(changes) => {
                for change in changes {
                    let was = match change.now.is_empty() {
                        true => index.remove(&change.block),
                        false => index.insert(change.block, change.now),
                    };
                    assert_eq!(was.unwrap_or_default(), change.was);
                }
            }
            Update::Ask { .. } => {}
        }
    }
    (index, feed.counts())
}

fn asked(updates: &[Update]) -> Option<(conductor_events::follower::Attempt, u64)> {
    updates.iter().rev().find_map(|update| match update {
        Update::Ask { attempt, from } => Some((*attempt, *from)),
        _ => None,
    })
}

/// The first request is answered by the recording; one that follows a gap, by what had been published until then.
fn answer_later_requests(feed: &mut Feed, until_now: &[Recorded], updates: &mut Vec<Update>) {
    let count = |updates: &[Update]| {
        let asks = updates.iter();
        asks.filter(|update| matches!(update, Update::Ask { .. }))
            .count()
    };
    while feed.is_asking() && count(updates) > 1 {
        let (attempt, from) = asked(updates).expect("it asks");
        let mut published: BTreeMap<u64, Bytes> = BTreeMap::new();
        for message in until_now {
            let numbered = match message.came {
                Came::Live => frames::live(&message.frames).ok(),
                Came::Replayed => frames::replayed(&message.frames).ok().flatten(),
            };
            published.extend(numbered.map(|numbered| (numbered.number, numbered.payload)));
        }
        for (number, payload) in published.range(from..) {
            feed.replayed(attempt, *number, payload.clone(), updates);
        }
        feed.replay_ended(attempt, updates);
    }
}

fn digest(index: &Index) -> u64 {
    let all: Vec<u8> = index
        .keys()
        .flat_map(|block| block.0.to_le_bytes())
        .collect();
    hash(&all)
}

#[test]
fn all_encodings_lead_to_one_index() {
    let (first, counts) = play(FILES[0], SIZE, |_| true);
    let said = format!(
        "{} blocks, digest {:016x}, {} batches, {} events",
        first.len(),
        digest(&first),
        counts.follower.applied,
        counts.events
    );
    expect_test::expect!["297 blocks, digest dab31713828f5bf4, 21 batches, 60 events"]
        .assert_eq(&said);
    for name in FILES {
        let (index, counts) = play(name, SIZE, |_| true);
        assert_eq!(index, first, "{name}");
        assert_eq!(
            (counts.unknown_events, counts.unknown_fields),
            (0, 0),
            "{name}"
        );
        let tree = counts.tree;
        assert_eq!(
            (tree.orphans, tree.conflicts, tree.odd),
            (0, 0, 0),
            "{name}"
        );
        let joints = counts.blocks as usize - index.len();
        assert!(
            joints <= 5,
            "{name}: {joints} blocks that have gone are kept for those below them"
        );
        assert_eq!(counts.follower.forgotten, 0, "{name}");
    }
}

#[test]
fn what_is_lost_on_the_way_is_asked_for_and_changes_nothing() {
    for name in FILES {
        let (whole, _) = play(name, SIZE, |_| true);
        let (patched, counts) = play(name, SIZE, |place| place % 3 != 1);
        assert!(counts.follower.gaps >= 3, "{name}: {counts:?}");
        assert_eq!(patched, whole, "{name}");
    }
}

/// The prompt that `tests/vllm/requests.py` sends first begins with these; what they are does not matter, only that the
/// gateway's names of a recorded prompt are found where the engine has them.
#[test]
fn the_gateways_names_of_a_recorded_prompt_are_found() {
    let name = "vllm-0.32.0";
    let (index, _) = play(name, SIZE, |_| true);
    let mut core = BlockIndex::new(1, 1 << 16, 0);
    let blocks: Vec<BlockHash> = index.keys().copied().collect();
    core.store(NodeId(0), &blocks);
    // The system prompt is in all prompts, 256 tokens of it; it is read out of the first event of the recording.
    let first = messages(name)
        .iter()
        .find_map(|message| frames::replayed(&message.frames).ok().flatten())
        .expect("a replay");
    let batch = conductor_events::decode::batch(&first.payload).expect("a batch");
    let conductor_events::event::KvEvent::Stored(stored) = &batch.events[0] else {
        panic!("{:?}", batch.events[0]);
    };
    let space = CacheSpace {
        model: "tiny",
        ..CacheSpace::default()
    };
    let chain = block_hashes(&space, Tokens(SIZE), &stored.tokens[..256]);
    let mut matches = Matches::new(1);
    core.match_chain(&chain, &mut matches);
    assert_eq!(matches.depth_of(NodeId(0)), 8);
}

#[test]
fn own_blocks_of_several_engine_blocks_agree_too() {
    for own in [16, 64, 128] {
        let (first, counts) = play(FILES[0], own, |_| true);
        assert!(
            counts.tree.odd == 0 && !first.is_empty(),
            "own blocks of {own}"
        );
        for name in FILES {
            assert_eq!(
                play(name, own, |_| true).0,
                first,
                "{name}, own blocks of {own}"
            );
        }
    }
}
