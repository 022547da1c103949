//! Requests under whatever a scheduler may do, their tokens compared with the definition's.

use crate::node::{Node, Sequence};
use crate::plain::Plain;
use conductor_core::rng::Stream;
use conductor_engine::math::attention::Heads;
use conductor_engine::model::{Config, Model};
use conductor_engine::sampling::Sampling;
use std::sync::Arc;

/// Numbers by chance, in the order in which they are asked for.
pub(crate) struct Dice {
    stream: Stream,
    count: u64,
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            stream: Stream::new(seed, "test"),
            count: 0,
        }
    }

    /// Below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.count += 1;
        self.stream.below(self.count, bound as u64) as usize
    }

    pub(crate) fn within(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }
}

/// A small model of sizes that nothing divides.
pub(crate) fn odd() -> Config {
    Config {
        hidden: 37,
        intermediate: 53,
        layers: 3,
        heads: Heads {
            query: 6,
            kv: 3,
            dim: 10,
        },
        vocabulary: 101,
        positions: 500,
        epsilon: 1e-6,
        rope_base: 500.0,
        tied: true,
        ends: Vec::new(),
    }
}

fn prompts(dice: &mut Dice, count: usize, vocabulary: usize) -> Vec<Vec<u32>> {
    let mut prompts: Vec<Vec<u32>> = Vec::new();
    for _ in 0..count {
        let mut prompt = Vec::new();
        // Half of them go on from a beginning of an earlier one.
        if !prompts.is_empty() && dice.below(2) == 0 {
            let other = &prompts[dice.below(prompts.len())];
            prompt.extend_from_slice(&other[..dice.within(1, other.len())]);
        }
        for _ in 0..dice.within(1, 40) {
            prompt.push(dice.below(vocabulary) as u32);
        }
        prompts.push(prompt);
    }
    prompts
}

fn sampling(dice: &mut Dice) -> Sampling {
    match dice.below(3) {
        0 => Sampling::new(0.8, 0.9, dice.below(1000) as u64).expect("in range"),
        _ => Sampling::Greedy,
    }
}

/// Any batch, any chunks, reused prefixes, evictions, lost KV, and moves between two nodes, which are made for a size
/// of blocks and a number of them.
pub(crate) fn any_schedule(
    model: &Arc<Model>,
    seed: u64,
    requests: usize,
    nodes: impl FnOnce(u32, u32) -> [Node; 2],
) {
    const ANSWER: usize = 12;
    let mut dice = Dice::new(seed);
    let block = dice.within(1, 9) as u32;
    let vocabulary = model.config().vocabulary;
    let mut waiting: Vec<Sequence> = prompts(&mut dice, requests, vocabulary)
        .iter()
        .zip(0..)
        .map(|(prompt, id)| Sequence::new(id, prompt, sampling(&mut dice)))
        .collect();
    let expected: Vec<Vec<u32>> = waiting
        .iter()
        .map(|s| Plain::new(model).answer(&s.tokens, ANSWER, s.sampling))
        .collect();
    let blocks = 4_000 / block;
    let mut nodes = nodes(block, blocks);
    // Which node each is on.
    let mut running: Vec<(Sequence, usize)> = Vec::new();
    let mut finished = 0;
    while finished < expected.len() {
        if !waiting.is_empty() && dice.below(3) == 0 {
            let mut sequence = waiting.remove(dice.below(waiting.len()));
            let node = dice.below(2);
            nodes[node].reuse(&mut sequence);
            running.push((sequence, node));
        }
        if running.is_empty() {
            continue;
        }
        match dice.below(12) {
            0 => nodes[dice.below(2)].evict(),
            // KV is lost; prompt and answer so far are computed again.
            1 => {
                let place = dice.below(running.len());
                let (sequence, node) = &mut running[place];
                nodes[*node].release(sequence);
                sequence.stored = 0;
                nodes[*node].reuse(sequence);
            }
            2 | 3 => {
                let place = dice.below(running.len());
                let (sequence, node) = &mut running[place];
                let [a, b] = &mut nodes;
                let (from, to) = if *node == 0 { (a, b) } else { (b, a) };
                from.send(sequence, to);
                *node = 1 - *node;
            }
            _ => {
                let node = dice.below(2);
                let mut batch = Vec::new();
                for (sequence, at) in &mut running {
                    if *at == node && dice.below(4) > 0 {
                        batch.push((sequence, dice.within(1, 20)));
                    }
                }
                if dice.below(2) == 0 {
                    batch.reverse();
                }
                nodes[node].run(&mut batch);
            }
        }
        for place in (0..running.len()).rev() {
            if running[place].0.answered() == ANSWER {
                let (mut sequence, node) = running.swap_remove(place);
                nodes[node].release(&mut sequence);
                let id = sequence.ticket.request.0 as usize;
                let answer = &sequence.tokens[sequence.prompt..];
                assert_eq!(answer, expected[id], "seed {seed}, request {id}");
                finished += 1;
            }
        }
    }
    for node in &mut nodes {
        node.evict();
        node.pool.check();
        assert_eq!(node.pool.free(), node.pool.len(), "no block is lost");
    }
}
