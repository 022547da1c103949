//! What is stored and asked: the same for every index, made of numbers alone.
//!
//! A prompt is a chain of blocks: first those of its family (a system prompt), which every node holds, then its own, on
//! one to three nodes. Blocks have a content hash each and a chained hash of all contents up to there; both spread over
//! 64 bits, as an engine's do. Stores come in a random order of (prompt, node), as nodes report them.

use conductor_core::ids::{BlockHash, NodeId};
use conductor_core::rng::Stream;
use dynamo_kv_router::LocalBlockHash;
use dynamo_kv_router::protocols::compute_seq_hash_for_block;
use std::collections::BTreeSet;

/// Nodes that hold blocks.
pub const NODES: u64 = 64;
/// Blocks of a prompt.
pub const CHAIN: usize = 24;
/// Blocks at the front of a prompt that its family shares, and families.
const SHARED: usize = 4;
const FAMILIES: u64 = 16;
/// Resident (node, block) pairs: at least so many.
const PAIRS: usize = 1_000_000;

/// Blocks of one prompt, front to back.
#[derive(Clone)]
pub struct Chain {
    /// By content, wherever it lies.
    pub contents: [u64; CHAIN],
    /// By content and all before.
    pub chained: [BlockHash; CHAIN],
}

/// A node stores or gives up a whole prompt's chain.
#[derive(Clone)]
pub struct Store {
    pub node: NodeId,
    pub prompt: usize,
}

/// Everything that the indexes are asked to do.
pub struct Workload {
    pub prompts: Vec<Chain>,
    pub stores: Vec<Store>,
    /// Different (node, block) pairs.
    pub pairs: usize,
    /// Different blocks.
    pub blocks: usize,
    pub queries: Vec<Chain>,
}

/// The chain whose first `shared` blocks are its family's, and the rest drawn for `own`.
fn chain(draws: Stream, family: u64, own: u64, shared: usize) -> Chain {
    let content = |place: usize| {
        let of = if place < shared {
            family | 1 << 40
        } else {
            own
        };
        draws.draw(of << 8 | place as u64)
    };
    rest(std::array::from_fn(content))
}

fn rest(contents: [u64; CHAIN]) -> Chain {
    let chained = compute_seq_hash_for_block(&contents.map(LocalBlockHash));
    let chained = std::array::from_fn(|place| BlockHash(chained[place]));
    Chain { contents, chained }
}

impl Workload {
    pub fn new(queries: usize) -> Self {
        let (contents, draws) = (Stream::new(1, "contents"), Stream::new(1, "places"));
        let prompt = |number: u64| chain(contents, number % FAMILIES, number, SHARED);
        let mut held = BTreeSet::new();
        let (mut prompts, mut stores) = (Vec::new(), Vec::new());
        let mut store = |prompt: usize, chain: &Chain, node: u64| {
            let node = NodeId(node as u16);
            held.extend(chain.chained.map(|block| (node.0, block)));
            stores.push(Store { node, prompt });
            held.len()
        };
        // Each node gets a prompt of each family, then one prompt after the other comes to one to three nodes.
        for number in 0..FAMILIES * NODES {
            prompts.push(prompt(number));
            store(
                number as usize,
                &prompts[number as usize],
                number / FAMILIES,
            );
        }
        let mut pairs = 0;
        while pairs < PAIRS {
            let number = prompts.len() as u64;
            prompts.push(prompt(number));
            let (first, copies) = (
                draws.below(2 * number, NODES),
                draws.below(2 * number + 1, 3),
            );
            for copy in 0..=copies {
                pairs = store(
                    number as usize,
                    &prompts[number as usize],
                    (first + copy * 7) % NODES,
                );
            }
        }
        shuffle(&mut stores, Stream::new(1, "order"));
        let blocks: BTreeSet<BlockHash> = held.iter().map(|pair| pair.1).collect();
        let ask = Stream::new(1, "queries");
        let query = |i: u64| {
            let number = ask.below(2 * i, prompts.len() as u64);
            let known = &prompts[number as usize];
            // Half ask for a prompt that was there, a quarter goes on after half of one, a quarter is new in its
            // family.
            let keep = match ask.below(2 * i + 1, 4) {
                0 | 1 => CHAIN,
                2 => CHAIN / 2,
                _ => SHARED,
            };
            let fresh = chain(contents, 0, 1 << 44 | i, 0);
            rest(std::array::from_fn(|place| match place < keep {
                true => known.contents[place],
                false => fresh.contents[place],
            }))
        };
        Self {
            pairs,
            blocks: blocks.len(),
            queries: (0..queries as u64).map(query).collect(),
            prompts,
            stores,
        }
    }

    /// How many leading blocks of each query each node holds, as the definition says it.
    pub fn literal(&self) -> Vec<[u32; NODES as usize]> {
        let mut held = vec![BTreeSet::new(); NODES as usize];
        for store in &self.stores {
            held[store.node.index()].extend(self.prompts[store.prompt].chained);
        }
        let score = |query: &Chain| {
            std::array::from_fn(|node| {
                let here = |block: &&BlockHash| held[node].contains(block);
                query.chained.iter().take_while(here).count() as u32
            })
        };
        self.queries.iter().map(score).collect()
    }
}

fn shuffle(stores: &mut [Store], draws: Stream) {
    for i in (1..stores.len()).rev() {
        stores.swap(i, draws.below(i as u64, i as u64 + 1) as usize);
    }
}
