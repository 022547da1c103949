//! Any bytes as a recording of an engine's events, or as payloads behind one another: no panic, errors of one line, and
//! changes that follow from each other.
#![no_main]

use bytes::Bytes;
use conductor_core::units::Tokens;
use conductor_events::decode;
use conductor_events::event::Tiers;
use conductor_events::feed::{Feed, Update};
use conductor_events::follower::FollowerConfig;
use conductor_events::frames;
use conductor_events::recording;
use conductor_events::tree::TreeConfig;
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;

fuzz_target!(|bytes: &[u8]| {
    if let Err(error) = decode::batch(bytes) {
        assert!(!error.to_string().contains('\n'));
    }
    let Some((&own, rest)) = bytes.split_first() else { return };
    let own = Tokens(u64::from(own));
    let updates = all(own, rest);
    assert!(updates == all(own, rest));
    let mut lies: BTreeMap<_, Tiers> = BTreeMap::new();
    for update in updates {
        match update {
            Update::Cleared => lies.clear(),
            Update::Changed(changes) => {
                for change in changes {
                    let was = lies.insert(change.block, change.now).unwrap_or_default();
                    assert!(was == change.was);
                }
            }
            Update::Ask { .. } => {}
        }
    }
});

/// A recording's messages, or else payloads of a byte's length each.
fn all(own: Tokens, bytes: &[u8]) -> Vec<Update> {
    let mut feed = Feed::new(FollowerConfig::new(false), TreeConfig::new("m", own));
    let mut updates = Vec::new();
    if let Ok(messages) = recording::read(bytes) {
        for message in messages {
            if let Ok(live) = frames::live(&message.frames) {
                feed.live(live.number, live.payload, &mut updates);
            }
        }
        return updates;
    }
    let (mut rest, mut number) = (bytes, 0);
    while let Some((&length, behind)) = rest.split_first() {
        let (payload, behind) = behind.split_at(behind.len().min(usize::from(length)));
        feed.live(number, Bytes::copy_from_slice(payload), &mut updates);
        (rest, number) = (behind, number + 1);
    }
    updates
}
