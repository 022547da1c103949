//! Peers that vanish, stand still, lie; wires that change bytes; and the orderly way out.

use crate::common::{KINDS, Kind, Node, node, node_with, options, pattern, run};
use crate::proxy::Proxy;
use conductor_messenger::{Care, Error, Grant, Link, NoCalls, Op, Secret, Span, Stream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

/// Bytes from the caller in a greeting: hello and proof.
const GREETING: u64 = 42 + 40;
const BLOCK: Span = Span::new(0, 1 << 20);

fn write(node: &Node, grant: Grant) -> Op {
    Op::write(&node.region, [BLOCK], grant, [BLOCK]).expect("valid")
}

async fn done(link: &dyn Link, op: Op) -> Result<(), Error> {
    link.submit(op).await?.await
}

async fn through_a_proxy(checksum: bool) -> (Node, Node, Proxy, Arc<dyn Link>, Grant) {
    let mut with = options(0);
    with.lanes = 1;
    with.checksum = checksum;
    let ours = node_with(Kind::Tcp, with, Arc::new(NoCalls)).await;
    let theirs = node(Kind::Tcp, 1).await;
    let proxy = Proxy::to(theirs.transport.address()).await;
    let link = ours.link(&proxy.address).await;
    let grant = theirs.grant_all();
    (ours, theirs, proxy, link, grant)
}

#[test]
fn a_peer_that_is_cut_off_in_the_middle_fails_what_is_under_way() {
    run(async {
        let (ours, _theirs, proxy, link, grant) = through_a_proxy(false).await;
        proxy.freeze_after(300_000);
        let mut tickets = Vec::new();
        for _ in 0..3 {
            tickets.push(link.submit(write(&ours, grant)).await.expect("room"));
        }
        proxy.cut();
        for ticket in tickets {
            let lost = ticket.await;
            assert!(matches!(lost, Err(Error::PeerLost { .. })), "{lost:?}");
        }
        proxy.thaw();
        assert_eq!(
            done(&*link, write(&ours, grant)).await,
            Ok(()),
            "a new connection"
        );
        assert_eq!(proxy.connections(), 2);
    });
}

#[test]
fn what_a_frozen_connection_still_holds_does_not_land_behind_the_repetition() {
    run(async {
        let (ours, theirs, proxy, link, grant) = through_a_proxy(false).await;
        ours.region.write(0, &pattern(1, BLOCK.bytes as usize));
        proxy.freeze_after(100_000);
        let limit = Duration::from_millis(100);
        let late = done(&*link, write(&ours, grant).within(limit)).await;
        assert_eq!(late, Err(Error::Deadline(limit)));
        let new = pattern(2, BLOCK.bytes as usize);
        ours.region.write(0, &new);
        proxy.let_new_ones_through();
        assert_eq!(done(&*link, write(&ours, grant)).await, Ok(()));
        // Now the rest of the old ones comes, behind the new ones.
        proxy.thaw();
        for _ in 0..20 {
            assert!(
                theirs.region.to_vec(BLOCK) == new,
                "nothing comes behind it"
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
}

#[test]
fn an_idle_peer_that_falls_silent_is_noticed() {
    run(async {
        let mut with = options(0);
        with.heartbeat = Duration::from_millis(150);
        with.lanes = 1;
        let ours = node_with(Kind::Tcp, with, Arc::new(NoCalls)).await;
        let theirs = node(Kind::Tcp, 1).await;
        let proxy = Proxy::to(theirs.transport.address()).await;
        let link = ours.link(&proxy.address).await;
        proxy.freeze_after(0);
        tokio::time::sleep(Duration::from_millis(600)).await;
        proxy.thaw();
        // The next operation does not wait for its deadline: the lane is known to be lost, and there is another.
        assert_eq!(done(&*link, write(&ours, theirs.grant_all())).await, Ok(()));
        assert!(proxy.connections() >= 2);
    });
}

#[test]
fn a_silent_caller_is_put_out() {
    run(async {
        let mut with = options(1);
        with.idle = Duration::from_millis(50);
        let theirs = node_with(Kind::Tcp, with, Arc::new(NoCalls)).await;
        let ours = node(Kind::Tcp, 0).await;
        let proxy = Proxy::to(theirs.transport.address()).await;
        let link = ours.link(&proxy.address).await;
        let grant = theirs.grant_all();
        proxy.freeze_after(50_000);
        let lost = done(&*link, write(&ours, grant)).await;
        assert!(matches!(lost, Err(Error::PeerLost { .. })), "{lost:?}");
    });
}

#[test]
fn a_flipped_byte_is_found_on_both_ways_and_repeated() {
    run(async {
        let (ours, theirs, proxy, link, grant) = through_a_proxy(true).await;
        let bytes = pattern(9, BLOCK.bytes as usize);
        ours.region.write(0, &bytes);
        let armed = Arc::new(AtomicBool::new(false));
        let tamper = |armed: Arc<AtomicBool>| {
            move |bytes: &mut Vec<u8>, _: u64| {
                // Frames are short, so what ends a long piece is of a block.
                if bytes.len() > 1000
                    && armed.swap(false, SeqCst)
                    && let Some(last) = bytes.last_mut()
                {
                    *last ^= 0x10;
                }
            }
        };
        proxy.tamper_forwards(tamper(armed.clone()));
        armed.store(true, SeqCst);
        assert_eq!(
            done(&*link, write(&ours, grant)).await,
            Err(Error::Checksum)
        );
        assert_eq!(
            done(&*link, write(&ours, grant)).await,
            Ok(()),
            "the connection goes on"
        );
        // A transfer repeats it by itself.
        armed.store(true, SeqCst);
        let mut stream = Stream::new(link.clone(), &ours.region, grant, Care::default());
        stream
            .push([BLOCK].into(), [BLOCK].into())
            .await
            .expect("taken in");
        assert_eq!(stream.finish(1).await.expect("repeated").repeats, 1);
        assert!(theirs.region.to_vec(BLOCK) == bytes);
        let backwards = Arc::new(AtomicBool::new(true));
        proxy.tamper_backwards(tamper(backwards));
        let read = Op::read(&ours.region, [BLOCK], grant, [BLOCK]).expect("valid");
        assert_eq!(done(&*link, read.clone()).await, Err(Error::Checksum));
        assert_eq!(done(&*link, read).await, Ok(()));
        assert!(ours.region.to_vec(BLOCK) == bytes);
        assert_eq!(proxy.connections(), 1);
    });
}

#[test]
fn another_secret_is_refused() {
    for kind in KINDS {
        run(async {
            let mut with = options(0);
            with.secret = Secret::new(b"guessed");
            let ours = node_with(kind, with, Arc::new(NoCalls)).await;
            let theirs = node(kind, 1).await;
            let refused = ours.transport.connect(theirs.transport.address()).await;
            let error = refused.err().expect("refused");
            assert!(matches!(error, Error::Refused { .. }), "{error}");
            assert!(error.to_string().contains("secret"), "{error}");
        });
    }
}

#[test]
fn frames_that_are_none_end_the_connection_of_a_known_peer_too() {
    run(async {
        let (ours, theirs, proxy, link, grant) = through_a_proxy(false).await;
        let garbage = Arc::new(AtomicBool::new(true));
        let rubbish = garbage.clone();
        proxy.tamper_forwards(move |bytes, gone| {
            if gone >= GREETING && rubbish.load(SeqCst) {
                let noise = pattern(gone, bytes.len());
                bytes.copy_from_slice(&noise);
            }
        });
        let before = theirs.region.to_vec(BLOCK);
        for _ in 0..5 {
            let lost = done(&*link, write(&ours, grant)).await;
            assert!(matches!(lost, Err(Error::PeerLost { .. })), "{lost:?}");
        }
        assert!(theirs.region.to_vec(BLOCK) == before);
        garbage.store(false, SeqCst);
        assert_eq!(done(&*link, write(&ours, grant)).await, Ok(()));
    });
}

#[test]
fn nobody_there_is_a_clear_error() {
    run(async {
        let ours = node(Kind::Tcp, 0).await;
        let nobody = "tcp://127.0.0.1:1".parse().expect("an address");
        let error = ours.transport.connect(&nobody).await.err().expect("nobody");
        assert!(
            matches!(error, Error::Connect { .. }) && error.is_passing(),
            "{error}"
        );
        let shm = "shm:///nowhere/at/all.sock".parse().expect("an address");
        let wrong = ours
            .transport
            .connect(&shm)
            .await
            .err()
            .expect("of another kind");
        assert!(matches!(wrong, Error::Address(_)), "{wrong}");
        for text in ["tcp://somewhere", "shm://relative", "http://x", ""] {
            assert!(
                text.parse::<conductor_messenger::Address>().is_err(),
                "{text}"
            );
        }
    });
}

#[test]
fn who_shuts_down_finishes_what_is_under_way() {
    for kind in KINDS {
        run(async {
            let (ours, theirs) = (node(kind, 0).await, node(kind, 1).await);
            let (link, grant) = (
                ours.link(theirs.transport.address()).await,
                theirs.grant_all(),
            );
            let bytes = pattern(4, BLOCK.bytes as usize);
            ours.region.write(0, &bytes);
            let ticket = link.submit(write(&ours, grant)).await.expect("room");
            let ((), ended) =
                tokio::join!(theirs.transport.shutdown(Duration::from_secs(20)), ticket);
            // It was finished, or turned back whole because it had not begun.
            match ended {
                Ok(()) => assert!(theirs.region.to_vec(BLOCK) == bytes),
                Err(error) => assert!(matches!(error, Error::PeerLost { .. }), "{error}"),
            }
            let after = done(&*link, write(&ours, grant)).await;
            assert!(after.is_err(), "nobody is there any more");
            let ((), closed) = tokio::join!(link.close(), async { true });
            assert!(closed);
            let late = link.submit(write(&ours, grant)).await.err();
            assert_eq!(late, Some(Error::Closed));
        });
    }
}

#[test]
fn a_link_that_closes_finishes_what_it_has() {
    for kind in KINDS {
        run(async {
            let (ours, theirs) = (node(kind, 0).await, node(kind, 1).await);
            let (link, grant) = (
                ours.link(theirs.transport.address()).await,
                theirs.grant_all(),
            );
            let mut tickets = Vec::new();
            for _ in 0..8 {
                tickets.push(link.submit(write(&ours, grant)).await.expect("room"));
            }
            link.close().await;
            for ticket in tickets {
                assert_eq!(ticket.await, Ok(()), "{kind:?}");
            }
        });
    }
}
