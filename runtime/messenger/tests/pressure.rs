//! What is under way is bounded on both sides; who is slow is waited for, not buried.

use crate::common::{KINDS, Kind, node, node_with, options, run};
use crate::proxy::Proxy;
use conductor_messenger::{Error, NoCalls, Op, Span};
use std::sync::Arc;
use std::time::Duration;

#[test]
fn a_submission_waits_when_enough_is_under_way() {
    run(async {
        let mut with = options(0);
        with.bytes_max = 1 << 20;
        with.ops_max = 100;
        with.lanes = 1;
        let ours = node_with(Kind::Tcp, with, Arc::new(NoCalls)).await;
        let theirs = node(Kind::Tcp, 1).await;
        let proxy = Proxy::to(theirs.transport.address()).await;
        let link = ours.link(&proxy.address).await;
        let grant = theirs.grant_all();
        proxy.freeze_after(0);
        let quarter = Span::new(0, 1 << 18);
        let op = || Op::write(&ours.region, [quarter], grant, [quarter]).expect("valid");
        let mut tickets = Vec::new();
        for _ in 0..4 {
            tickets.push(link.submit(op()).await.expect("room"));
        }
        let limit = Duration::from_millis(50);
        let fifth = link.submit(op().within(limit)).await.err();
        assert_eq!(
            fifth,
            Some(Error::Deadline(limit)),
            "a mebibyte is under way"
        );
        let waiting = link.submit(op());
        proxy.thaw();
        tickets.push(waiting.await.expect("room again"));
        for ticket in tickets {
            assert_eq!(ticket.await, Ok(()));
        }
    });
}

#[test]
fn one_operation_has_a_largest_size() {
    for kind in KINDS {
        run(async {
            let mut with = options(0);
            with.op_bytes_max = 4096;
            let ours = node_with(kind, with, Arc::new(NoCalls)).await;
            let theirs = node(kind, 1).await;
            let (link, grant) = (
                ours.link(theirs.transport.address()).await,
                theirs.grant_all(),
            );
            for (bytes, fits) in [(4096, true), (4097, false)] {
                let span = Span::new(0, bytes);
                let op = Op::write(&ours.region, [span], grant, [span]).expect("valid");
                let taken = link.submit(op).await;
                assert_eq!(taken.is_ok(), fits, "{kind:?} {bytes}");
            }
        });
    }
}

#[test]
fn notices_wait_for_a_slow_application_and_none_is_lost() {
    for kind in KINDS {
        run(async {
            let mut with = options(1);
            with.notices_max = 2;
            let mut theirs = node_with(kind, with, Arc::new(NoCalls)).await;
            let mut with = options(0);
            with.lanes = 1;
            with.ops_max = 8;
            let ours = node_with(kind, with, Arc::new(NoCalls)).await;
            let (link, grant) = (
                ours.link(theirs.transport.address()).await,
                theirs.grant_all(),
            );
            let span = Span::new(0, 1000);
            let region = ours.region.clone();
            let writer = tokio::spawn(async move {
                let mut tickets = Vec::new();
                for i in 0..40 {
                    let op = Op::write(&region, [span], grant, [span]).expect("valid");
                    let op = op.with_immediate(i);
                    tickets.push(link.submit(op).await.expect("room"));
                }
                for ticket in tickets {
                    assert_eq!(ticket.await, Ok(()));
                }
                link
            });
            // Nobody takes anything: two wait here, one in the task, and the writer's room is full soon.
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert!(!writer.is_finished(), "{kind:?}: the writer is held back");
            for i in 0..40 {
                let notice = theirs.notices.next().await.expect("open");
                assert_eq!(notice.immediate, i, "one lane keeps the order");
            }
            writer.await.expect("no panic");
        });
    }
}

#[test]
fn an_application_that_takes_no_notices_makes_operations_overdue_not_eternal() {
    for kind in KINDS {
        run(async {
            let mut with = options(1);
            with.notices_max = 1;
            let theirs = node_with(kind, with, Arc::new(NoCalls)).await;
            let ours = node(kind, 0).await;
            let (link, grant) = (
                ours.link(theirs.transport.address()).await,
                theirs.grant_all(),
            );
            let span = Span::new(0, 10);
            let limit = Duration::from_millis(80);
            let mut ends = Vec::new();
            for i in 0..4 {
                let op = Op::write(&ours.region, [span], grant, [span]).expect("valid");
                // The first has all the time, since it has to succeed.
                let op = match i {
                    0 => op.with_immediate(i),
                    _ => op.with_immediate(i).within(limit),
                };
                ends.push(async { link.submit(op).await?.await }.await);
            }
            assert_eq!(ends[0], Ok(()), "{kind:?}");
            assert!(
                ends.contains(&Err(Error::Deadline(limit))),
                "{kind:?} {ends:?}"
            );
        });
    }
}
