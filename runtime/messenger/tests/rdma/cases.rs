//! Transfers in good and in bad weather, each named after what it shows.

use super::{bind, counter, settings, shell};
use crate::common::{Kind, LONG, Node, node, options, pattern, run};
use crate::process::{PEERS, Peer, address_and_grant, crc32, start};
use conductor_core::ids::NodeId;
use conductor_messenger::verbs::{Completion, Settings};
use conductor_messenger::{
    Access, Error, Grant, Link, NoCalls, Op, Pages, Region, Rights, Span, Transport,
};
use std::sync::Arc;
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;
const BLOCK: u64 = 512 * 1024;

/// Huge pages: an emulated processor pins 64 MiB of small ones in seconds.
pub(crate) fn pages() -> Pages {
    Pages {
        huge: true,
        populate: true,
    }
}

/// Blocks here and there, in another order.
fn blocks(bytes: u64) -> (Vec<Span>, Vec<Span>) {
    let count = bytes / BLOCK;
    let here = (0..count).map(|i| Span::new(i * BLOCK, BLOCK));
    let there = (0..count).map(|i| Span::new((i * 37 + 11) % count * BLOCK, BLOCK));
    (here.collect(), there.collect())
}

async fn moved(link: &Arc<dyn Link>, op: Op) -> Result<(), Error> {
    link.submit(op).await?.await
}

/// Eight blocks an operation, all under way.
async fn move_all(
    link: &Arc<dyn Link>,
    make: impl Fn(&[Span], &[Span]) -> Op,
    (here, there): &(Vec<Span>, Vec<Span>),
) -> Result<(), Error> {
    let mut tickets = Vec::new();
    for (here, there) in here.chunks(8).zip(there.chunks(8)) {
        tickets.push(link.submit(make(here, there).within(LONG)).await?);
    }
    for ticket in tickets {
        ticket.await?;
    }
    Ok(())
}

async fn sum(link: &Arc<dyn Link>, span: Span) -> Vec<u8> {
    let ask = [span.offset.to_le_bytes(), span.bytes.to_le_bytes()].concat();
    link.call(ask).await.expect("an answer")
}

/// Another process, and a link to it.
async fn peer(ours: &Node) -> (Peer, Arc<dyn Link>, Grant) {
    let folder = tempfile::tempdir().expect("a folder");
    let role = format!("target {}", folder.path().display());
    let (peer, ready) = start(&role, PEERS);
    let (address, grant) = address_and_grant(Kind::Verbs, &ready);
    (peer, ours.link(&address).await, grant)
}

fn sixty_four() -> (Region, Vec<u8>) {
    let region = Region::allocate(64 * MIB, pages()).expect("memory");
    let bytes = pattern(64, (64 * MIB) as usize);
    region.write(0, &bytes);
    (region, bytes)
}

#[test]
fn write_64_mib_to_another_process() {
    run(async {
        let ours = node(Kind::Verbs, 0).await;
        let (_peer, link, grant) = peer(&ours).await;
        let (region, bytes) = sixty_four();
        let spans = blocks(64 * MIB);
        let make =
            |here: &[Span], there: &[Span]| Op::write(&region, here, grant, there).expect("valid");
        let begun = Instant::now();
        move_all(&link, make, &spans).await.expect("written");
        let first = begun.elapsed();
        move_all(&link, make, &spans).await.expect("written");
        let took = (begun.elapsed() - first).as_secs_f64();
        println!(
            "write: 64 MiB in {took:.1} s, the first time with registration {:.1} s",
            first.as_secs_f64()
        );
        for (here, there) in spans.0.iter().zip(&spans.1) {
            let block = &bytes[here.offset as usize..][..BLOCK as usize];
            assert_eq!(
                sum(&link, *there).await,
                crc32(block).to_le_bytes(),
                "{there:?}"
            );
        }
    });
}

#[test]
fn read_64_mib_from_another_process() {
    run(async {
        let ours = node(Kind::Verbs, 0).await;
        let (_peer, link, grant) = peer(&ours).await;
        let (region, bytes) = sixty_four();
        let spans = blocks(64 * MIB);
        let make =
            |here: &[Span], there: &[Span]| Op::write(&region, here, grant, there).expect("valid");
        move_all(&link, make, &spans).await.expect("written");
        let back = Region::allocate(64 * MIB, pages()).expect("memory");
        let make =
            |here: &[Span], there: &[Span]| Op::read(&back, here, grant, there).expect("valid");
        move_all(&link, make, &spans).await.expect("read");
        assert!(
            back.to_vec(back.whole()) == bytes,
            "what was read is what was written"
        );
    });
}

