//! The book of blocks against a literal one.

use conductor_core::ids::BlockHash;
use conductor_engine::kv::{BlockId, BlockPool, Shared};
use proptest::prelude::*;

/// What happens to a pool; numbers choose among what there is.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Take,
    Share(usize, u64),
    Pin(u64),
    Release(usize),
    Evict(u64),
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        Just(Deed::Take),
        (0_usize..8, 0_u64..6).prop_map(|(holder, hash)| Deed::Share(holder, hash)),
        (0_u64..6).prop_map(Deed::Pin),
        (0_usize..8).prop_map(Deed::Release),
        (0_u64..6).prop_map(Deed::Evict),
    ]
}

/// A list of blocks: who holds each, and its content.
#[derive(Clone, Debug, Default, PartialEq)]
struct Literal {
    holders: [u32; 5],
    content: [Option<u64>; 5],
}

impl Literal {
    fn free(&self) -> usize {
        let unused =
            |&(holders, content): &(&u32, &Option<u64>)| *holders == 0 && content.is_none();
        self.holders
            .iter()
            .zip(&self.content)
            .filter(unused)
            .count()
    }

    fn find(&self, hash: u64) -> Option<usize> {
        self.content
            .iter()
            .position(|&content| content == Some(hash))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn blocks_are_free_private_or_shared_as_a_list_says(deeds in prop::collection::vec(deed(), 0..60)) {
        let mut pool = BlockPool::new(5);
        let mut literal = Literal::default();
        // One entry for each time that a block is held.
        let mut held: Vec<BlockId> = Vec::new();
        for deed in deeds {
            match deed {
                Deed::Take => {
                    let block = pool.take();
                    prop_assert_eq!(block.is_some(), literal.free() > 0);
                    if let Some(block) = block {
                        let place = block.0 as usize;
                        prop_assert!(literal.holders[place] == 0 && literal.content[place].is_none());
                        literal.holders[place] = 1;
                        held.push(block);
                    }
                }
                Deed::Share(holder, hash) => {
                    let private = |block: &&BlockId| literal.content[block.0 as usize].is_none();
                    let Some(&block) = held.iter().filter(private).nth(holder) else { continue };
                    let shared = pool.share(block, BlockHash(hash));
                    match literal.find(hash) {
                        Some(other) => prop_assert_eq!(shared, Shared::Already(BlockId(other as u32))),
                        None => {
                            prop_assert_eq!(shared, Shared::Now);
                            literal.content[block.0 as usize] = Some(hash);
                        }
                    }
                }
                Deed::Pin(hash) => {
                    let block = pool.pin(BlockHash(hash));
                    prop_assert_eq!(block.map(|block| block.0 as usize), literal.find(hash));
                    if let Some(block) = block {
                        literal.holders[block.0 as usize] += 1;
                        held.push(block);
                    }
                }
                Deed::Release(holder) => {
                    if holder < held.len() {
                        let block = held.swap_remove(holder);
                        pool.release(block);
                        literal.holders[block.0 as usize] -= 1;
                    }
                }
                Deed::Evict(hash) => {
                    let there = literal.find(hash);
                    prop_assert_eq!(pool.evict(BlockHash(hash)), there.is_some());
                    if let Some(place) = there {
                        literal.content[place] = None;
                    }
                }
            }
            pool.check();
            prop_assert_eq!(pool.free(), literal.free());
            let contents: Vec<u64> = pool.contents().map(|hash| hash.0).collect();
            let expected: Vec<u64> = literal.content.iter().copied().flatten().collect();
            prop_assert_eq!(contents, expected);
        }
    }
}
