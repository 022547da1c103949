//! Any spans to any spans: the bytes are those of a literal copy.

use crate::common::{Kind, Node, node_with, options, pattern, run};
use conductor_messenger::{Direction, Grant, Link, NoCalls, Op, Pages, Region, Span};
use proptest::prelude::*;
use std::sync::Arc;

const BYTES: usize = 1 << 16;

/// Cuts `total` bytes into pieces at places of a region that do not overlap: each with a gap before it, then shuffled.
fn spans(total: u64, cuts: &[(u16, u16)], turn: usize) -> Vec<Span> {
    let (mut at, mut left, mut spans) = (0u64, total, Vec::new());
    for &(bytes, gap) in cuts {
        let take = u64::from(bytes % 700).min(left);
        at += u64::from(gap % 50);
        spans.push(Span::new(at, take));
        at += take;
        left -= take;
    }
    spans.push(Span::new(at, left));
    let turn = turn % spans.len();
    spans.rotate_left(turn);
    spans
}

/// The literal model: gathers, then scatters.
fn copy(from: &[u8], source: &[Span], into: &mut [u8], target: &[Span]) {
    let range = |span: &Span| span.offset as usize..(span.offset + span.bytes) as usize;
    let gathered: Vec<u8> = source
        .iter()
        .flat_map(|s| from[range(s)].to_vec())
        .collect();
    let mut rest = gathered.as_slice();
    for span in target {
        let (now, later) = rest.split_at(span.bytes as usize);
        into[range(span)].copy_from_slice(now);
        rest = later;
    }
}

struct Pair {
    _ours: Node,
    theirs: Node,
    link: Arc<dyn Link>,
    grant: Grant,
    runtime: tokio::runtime::Runtime,
}

fn pair(kind: Kind, checksum: bool) -> Pair {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let (ours, theirs, link, grant) = runtime.block_on(async {
        let mut with = options(0);
        with.checksum = checksum;
        let ours = node_with(kind, with, Arc::new(NoCalls)).await;
        let theirs = node_with(kind, options(1), Arc::new(NoCalls)).await;
        let link = ours.link(theirs.transport.address()).await;
        let grant = theirs.grant_all();
        (ours, theirs, link, grant)
    });
    Pair {
        _ours: ours,
        theirs,
        link,
        grant,
        runtime,
    }
}

type Cuts = Vec<(u16, u16)>;

fn one_case(pair: &Pair, direction: Direction, total: u64, cuts: [&Cuts; 2], turn: usize) {
    let [local, remote] = cuts.map(|cuts| spans(total, cuts, turn));
    let region = Region::allocate(BYTES as u64, Pages::default()).expect("memory");
    let (mut here, mut there) = (pattern(1, BYTES), pattern(2, BYTES));
    region.write(0, &here);
    pair.theirs.region.write(0, &there);
    let op = match direction {
        Direction::Write => Op::write(&region, local.clone(), pair.grant, remote.clone()),
        Direction::Read => Op::read(&region, local.clone(), pair.grant, remote.clone()),
    };
    let op = op.expect("valid");
    let done = pair
        .runtime
        .block_on(async { pair.link.submit(op).await?.await });
    assert_eq!(done, Ok(()));
    match direction {
        Direction::Write => copy(&here, &local, &mut there, &remote),
        Direction::Read => copy(&there, &remote, &mut here, &local),
    }
    assert!(region.to_vec(Span::new(0, BYTES as u64)) == here, "ours");
    let whole = Span::new(0, BYTES as u64);
    assert!(pair.theirs.region.to_vec(whole) == there, "theirs");
}

fn property(kind: Kind, checksum: bool) {
    let pair = pair(kind, checksum);
    let cuts = || prop::collection::vec(any::<(u16, u16)>(), 0..150);
    let case = (any::<bool>(), 0..40_000u64, cuts(), cuts(), any::<usize>());
    proptest!(ProptestConfig::with_cases(48), |((write, total, a, b, turn) in case)| {
        let direction = if write { Direction::Write } else { Direction::Read };
        one_case(&pair, direction, total, [&a, &b], turn);
    });
}

#[test]
fn bytes_are_those_of_a_literal_copy_over_tcp() {
    property(Kind::Tcp, false);
}

#[test]
fn bytes_are_those_of_a_literal_copy_over_tcp_with_checksums() {
    property(Kind::Tcp, true);
}

#[test]
fn bytes_are_those_of_a_literal_copy_over_shared_memory() {
    property(Kind::Shm, false);
}

#[cfg(feature = "rdma")]
#[test]
fn over_verbs_any_spans_go_to_any_spans() {
    property(Kind::Verbs, false);
}

#[test]
fn large_operations_side_by_side() {
    for kind in crate::common::KINDS {
        run(async {
            let ours = crate::common::node(kind, 0).await;
            let theirs = crate::common::node(kind, 1).await;
            let (link, grant) = (
                ours.link(theirs.transport.address()).await,
                theirs.grant_all(),
            );
            let bytes = pattern(3, 8 << 20);
            ours.region.write(0, &bytes);
            let quarter = |i: u64| Span::new(i << 21, 2 << 20);
            let mut tickets = Vec::new();
            for i in 0..4 {
                let op = Op::write(&ours.region, [quarter(i)], grant, [quarter(3 - i)]);
                tickets.push(link.submit(op.expect("valid")).await.expect("room"));
            }
            for ticket in tickets {
                ticket.await.expect("done");
            }
            for i in 0..4 {
                let from = &bytes[(i as usize) << 21..(i as usize + 1) << 21];
                assert!(theirs.region.to_vec(quarter(3 - i)) == from, "{kind:?} {i}");
            }
            let back = Region::allocate(8 << 20, Pages::default()).expect("memory");
            let from: Vec<Span> = (0..4).rev().map(quarter).collect();
            let op = Op::read(&back, [back.whole()], grant, from).expect("valid");
            link.submit(op).await.expect("room").await.expect("done");
            assert!(back.to_vec(back.whole()) == bytes, "{kind:?}");
        });
    }
}
