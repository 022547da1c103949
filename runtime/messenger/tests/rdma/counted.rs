//! Queue pairs and registrations are counted, by the kernel: none is left behind, and no more are there than may be.

use super::{bind, settings, shell};
use crate::common::{options, run};
use conductor_core::ids::NodeId;
use conductor_messenger::verbs::Settings;
use conductor_messenger::{Access, NoCalls, Op, Pages, Region, Rights, Span, Transport};
use std::sync::Arc;

/// What the kernel counts for all devices: queue pairs, completion queues, domains, regions.
fn resources() -> Vec<(String, u64)> {
    let said = shell("/sbin/rdma resource show");
    let mut totals = vec![("qp", 0), ("cq", 0), ("pd", 0), ("mr", 0)];
    for line in said.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        for (name, total) in &mut totals {
            let place = words.iter().position(|word| word == name);
            let count = place.and_then(|at| words.get(at + 1)?.parse::<u64>().ok());
            *total += count.unwrap_or(0);
        }
    }
    let named = totals
        .into_iter()
        .map(|(name, total)| (name.to_owned(), total));
    named.collect()
}

/// Waits until the other side has noticed that a connection has ended.
async fn settled(expected: &[(String, u64)]) -> Vec<(String, u64)> {
    let mut now = resources();
    for _ in 0..100 {
        if now == expected {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        now = resources();
    }
    now
}

#[test]
fn leak_of_nothing_over_1000_connections() {
    run(async {
        let only = |number, device: &str| Settings {
            devices: vec![device.into()],
            ..settings(NodeId(number))
        };
        let (theirs, mut notices) = bind(options(1), &only(1, "rxe_b"), Arc::new(NoCalls)).await;
        let (ours, _more) = bind(options(0), &only(0, "rxe_a"), Arc::new(NoCalls)).await;
        let region = Region::allocate(8192, Pages::default()).expect("memory");
        let target = Region::allocate(8192, Pages::default()).expect("memory");
        let span = Span::new(0, 4096);
        let mut before = None;
        for turn in 0..1000u64 {
            let access = Access {
                window: span,
                rights: Rights::WRITE,
                node: Some(NodeId(0)),
            };
            let grant = theirs.register(&target, access).expect("within");
            let link = ours.connect(theirs.address()).await.expect("a link");
            let op = Op::write(&region, [span], grant, [span]).expect("valid");
            link.submit(op.with_immediate(turn))
                .await
                .expect("room")
                .await
                .expect("written");
            assert_eq!(
                notices.next().await.map(|notice| notice.immediate),
                Some(turn)
            );
            match turn % 2 {
                // Some are closed, some only dropped.
                0 => link.close().await,
                _ => drop(link),
            }
            theirs.revoke(grant.key).await.expect("revoked");
            if turn == 1 {
                before = Some(settled(&[]).await);
            }
        }
        let before = before.expect("two turns");
        let after = settled(&before).await;
        println!("leak: {after:?} after 1000 connections");
        assert_eq!(after, before);
    });
}

#[test]
fn endpoints_are_no_more_than_may_be_and_come_back_when_they_are_used() {
    run(async {
        let few = Settings {
            devices: vec!["rxe_a".into()],
            endpoints_max: 3,
            ..settings(NodeId(0))
        };
        let (ours, _more) = bind(options(0), &few, Arc::new(NoCalls)).await;
        let region = Region::allocate(8192, Pages::default()).expect("memory");
        let span = Span::new(0, 4096);
        let mut peers = Vec::new();
        for number in 0..6 {
            let alone = Settings {
                devices: vec!["rxe_b".into()],
                ..settings(NodeId(1))
            };
            let (theirs, notices) = bind(options(2 * number + 1), &alone, Arc::new(NoCalls)).await;
            let target = Region::allocate(8192, Pages::default()).expect("memory");
            let access = Access {
                window: span,
                rights: Rights::WRITE,
                node: None,
            };
            let grant = theirs.register(&target, access).expect("within");
            let link = ours.connect(theirs.address()).await.expect("a link");
            peers.push((theirs, notices, target, grant, link));
        }
        let pairs = || resources().into_iter().find(|(name, _)| name == "qp");
        let none = pairs().expect("counted").1;
        for turn in 0..5u8 {
            for (_, _, target, grant, link) in &peers {
                region.write(0, &[turn + 1; 4096]);
                let op = Op::write(&region, [span], *grant, [span]).expect("valid");
                link.submit(op).await.expect("room").await.expect("written");
                assert_eq!(target.to_vec(span), [turn + 1; 4096]);
            }
            // One at each end.
            let now = pairs().expect("counted").1 - none;
            assert!(now <= 2 * 3, "{now} queue pairs are open");
        }
    });
}