#[test]
fn rkey_that_is_taken_back_opens_nothing_and_the_link_goes_on() {
    run(async {
        let (ours, theirs) = (node(Kind::Verbs, 0).await, node(Kind::Verbs, 1).await);
        let link = ours.link(theirs.transport.address()).await;
        let part = |at: u64| Span::new(at * MIB, MIB);
        let (first, second) = (
            theirs.grant(part(0), Rights::WRITE),
            theirs.grant(part(1), Rights::BOTH),
        );
        let write =
            |grant, at| Op::write(&ours.region, [part(0)], grant, [part(at)]).expect("valid");
        moved(&link, write(first, 0)).await.expect("open");
        theirs.transport.revoke(first.key).await.expect("revoked");
        // This link has its rkey still, and does not know: the peer's device refuses.
        ours.region.write(0, &[7; 4096]);
        assert_eq!(moved(&link, write(first, 0)).await, Err(Error::UnknownKey));
        assert!(
            theirs.region.to_vec(Span::new(0, 4096)) == [0; 4096],
            "nothing was written"
        );
        moved(&link, write(second, 1))
            .await
            .expect("another key is open");
        assert!(theirs.region.to_vec(Span::new(MIB, 4096)) == [7; 4096]);

        // In the middle of things: what cannot be done any more says so, what can is done.
        let mut tickets = Vec::new();
        let third = theirs.grant(part(2), Rights::WRITE);
        for turn in 0..40 {
            let (grant, at) = if turn % 2 == 0 {
                (third, 2)
            } else {
                (second, 1)
            };
            let submitted = link.submit(write(grant, at)).await;
            tickets.push((turn, submitted));
            if turn == 20 {
                theirs.transport.revoke(third.key).await.expect("revoked");
            }
        }
        for (turn, ticket) in tickets {
            let ended = match ticket {
                Ok(ticket) => ticket.await,
                Err(error) => Err(error),
            };
            match turn % 2 {
                0 if turn > 20 => assert_eq!(ended, Err(Error::UnknownKey), "{turn}"),
                0 => assert!(
                    matches!(ended, Ok(()) | Err(Error::UnknownKey)),
                    "{turn}: {ended:?}"
                ),
                _ => assert_eq!(ended, Ok(()), "{turn}"),
            }
        }

        // A node that leaves has nothing any more, and comes back as a new one.
        let access = Access {
            window: part(3),
            rights: Rights::WRITE,
            node: Some(NodeId(0)),
        };
        let his = theirs
            .transport
            .register(&theirs.region, access)
            .expect("within");
        moved(&link, write(his, 3)).await.expect("open");
        theirs.transport.leave(NodeId(0)).await.expect("gone");
        let mut ended = moved(&link, write(his, 3)).await;
        if ended.as_ref().is_err_and(Error::is_passing) {
            // That was the connection's end; this is a new one.
            ended = moved(&link, write(his, 3)).await;
        }
        assert_eq!(ended, Err(Error::UnknownKey));
        moved(&link, write(second, 1))
            .await
            .expect("everybody's key is his too");
    });
}

#[test]
fn dead_peer_ends_what_is_under_way() {
    run(async {
        let ours = node(Kind::Verbs, 0).await;
        let (mut peer, link, grant) = peer(&ours).await;
        let (region, _) = sixty_four();
        let (here, there) = blocks(64 * MIB);
        let mut tickets = Vec::new();
        for (here, there) in here.chunks(8).zip(there.chunks(8)) {
            let op = Op::write(&region, here, grant, there).expect("valid");
            tickets.push(link.submit(op.within(LONG)).await.expect("room"));
        }
        peer.kill();
        let begun = Instant::now();
        let mut lost = 0;
        for ticket in tickets {
            match ticket.await {
                Ok(()) => {}
                Err(error) => {
                    assert!(error.is_passing(), "{error}");
                    lost += 1;
                }
            }
        }
        assert!(
            lost > 0 && begun.elapsed() < Duration::from_secs(20),
            "{lost}"
        );
        let op = Op::write(&region, &here[..1], grant, &there[..1]).expect("valid");
        let again = moved(&link, op).await;
        assert!(matches!(again, Err(Error::Connect { .. })), "{again:?}");
    });
}

#[test]
fn loss_of_packets_costs_time_and_nothing_else() {
    shell(
        "/sbin/tc qdisc add dev va root netem loss 0.2%; /sbin/tc qdisc add dev vb root netem loss 0.2%",
    );
    let retries =
        || counter("rxe_a", "completer_retry_err") + counter("rxe_b", "out_of_seq_request");
    let before = retries();
    run(async {
        let only = |number, device: &str| Settings {
            devices: vec![device.into()],
            ..settings(NodeId(number))
        };
        let (theirs, _notices) = bind(options(1), &only(1, "rxe_b"), Arc::new(NoCalls)).await;
        let (ours, _more) = bind(options(0), &only(0, "rxe_a"), Arc::new(NoCalls)).await;
        let (region, bytes) = sixty_four();
        let target = Region::allocate(64 * MIB, pages()).expect("memory");
        let access = Access {
            window: target.whole(),
            rights: Rights::BOTH,
            node: None,
        };
        let grant = theirs.register(&target, access).expect("within");
        let link = ours.connect(theirs.address()).await.expect("a link");
        let spans = blocks(64 * MIB);
        let make =
            |here: &[Span], there: &[Span]| Op::write(&region, here, grant, there).expect("valid");
        move_all(&link, make, &spans).await.expect("written");
        for (here, there) in spans.0.iter().zip(&spans.1) {
            let block = &bytes[here.offset as usize..][..BLOCK as usize];
            assert!(target.to_vec(*there) == block, "{there:?}");
        }
    });
    let dropped = shell("/sbin/tc -s qdisc show dev va; /sbin/tc -s qdisc show dev vb");
    shell("/sbin/tc qdisc del dev va root; /sbin/tc qdisc del dev vb root");
    let resent = retries() - before;
    assert!(resent > 0, "no packet was lost: {dropped}");
    println!("loss: {resent} times a device noticed and sent again");
}

