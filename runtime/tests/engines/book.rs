//! The book alone: what is said of prompts that wait, of caches, and of answers that cannot be.

use crate::bench::BLOCK;
use conductor_core::ids::{BlockHash, NodeId, RequestId, Ticket};
use conductor_core::units::Tokens;
use conductor_events::event::Tiers;
use conductor_events::source::Told;
use conductor_events::tree::Change;
use conductor_runtime::engines::{Book, Output, Piece};
use conductor_runtime::protocol::{EndReason, FromNode, Prompt, Sampling, Space, ToNode};
use std::sync::Arc;

fn ticket(request: u64) -> Ticket {
    Ticket {
        request: RequestId(request),
        attempt: 0,
    }
}

fn send(book: &mut Book, request: u64, blocks: std::ops::Range<u64>) -> Vec<Output> {
    let prompt = Prompt {
        input: Tokens(BLOCK * (blocks.end - blocks.start)),
        tokens: Arc::new([]),
        blocks: blocks.map(BlockHash).collect(),
        space: Space::default(),
        output_max: Tokens(9),
        sampling: Sampling::GREEDY,
    };
    let order = ToNode::Prefill {
        ticket: ticket(request),
        prompt: Arc::new(prompt),
        decode: NodeId(0),
        awaits_copy: false,
    };
    let mut out = Vec::new();
    book.order(order, &mut out);
    out
}

fn piece(book: &mut Book, request: u64, piece: Piece) -> Vec<FromNode> {
    let mut out = Vec::new();
    book.piece(ticket(request), piece, &mut out);
    said(out)
}

fn said(out: Vec<Output>) -> Vec<FromNode> {
    let said = out.into_iter().filter_map(|output| match output {
        Output::Say(fact) => Some(fact),
        _ => None,
    });
    said.collect()
}

fn started(request: u64, cached: u64) -> FromNode {
    FromNode::Started {
        ticket: ticket(request),
        cached: Tokens(cached),
    }
}

fn change(block: u64, now: Tiers) -> Change {
    Change {
        block: BlockHash(block),
        was: Tiers::NONE,
        now,
    }
}

#[test]
fn the_first_without_a_token_is_the_one_that_is_computed() {
    let mut book = Book::new(Tokens(BLOCK));
    assert_eq!(said(send(&mut book, 1, 0..3)), [started(1, 0)]);
    assert_eq!(said(send(&mut book, 2, 0..4)), []);
    assert_eq!(said(send(&mut book, 3, 0..4)), []);
    // What is stored meanwhile counts for who begins then.
    let mut out = Vec::new();
    let stored = (0..2).map(|block| change(block, Tiers::GPU)).collect();
    book.told(&Told::Changed(stored), &mut out);
    let first = piece(&mut book, 1, Piece::Tokens(vec![7, 8]));
    let token = |request, position, token| match position {
        0 => FromNode::FirstToken {
            ticket: ticket(request),
            token,
        },
        _ => FromNode::Token {
            ticket: ticket(request),
            position,
            token,
        },
    };
    assert_eq!(
        first,
        [token(1, 0, 7), started(2, 2 * BLOCK), token(1, 1, 8)]
    );
    // Two prompts in one pass: the second has begun before its token, too.
    let third = piece(&mut book, 3, Piece::Tokens(vec![9]));
    assert_eq!(third, [started(3, 2 * BLOCK), token(3, 0, 9)]);
    assert_eq!(book.under_way(), 3);
}

#[test]
fn a_prompt_whose_own_blocks_come_has_been_begun_without_them() {
    let mut book = Book::new(Tokens(BLOCK));
    send(&mut book, 1, 0..3);
    assert_eq!(said(send(&mut book, 2, 10..13)), []);
    let mut told = |blocks: std::ops::Range<u64>| {
        let mut out = Vec::new();
        let changes = blocks.map(|block| change(block, Tiers::GPU)).collect();
        book.told(&Told::Changed(changes), &mut out);
        said(out)
    };
    // Its front is another's, so it may still wait; the rest is its own.
    assert!(matches!(told(10..11)[..], [FromNode::Cache { .. }]));
    assert_eq!(told(11..12)[0], started(2, BLOCK));
}

#[test]
fn an_answer_ends_with_its_stream_and_not_before_it_was_begun() {
    let mut book = Book::new(Tokens(BLOCK));
    send(&mut book, 1, 0..1);
    piece(&mut book, 1, Piece::Tokens(vec![7]));
    assert_eq!(piece(&mut book, 1, Piece::End(EndReason::Stop)), []);
    assert_eq!(piece(&mut book, 1, Piece::Cached(0)), []);
    let mut out = Vec::new();
    book.completed(ticket(1), &mut out);
    let end = FromNode::Ended {
        ticket: ticket(1),
        output: Tokens(1),
        reason: EndReason::Stop,
    };
    assert_eq!(said(out), [end]);
    assert_eq!((book.counts().compared, book.counts().agreed), (1, 1));
    send(&mut book, 2, 0..1);
    let mut out = Vec::new();
    book.completed(ticket(2), &mut out);
    assert!(
        matches!(said(out)[..], [FromNode::Failed { .. }]),
        "without a token it is none"
    );
}

#[test]
fn a_request_with_which_engines_fail_again_and_again_is_given_up() {
    let mut book = Book::new(Tokens(BLOCK));
    let ticket = Ticket {
        attempt: 6,
        ..ticket(1)
    };
    let prompt = Prompt {
        input: Tokens(1),
        tokens: Arc::new([1]),
        blocks: Arc::new([]),
        space: Space::default(),
        output_max: Tokens(1),
        sampling: Sampling::GREEDY,
    };
    let order = ToNode::Prefill {
        ticket,
        prompt: Arc::new(prompt),
        decode: NodeId(0),
        awaits_copy: false,
    };
    book.order(order, &mut Vec::new());
    let mut out = Vec::new();
    book.piece(ticket, Piece::Failed("500".into()), &mut out);
    assert_eq!(said(out), [FromNode::Refused { ticket }]);
}

#[test]
fn what_comes_and_goes_at_once_is_not_said() {
    let mut book = Book::new(Tokens(BLOCK));
    let mut out = Vec::new();
    let changes = vec![
        change(1, Tiers::GPU),
        change(2, Tiers::GPU),
        change(1, Tiers::NONE),
        change(2, Tiers::CPU),
    ];
    book.told(&Told::Changed(changes), &mut out);
    book.told(&Told::Changed(vec![change(2, Tiers::GPU)]), &mut out);
    book.told(&Told::Cleared, &mut out);
    let expected = [
        FromNode::Cache {
            report: 0,
            evicted: vec![],
            stored: vec![BlockHash(2)],
        },
        FromNode::WholeCache {
            report: 1,
            blocks: vec![],
        },
    ];
    assert_eq!(said(out), expected);
}
