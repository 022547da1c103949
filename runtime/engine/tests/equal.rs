//! Tokens equal those of the definition, whatever a scheduler does.

use crate::node::{Node, Sequence};
use crate::plain::Plain;
use conductor_core::rng::Stream;
use conductor_engine::math::Workers;
use conductor_engine::math::attention::Heads;
use conductor_engine::model::{Config, Model, Scratch, tiny};
use conductor_engine::sampling::Sampling;
use conductor_engine::text::Tokenizer;
use conductor_engine::{Phase, Step};
use std::num::NonZeroUsize;
use std::sync::Arc;

/// Numbers by chance, in the order in which they are asked for.
struct Dice {
    stream: Stream,
    count: u64,
}

impl Dice {
    fn new(seed: u64) -> Self {
        Self {
            stream: Stream::new(seed, "test"),
            count: 0,
        }
    }

    /// Below `bound`.
    fn below(&mut self, bound: usize) -> usize {
        self.count += 1;
        self.stream.below(self.count, bound as u64) as usize
    }

    fn within(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }
}

/// A small model of sizes that nothing divides.
fn odd() -> Config {
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

/// Any batch, any chunks, reused prefixes, evictions, lost KV, and moves between two nodes.
fn any_schedule(model: &Arc<Model>, seed: u64, requests: usize) {
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
    let mut nodes = [
        Node::new(model, block, blocks, 1),
        Node::new(model, block, blocks, 2),
    ];
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

#[test]
fn tokens_equal_those_of_the_plain_computation_under_any_schedule() {
    let models = [Arc::new(tiny::model(1)), Arc::new(tiny::random(odd(), 2))];
    for seed in 0..36 {
        any_schedule(&models[seed as usize % 2], seed, 8);
    }
}

#[test]
fn logits_equal_those_of_the_plain_computation_to_the_bit() {
    for (model, seed) in [(tiny::model(3), 5), (tiny::random(odd(), 4), 6)] {
        let model = Arc::new(model);
        let mut dice = Dice::new(seed);
        let prompt: Vec<u32> = (0..90)
            .map(|_| dice.below(model.config().vocabulary) as u32)
            .collect();
        let expected = Plain::new(&model).logits(&prompt);
        let threads = NonZeroUsize::new(3).expect("three");
        for workers in [Workers::single(), Workers::new(threads).expect("threads")] {
            let mut node = Node::new(&model, 7, 40, 1);
            let mut scratch = Scratch::default();
            let mut sequence = Sequence::new(0, &prompt, Sampling::Greedy);
            while sequence.stored < prompt.len() {
                let mut piece = node.piece(&mut sequence, dice.within(1, 30));
                assert_eq!(piece.phase, Phase::Prefill);
                piece.sample = Some(Sampling::Greedy);
                sequence.stored = piece.end();
                let step = Step {
                    pieces: vec![piece],
                };
                let (shape, region) = (node.shape, &*node.region);
                let mut logits =
                    model.forward(&step, &shape, region, &mut scratch, &workers, &mut |_| {});
                let bits = |logits: &[f32]| logits.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                let logits = logits.next().expect("logits");
                assert_eq!(bits(logits), bits(&expected[sequence.stored - 1]));
            }
        }
    }
}

/// What the tests above are worth: an answer depends on tokens far before it.
#[test]
fn answers_of_the_tiny_model_depend_on_early_tokens_and_are_not_all_the_same() {
    let model = tiny::model(1);
    let mut plain = Plain::new(&model);
    let mut dice = Dice::new(9);
    let mut changed = 0;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..20 {
        let mut prompt: Vec<u32> = (0..50).map(|_| dice.below(256) as u32).collect();
        let answer = plain.answer(&prompt, 8, Sampling::Greedy);
        prompt[dice.below(10)] ^= 1;
        changed += usize::from(plain.answer(&prompt, 8, Sampling::Greedy) != answer);
        seen.extend(answer);
    }
    assert!(changed >= 15, "{changed} of 20 answers changed");
    assert!(seen.len() >= 40, "{} different tokens of 160", seen.len());
    let printable = |token: &u32| (0x20..0x7f).contains(token) || *token == 257;
    assert!(seen.iter().all(printable), "a person can read them");
}

/// Every machine has the same model and the same answers, in debug and in release.
#[test]
fn the_tiny_model_is_what_it_was() {
    let model = Arc::new(tiny::model(1));
    let prompt: Vec<u32> = b"Hello, Conductor"
        .iter()
        .map(|&byte| u32::from(byte))
        .collect();
    let mut node = Node::new(&model, 16, 4, 1);
    let mut sequence = Sequence::new(0, &prompt, Sampling::Greedy);
    while sequence.answered() < 24 {
        node.run(&mut [(&mut sequence, 16)]);
    }
    let answer = Tokenizer::Bytes.decode(&sequence.tokens[16..]);
    let found = format!("{} {answer}", model.digest());
    assert_eq!(
        found,
        "0abc9c7bc36edd0dd263c0b94a2abbd0 d.;d9q7aUv;`\"{7iHz8%9?"
    );
}
