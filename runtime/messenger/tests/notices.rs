//! Notices come behind their bytes; calls are answered.

use crate::common::{KINDS, node, node_with, options, pattern, run};
use conductor_core::ids::NodeId;
use conductor_messenger::{Error, Handler, Notice, Op, Span};
use std::sync::Arc;

const BLOCK: u64 = 40_000;

#[test]
fn what_a_notice_announces_is_there() {
    for kind in KINDS {
        run(async {
            let (ours, mut theirs) = (node(kind, 3).await, node(kind, 1).await);
            let (link, grant) = (
                ours.link(theirs.transport.address()).await,
                theirs.grant_all(),
            );
            let blocks = 150u64;
            for i in 0..blocks {
                ours.region.write(i * BLOCK, &pattern(i, BLOCK as usize));
            }
            let region = theirs.region.clone();
            let reader = tokio::spawn(async move {
                let mut seen = Vec::new();
                for _ in 0..blocks {
                    let Notice { node, immediate } = theirs.notices.next().await.expect("open");
                    let there = Span::new((blocks - 1 - immediate) * BLOCK, BLOCK);
                    let whole = region.to_vec(there) == pattern(immediate, BLOCK as usize);
                    assert!(node == NodeId(3) && whole, "{kind:?}: {immediate}");
                    seen.push(immediate);
                }
                seen.sort_unstable();
                assert!(seen.into_iter().eq(0..blocks), "each once");
                theirs
            });
            let mut tickets = Vec::new();
            for i in 0..blocks {
                let (here, there) = (i * BLOCK, (blocks - 1 - i) * BLOCK);
                let (here, there) = (Span::new(here, BLOCK), Span::new(there, BLOCK));
                let op = Op::write(&ours.region, [here], grant, [there]).expect("valid");
                tickets.push(link.submit(op.with_immediate(i)).await.expect("room"));
            }
            for ticket in tickets {
                ticket.await.expect("done");
            }
            let mut theirs = reader.await.expect("no panic");
            assert_eq!(
                theirs.notices.take(),
                None,
                "no notice without an immediate"
            );
        });
    }
}

#[test]
fn a_failed_write_gives_no_notice_and_an_empty_one_does() {
    for kind in KINDS {
        run(async {
            let (ours, mut theirs) = (node(kind, 0).await, node(kind, 1).await);
            let link = ours.link(theirs.transport.address()).await;
            let window = Span::new(0, 4096);
            let grant = theirs.grant(window, conductor_messenger::Rights::READ);
            let op = Op::write(&ours.region, [window], grant, [window]).expect("valid");
            let wrong = async { link.submit(op.with_immediate(1)).await?.await }.await;
            assert_eq!(wrong, Err(Error::Rights));
            let nothing = Op::write(&ours.region, [], grant, []).expect("valid");
            let done = link
                .submit(nothing.with_immediate(2))
                .await
                .expect("room")
                .await;
            assert_eq!(done, Ok(()));
            // A device tells this side that all is done and the other side that a notice came: who is first is open.
            let notice = theirs.notices.next().await;
            let notice = notice.map(|notice| notice.immediate);
            assert_eq!((notice, theirs.notices.take()), (Some(2), None));
        });
    }
}

struct Reverse;

impl Handler for Reverse {
    fn call(&self, from: NodeId, message: &[u8]) -> Option<Vec<u8>> {
        let known = from == NodeId(7) && !message.is_empty();
        known.then(|| message.iter().rev().copied().collect())
    }
}

#[test]
fn calls_are_answered_or_refused() {
    for kind in KINDS {
        run(async {
            let ours = node_with(kind, options(7), Arc::new(Reverse)).await;
            let theirs = node_with(kind, options(1), Arc::new(Reverse)).await;
            let link = ours.link(theirs.transport.address()).await;
            assert_eq!(link.node(), NodeId(1));
            for bytes in [1, 100, 4000, 128 * 1024] {
                let mut message = pattern(5, bytes);
                let answer = link.call(message.clone()).await.expect("an answer");
                message.reverse();
                assert!(answer == message);
            }
            assert_eq!(link.call(Vec::new()).await, Err(Error::Unanswered));
            let long = link.call(vec![0; 128 * 1024 + 1]).await;
            assert!(matches!(long, Err(Error::TooLarge { .. })));
        });
    }
}
