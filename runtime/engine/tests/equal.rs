//! Tokens equal those of the definition, whatever a scheduler does.

use crate::node::{Node, Sequence};
use crate::plain::Plain;
use crate::schedule::{Dice, any_schedule, odd};
use conductor_engine::math::Workers;
use conductor_engine::model::{Scratch, tiny};
use conductor_engine::sampling::Sampling;
use conductor_engine::text::Tokenizer;
use conductor_engine::{Phase, Step};
use std::num::NonZeroUsize;
use std::sync::Arc;

#[test]
fn tokens_equal_those_of_the_plain_computation_under_any_schedule() {
    let models = [Arc::new(tiny::model(1)), Arc::new(tiny::random(odd(), 2))];
    for seed in 0..36 {
        let model = &models[seed as usize % 2];
        any_schedule(model, seed, 8, |block, blocks| {
            [
                Node::new(model, block, blocks, 1),
                Node::new(model, block, blocks, 2),
            ]
        });
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
