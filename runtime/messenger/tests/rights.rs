//! Keys open what they open, to whom they do, until they are taken back; and nothing else changes.

use crate::common::{KINDS, node, pattern, run};
use conductor_core::ids::NodeId;
use conductor_messenger::{Access, Error, Grant, Key, Link, Op, Region, Rights, Span};

const WINDOW: Span = Span::new(8192, 8192);

async fn write(link: &dyn Link, from: &Region, grant: Grant, there: Span) -> Result<(), Error> {
    let here = Span::new(0, there.bytes);
    let op = Op::write(from, [here], grant, [there]).expect("valid here");
    link.submit(op).await?.await
}

async fn read(link: &dyn Link, into: &Region, grant: Grant, there: Span) -> Result<(), Error> {
    let here = Span::new(0, there.bytes);
    let op = Op::read(into, [here], grant, [there]).expect("valid here");
    link.submit(op).await?.await
}

#[test]
fn what_is_not_allowed_is_an_error_and_changes_nothing() {
    for kind in KINDS {
        run(async {
            let (ours, theirs) = (node(kind, 0).await, node(kind, 1).await);
            let before = pattern(1, theirs.region.bytes() as usize);
            theirs.region.write(0, &before);
            let link = &*ours.link(theirs.transport.address()).await;
            let region = &ours.region;
            let grant = theirs.grant(WINDOW, Rights::READ);
            let open = theirs.grant(WINDOW, Rights::WRITE);
            let access = Access {
                window: WINDOW,
                rights: Rights::BOTH,
                node: Some(NodeId(2)),
            };
            let others = theirs
                .transport
                .register(&theirs.region, access)
                .expect("within");
            let unknown = Grant {
                key: Key(4711),
                ..open
            };
            let inside = Span::new(9000, 100);
            for (key, span, expected) in [
                (grant, inside, Error::Rights),
                (unknown, inside, Error::UnknownKey),
                (others, inside, Error::UnknownKey),
                (open, Span::new(8191, 2), Error::OutOfBounds),
                (open, Span::new(16_383, 2), Error::OutOfBounds),
                (open, Span::new(0, 16_384), Error::OutOfBounds),
                (open, Span::new(1 << 40, 100), Error::OutOfBounds),
                // Large enough that the target has to throw bytes away piece by piece.
                (open, Span::new(8192, 3 << 20), Error::OutOfBounds),
            ] {
                let failed = write(link, region, key, span).await;
                assert_eq!(failed, Err(expected), "{kind:?} {span:?}");
            }
            assert_eq!(read(link, region, open, inside).await, Err(Error::Rights));
            let whole = theirs.region.whole();
            assert!(theirs.region.to_vec(whole) == before, "{kind:?}: unchanged");
            // The same connection goes on.
            assert_eq!(write(link, region, open, WINDOW).await, Ok(()));
            assert_eq!(read(link, region, grant, WINDOW).await, Ok(()));
        });
    }
}

#[test]
fn what_cannot_be_is_refused_here() {
    run(async {
        let ours = node(crate::common::Kind::Tcp, 0).await;
        let grant = ours.grant_all();
        let op = |here: Span, there: Span| Op::write(&ours.region, [here], grant, [there]).err();
        let outside = Span::new(ours.region.bytes() - 1, 2);
        assert!(matches!(op(outside, outside), Some(Error::Local { .. })));
        let (short, long) = (Span::new(0, 3), Span::new(0, 4));
        assert_eq!(
            op(short, long),
            Some(Error::Lengths {
                local: 3,
                remote: 4
            })
        );
        assert_eq!(op(long, Span::new(u64::MAX, 4)), Some(Error::OutOfBounds));
        let many = vec![Span::new(0, 1); 4097];
        let many = Op::write(&ours.region, many.clone(), grant, many).err();
        assert!(matches!(many, Some(Error::TooLarge { .. })));
        let access = Access {
            window: outside,
            rights: Rights::READ,
            node: None,
        };
        let error = ours.transport.register(&ours.region, access);
        assert!(matches!(error, Err(Error::Local { .. })));
    });
}

