//! Prefixes from a peer: what it has, pinned while it is read, and given back.

use crate::common::{KINDS, Kind, Node, node_with, options, pattern, run};
use conductor_core::ids::{BlockHash, NodeId};
use conductor_messenger::blocks::{Ask, Tell};
use conductor_messenger::{
    Blocks, Care, Error, Grant, Lender, NoCalls, Region, Rights, Span, fetch,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const BLOCK: u64 = 5000;

/// Blocks 100, 101, … at places in reverse, with pins.
struct Shelf {
    places: BTreeMap<BlockHash, Span>,
    pins: Mutex<BTreeMap<BlockHash, u32>>,
}

impl Shelf {
    fn new(count: u64) -> Self {
        let place = |i: u64| (BlockHash(100 + i), Span::new((count - i) * BLOCK, BLOCK));
        let places = (0..count).map(place).collect();
        let pins = Mutex::default();
        Self { places, pins }
    }

    fn pinned(&self) -> u32 {
        self.pins.lock().expect("no panic").values().sum()
    }
}

impl Blocks for Shelf {
    fn pin(&self, hashes: &[BlockHash]) -> Vec<Span> {
        let mut pins = self.pins.lock().expect("no panic");
        let here = hashes.iter().map_while(|hash| {
            let place = self.places.get(hash)?;
            *pins.entry(*hash).or_default() += 1;
            Some(*place)
        });
        here.collect()
    }

    fn unpin(&self, hashes: &[BlockHash]) {
        let mut pins = self.pins.lock().expect("no panic");
        for hash in hashes {
            let pin = pins.get_mut(hash).expect("it was pinned");
            *pin = pin.checked_sub(1).expect("it was pinned");
        }
    }
}

async fn owner(kind: Kind, lease: Duration) -> (Node, Arc<Lender<Shelf>>) {
    let lender = Arc::new(Lender::new(Shelf::new(40), lease, 4));
    let node = node_with(kind, options(1), lender.clone()).await;
    for (hash, span) in &lender.blocks().places {
        node.region
            .write(span.offset, &pattern(hash.0, BLOCK as usize));
    }
    (node, lender)
}

fn hashes(from: u64, count: u64) -> Vec<BlockHash> {
    (from..from + count).map(BlockHash).collect()
}

fn places(count: u64) -> Vec<Span> {
    (0..count).map(|i| Span::new(i * BLOCK, BLOCK)).collect()
}

fn same(region: &Region, into: &[Span], hashes: &[BlockHash]) -> bool {
    let mut pairs = into.iter().zip(hashes);
    pairs.all(|(span, hash)| region.to_vec(*span) == pattern(hash.0, BLOCK as usize))
}

#[test]
fn the_longest_prefix_comes_and_nothing_stays_pinned() {
    for kind in KINDS {
        run(async {
            let (theirs, lender) = owner(kind, Duration::from_secs(60)).await;
            let ours = node_with(kind, options(0), Arc::new(NoCalls)).await;
            let link = ours.link(theirs.transport.address()).await;
            let care = Care::default();
            let into = places(60);
            let get = |hashes: Vec<BlockHash>| {
                let (link, region, into) = (link.clone(), ours.region.clone(), into.clone());
                async move { fetch(link, &region, &hashes, &into, care).await }
            };
            let stranger = get(hashes(100, 5)).await;
            assert_eq!(stranger.err(), Some(Error::Unanswered), "not admitted yet");
            lender.admit(NodeId(0), theirs.grant(theirs.region.whole(), Rights::READ));
            // All, a tail that is missing, none, the empty chain.
            for (from, count, here) in [(100, 40, 40), (120, 30, 20), (7, 3, 0), (100, 0, 0)] {
                ours.region.write(0, &vec![0; 60 * BLOCK as usize]);
                let fetched = get(hashes(from, count)).await.expect("fetched");
                assert_eq!(fetched.blocks, here, "{kind:?} {from}");
                assert!(same(&ours.region, &into[..here], &hashes(from, count)));
                let rest = Span::new(here as u64 * BLOCK, (60 - here as u64) * BLOCK);
                assert!(ours.region.to_vec(rest).iter().all(|&byte| byte == 0));
                assert_eq!((lender.pins(), lender.blocks().pinned()), (0, 0));
            }
            let small = vec![Span::new(0, BLOCK - 1); 5];
            let unlike = fetch(link.clone(), &ours.region, &hashes(100, 5), &small, care).await;
            assert!(matches!(unlike, Err(Error::Lengths { .. })), "{unlike:?}");
            assert_eq!(lender.blocks().pinned(), 0, "given back after an error too");
            lender.dismiss(NodeId(0));
            assert_eq!(get(hashes(100, 5)).await.err(), Some(Error::Unanswered));
        });
    }
}

#[test]
fn pins_end_by_themselves_and_are_bounded() {
    run(async {
        let (theirs, lender) = owner(Kind::Tcp, Duration::from_millis(20)).await;
        lender.admit(NodeId(0), theirs.grant(theirs.region.whole(), Rights::READ));
        let ours = node_with(Kind::Tcp, options(0), Arc::new(NoCalls)).await;
        let link = ours.link(theirs.transport.address()).await;
        let ask = |ask: Ask| {
            let link = link.clone();
            async move {
                link.call(ask.to_bytes())
                    .await
                    .map(|told| Tell::parse(&told))
            }
        };
        let pin = ask(Ask::Pin(hashes(100, 3))).await;
        let Ok(Some(Tell::Pinned { pin, .. })) = pin else {
            panic!("{pin:?}");
        };
        assert_eq!(lender.blocks().pinned(), 3);
        tokio::time::sleep(Duration::from_millis(40)).await;
        lender.expire();
        assert_eq!((lender.pins(), lender.blocks().pinned()), (0, 0));
        let late = ask(Ask::Unpin(pin)).await;
        assert_eq!(
            late,
            Ok(Some(Tell::Unpinned { held: false })),
            "it is told so"
        );
        let mut told = Vec::new();
        let patient = Lender::new(Shelf::new(40), Duration::from_secs(60), 4);
        use conductor_messenger::Handler;
        patient.admit(NodeId(0), theirs.grant_all());
        for _ in 0..5 {
            told.push(
                patient
                    .call(NodeId(0), &Ask::Pin(hashes(100, 1)).to_bytes())
                    .is_some(),
            );
        }
        assert_eq!(told, [true, true, true, true, false]);
        let his = patient
            .call(NodeId(9), &Ask::Unpin(1).to_bytes())
            .expect("an answer");
        assert_eq!(
            Tell::parse(&his),
            Some(Tell::Unpinned { held: false }),
            "not his"
        );
        assert_eq!(patient.pins(), 4);
    });
}

fn grant() -> impl Strategy<Value = Grant> {
    any::<(u64, u32, u32, u8)>().prop_map(|(key, offset, bytes, rights)| Grant {
        key: conductor_messenger::Key(key),
        window: Span::new(offset.into(), bytes.into()),
        rights: Rights {
            read: rights & 1 != 0,
            write: rights & 2 != 0,
        },
    })
}

proptest! {
    #[test]
    fn messages_come_back_as_they_were(
        hashes in prop::collection::vec(any::<u64>(), 0..50),
        pin: u64, held: bool, grant in grant(),
        spans in prop::collection::vec(any::<(u32, u32)>(), 0..50),
    ) {
        let hashes = hashes.into_iter().map(BlockHash).collect();
        let spans = spans.into_iter().map(|(o, b)| Span::new(o.into(), b.into())).collect();
        for ask in [Ask::Pin(hashes), Ask::Unpin(pin)] {
            prop_assert_eq!(Ask::parse(&ask.to_bytes()), Some(ask));
        }
        for tell in [Tell::Pinned { pin, grant, spans }, Tell::Unpinned { held }] {
            prop_assert_eq!(Tell::parse(&tell.to_bytes()), Some(tell));
        }
    }

    #[test]
    fn no_message_is_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), first in 0..4u8) {
        let message: Vec<u8> = [first].into_iter().chain(bytes).collect();
        // What is understood is understood whole.
        if let Some(ask) = Ask::parse(&message) {
            prop_assert_eq!(ask.to_bytes(), message.clone());
        }
        if let Some(tell) = Tell::parse(&message) {
            prop_assert_eq!(tell.to_bytes(), message);
        }
    }
}
