//! Orders that cannot be right are refused before anything is touched.

use crate::node::{Node, Sequence};
use conductor_engine::kv::BlockId;
use conductor_engine::model::tiny;
use conductor_engine::sampling::Sampling;
use conductor_engine::{CpuEngine, EngineError, Piece, Step};
use std::num::NonZeroUsize;
use std::sync::Arc;

fn two() -> (Node, Step) {
    let mut node = Node::new(&Arc::new(tiny::model(1)), 4, 32, 1);
    let mut pieces = Vec::new();
    for id in 0..2 {
        let mut sequence = Sequence::new(id, &[1, 2, 3, 4, 5, 6], Sampling::Greedy);
        pieces.push(node.piece(&mut sequence, 100));
    }
    (node, Step { pieces })
}

#[test]
fn each_fault_is_named_and_nothing_is_written() {
    type Spoil = fn(&mut Piece);
    let faults: [(Spoil, &str); 9] = [
        (|piece| piece.tokens.clear(), "expected at least one token"),
        (
            |piece| piece.tokens[3] = 258,
            "token 258, expected one below 258",
        ),
        (
            |piece| piece.start = 1 << 17,
            "ends at position 131078, expected at most 131072",
        ),
        (
            |piece| piece.start = 1,
            "0 positions stored, expected 1 to 7",
        ),
        (
            |piece| piece.stored = 7,
            "7 positions stored, expected 0 to 6",
        ),
        (|piece| piece.blocks.truncate(1), "1 blocks, expected 2"),
        (
            |piece| piece.blocks.push(BlockId(9)),
            "3 blocks, expected 2",
        ),
        (
            |piece| piece.blocks[1] = BlockId(32),
            "block 32, expected one below 32",
        ),
        (
            |piece| piece.blocks[0] = BlockId(1),
            "block 1 is used beside where it is written, expected a private block",
        ),
    ];
    for (spoil, what) in faults {
        let (mut node, mut step) = two();
        let mut before = vec![0; node.region.len()];
        node.region.read(0, &mut before);
        spoil(&mut step.pieces[1]);
        let result = node
            .engine
            .run(&step, &mut |_| panic!("no layer is computed"));
        let Err(EngineError::BadStep { what: found, .. }) = result else {
            panic!("{what}: {result:?}");
        };
        assert_eq!(found, what);
        let mut after = vec![0; node.region.len()];
        node.region.read(0, &mut after);
        assert_eq!(before, after);
    }
}

#[test]
fn a_block_that_one_piece_writes_is_not_another_ones_prefix() {
    let (mut node, mut step) = two();
    step.pieces[1].stored = 4;
    step.pieces[1].start = 4;
    step.pieces[1].tokens.truncate(2);
    step.pieces[1].blocks[0] = step.pieces[0].blocks[0];
    let result = node.engine.run(&step, &mut |_| ());
    assert!(
        matches!(result, Err(EngineError::BadStep { piece: 1, .. })),
        "{result:?}"
    );
}

#[test]
fn an_empty_step_does_nothing() {
    let (mut node, _) = two();
    let output = node.engine.run(&Step::default(), &mut |_| ());
    assert_eq!(output, Ok(Default::default()));
}

#[test]
fn damaged_kv_fails_its_own_sequence_alone() {
    let (mut node, mut step) = two();
    let whole = node.engine.run(&step, &mut |_| ()).expect("runs");
    assert_eq!(whole.sampled.len(), 2);
    // The first goes on from a block that nobody has filled: it has bytes that are no numbers.
    step.pieces[0].stored = 4;
    step.pieces[0].start = 4;
    step.pieces[0].tokens.drain(..4);
    step.pieces[0].blocks[0] = BlockId(20);
    let output = node.engine.run(&step, &mut |_| ()).expect("runs");
    assert_eq!(output.failed, [step.pieces[0].ticket]);
    assert_eq!(output.sampled, whole.sampled[1..]);
}

#[test]
fn a_region_without_a_block_is_refused() {
    let model = Arc::new(tiny::model(1));
    let shape = model.config().kv_shape(16).expect("a shape");
    let region = Arc::new(conductor_engine::kv::HeapRegion::new(100));
    let engine = CpuEngine::new(model, shape, region, NonZeroUsize::MIN);
    let error = engine.err().expect("too small").to_string();
    assert_eq!(
        error,
        "the KV region has 100 bytes, expected at least one block of 16384 bytes"
    );
}