#[test]
fn after_a_revocation_nothing_is_written_any_more() {
    for kind in KINDS {
        run(async {
            let (ours, theirs) = (node(kind, 0).await, node(kind, 1).await);
            let link = ours.link(theirs.transport.address()).await;
            let (grant, other) = (theirs.grant_all(), theirs.grant(WINDOW, Rights::READ));
            let region = ours.region.clone();
            let writer = tokio::spawn(async move {
                let mut written = 0u64;
                let whole = region.whole();
                loop {
                    region.write(0, &pattern(written, 4096));
                    match write(&*link, &region, grant, whole).await {
                        Ok(()) => written += 1,
                        Err(error) => return (written, error, link),
                    }
                }
            });
            tokio::time::sleep(std::time::Duration::from_millis(60)).await;
            theirs.transport.revoke(grant.key).await.expect("revoked");
            let whole = theirs.region.whole();
            theirs.region.write(0, &vec![0xee; whole.bytes as usize]);
            let (written, error, link) = writer.await.expect("no panic");
            assert_eq!(error, Error::UnknownKey, "{kind:?}");
            let bytes = theirs.region.to_vec(whole);
            assert!(bytes.iter().all(|&byte| byte == 0xee), "{kind:?} {written}");
            // Other keys and the connection go on.
            assert_eq!(read(&*link, &ours.region, other, WINDOW).await, Ok(()));
            let again = theirs.transport.revoke(grant.key).await;
            assert_eq!(again, Err(Error::UnknownKey));
        });
    }
}

#[test]
fn a_node_that_leaves_loses_its_keys_and_connections() {
    for kind in KINDS {
        run(async {
            let (ours, theirs) = (node(kind, 5).await, node(kind, 1).await);
            let link = &*ours.link(theirs.transport.address()).await;
            let access = Access {
                window: WINDOW,
                rights: Rights::BOTH,
                node: Some(NodeId(5)),
            };
            let his = theirs
                .transport
                .register(&theirs.region, access)
                .expect("within");
            let everybodys = theirs.grant(WINDOW, Rights::BOTH);
            assert_eq!(write(link, &ours.region, his, WINDOW).await, Ok(()));
            assert_eq!(write(link, &ours.region, everybodys, WINDOW).await, Ok(()));
            theirs.transport.leave(NodeId(5)).await.expect("left");
            let mut failed = write(link, &ours.region, his, WINDOW).await;
            // It may learn of its lost connection by this very operation; the next one opens another.
            if matches!(failed, Err(Error::PeerLost { .. })) {
                failed = write(link, &ours.region, his, WINDOW).await;
            }
            assert_eq!(failed, Err(Error::UnknownKey), "{kind:?}");
            assert_eq!(write(link, &ours.region, everybodys, WINDOW).await, Ok(()));
        });
    }
}

#[test]
fn more_keys_than_a_page_has_words_are_used_one_after_the_other() {
    run(async {
        let (ours, theirs) = (
            node(crate::common::Kind::Shm, 0).await,
            node(crate::common::Kind::Shm, 1).await,
        );
        let link = &*ours.link(theirs.transport.address()).await;
        let span = Span::new(8192, 8);
        for i in 0..2100u64 {
            let grant = theirs.grant(WINDOW, Rights::WRITE);
            ours.region.write(0, &i.to_le_bytes());
            assert_eq!(write(link, &ours.region, grant, span).await, Ok(()), "{i}");
            assert_eq!(theirs.region.to_vec(span), i.to_le_bytes());
            theirs.transport.revoke(grant.key).await.expect("revoked");
            assert_eq!(
                write(link, &ours.region, grant, span).await,
                Err(Error::UnknownKey)
            );
        }
    });
}
