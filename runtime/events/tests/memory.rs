//! What a known block costs, measured: the memory of this process before and after 300,000 of them.
//!
//! A process of its own, because another test beside it would be measured, too.

use conductor_core::units::Tokens;
use conductor_events::event::{EngineHash, Removed, Stored};
use conductor_events::tree::{Tree, TreeConfig};

const BLOCKS: u64 = 300_000;
/// Blocks of a prompt.
const PROMPT: u64 = 100;

/// Bytes that this process has in memory.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages = status
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    pages.expect("a number") * 4096
}

fn hash(block: u64) -> EngineHash {
    EngineHash(block.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn fill(own: u64, size: u32) -> (Tree, u64) {
    let before = resident();
    let mut tree = Tree::new(TreeConfig::new("m", Tokens(own)));
    let mut changes = Vec::new();
    for first in (0..BLOCKS).step_by(PROMPT as usize) {
        let stored = Stored {
            blocks: (first..first + PROMPT).map(hash).collect(),
            tokens: (0..PROMPT as u32 * size)
                .map(|token| token ^ first as u32)
                .collect(),
            block_tokens: size,
            ..Stored::default()
        };
        tree.store(&stored, &mut changes);
        changes.clear();
    }
    assert_eq!(tree.len() as u64, BLOCKS);
    let bytes = resident().saturating_sub(before) / BLOCKS;
    (tree, bytes)
}

#[test]
fn a_block_costs_what_is_said() {
    // One engine block is one own block: nothing but the record and its place in the table.
    let (mut tree, alone) = fill(16, 16);
    for first in (0..BLOCKS).step_by(PROMPT as usize) {
        let removed = Removed {
            // Parents first: all of them are joints until the last has gone.
            blocks: (first..first + PROMPT).map(hash).collect(),
            ..Removed::default()
        };
        tree.remove(&removed, &mut Vec::new());
    }
    assert!(tree.is_empty(), "what has gone is not kept");
    drop(tree);
    // 16 of them are one: 15 of 16 keep their tokens.
    let (tree, pieces) = fill(256, 16);
    println!("bytes a block: {alone}; of 16 tokens, 16 blocks in an own one: {pieces}");
    drop(tree);
    assert!(alone <= 128, "{alone} bytes a block, expected at most 128");
    assert!(
        pieces <= 320,
        "{pieces} bytes a block with its tokens, expected at most 320"
    );
}