#[test]
fn failover_to_the_second_rail_and_back() {
    run(async {
        let (ours, theirs) = (node(Kind::Verbs, 0).await, node(Kind::Verbs, 1).await);
        let link = ours.link(theirs.transport.address()).await;
        let grant = theirs.grant_all();
        let bytes = pattern(5, (8 * MIB) as usize);
        ours.region.write(0, &bytes);
        let (here, there) = blocks(8 * MIB);
        let sent = || (counter("rxe_a", "sent_pkts"), counter("rxe_c", "sent_pkts"));
        let zero = sent();
        let turn = async |turns: usize| {
            let mut tickets = Vec::new();
            for _ in 0..turns {
                let op = Op::write(&ours.region, &here[..], grant, &there[..]).expect("valid");
                tickets.push(link.submit(op.within(LONG)).await.expect("room"));
            }
            tickets
        };
        // A rail takes what the other one cannot from the moment at which it is open.
        let (begun, mut both) = (Instant::now(), zero);
        while both.0 == zero.0 || both.1 == zero.1 {
            assert!(
                begun.elapsed() < LONG,
                "slices go over one rail alone: {zero:?} {both:?}"
            );
            for ticket in turn(1).await {
                ticket.await.expect("written");
            }
            both = sent();
        }

        let tickets = turn(4).await;
        tokio::task::spawn_blocking(|| shell("/sbin/ip link set va down"))
            .await
            .expect("down");
        let begun = Instant::now();
        for ticket in tickets {
            ticket.await.expect("written over the other rail");
        }
        println!(
            "failover: all was there {:.1} s after the device went",
            begun.elapsed().as_secs_f64()
        );
        for (here, there) in here.iter().zip(&there) {
            let block = &bytes[here.offset as usize..][..BLOCK as usize];
            assert!(theirs.region.to_vec(*there) == block, "{there:?}");
        }

        // Used again when it is back and has proven itself.
        tokio::task::spawn_blocking(|| {
            shell("/sbin/ip link set va up; /sbin/ip link set vb up; /sbin/ip addr replace 10.77.0.1/24 dev va")
        })
        .await
        .expect("up");
        let gone = sent();
        let begun = Instant::now();
        while sent().0 < gone.0 + 100 {
            assert!(begun.elapsed() < LONG, "the rail is not used again");
            for ticket in turn(1).await {
                ticket.await.expect("written");
            }
        }
    });
}

#[test]
fn events_and_polling_complete_the_same() {
    for completion in [Completion::Events, Completion::Polling] {
        run(async {
            let how = |number| Settings {
                completion,
                ..settings(NodeId(number))
            };
            let (theirs, mut notices) = bind(options(1), &how(1), Arc::new(NoCalls)).await;
            let (ours, _more) = bind(options(0), &how(0), Arc::new(NoCalls)).await;
            let here = Region::allocate(4 * MIB, Pages::default()).expect("memory");
            let there = Region::allocate(4 * MIB, Pages::default()).expect("memory");
            here.write(0, &pattern(3, (4 * MIB) as usize));
            let access = Access {
                window: there.whole(),
                rights: Rights::BOTH,
                node: None,
            };
            let grant = theirs.register(&there, access).expect("within");
            let link = ours.connect(theirs.address()).await.expect("a link");
            for turn in 0..20u64 {
                let span = Span::new(turn * 200_000, 200_000);
                // Small immediates go with the bytes, large ones over the connection.
                let immediate = turn | (turn % 2) << 40;
                let op = Op::write(&here, [span], grant, [span]).expect("valid");
                moved(&link, op.with_immediate(immediate))
                    .await
                    .expect("written");
                let notice = notices.next().await.expect("open");
                assert_eq!((notice.node, notice.immediate), (NodeId(0), immediate));
                assert!(
                    there.to_vec(span) == here.to_vec(span),
                    "visible before its notice"
                );
            }
            // By events an idle link costs nothing: no processor time while nothing happens.
            let cpu = || rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
            let before = cpu();
            tokio::time::sleep(Duration::from_millis(500)).await;
            let used =
                cpu().tv_nsec - before.tv_nsec + 1_000_000_000 * (cpu().tv_sec - before.tv_sec);
            assert!(
                used < 250_000_000,
                "{completion:?}: {used} ns of processor time in 500 ms of nothing"
            );
        });
    }
}
