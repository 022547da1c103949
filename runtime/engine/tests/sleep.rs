//! The engine that sleeps: the profile's time, and answers that need their KV.

use crate::node::{Node, Sequence};
use conductor_core::config::Profile;
use conductor_core::cost::{self, CostModel};
use conductor_core::units::Tokens;
use conductor_engine::SleepEngine;
use conductor_engine::kv::KvShape;
use conductor_engine::sampling::Sampling;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const PROFILE: &str = "a800-llama3-70b";

fn profile() -> Box<dyn CostModel> {
    Profile::built_in(PROFILE).expect("built in").cost()
}

fn node(slept: &Arc<Mutex<Duration>>) -> Node {
    node_with(slept, |engine| engine)
}

fn node_with(slept: &Arc<Mutex<Duration>>, of: fn(SleepEngine) -> SleepEngine) -> Node {
    let slept = Arc::clone(slept);
    let shape = KvShape::new(3, 1, 8, 4).expect("a shape");
    Node::with(shape, 64, |region| {
        let sleep = move |time| *slept.lock().expect("not poisoned") += time;
        let engine = SleepEngine::new(shape, 1_000, region, profile(), Box::new(sleep));
        Box::new(of(engine.expect("an engine")))
    })
}

fn answer(node: &mut Node, sequence: &mut Sequence, chunk: usize, tokens: usize) -> Vec<u32> {
    while sequence.answered() < tokens {
        node.run(&mut [(sequence, chunk)]);
    }
    sequence.tokens[sequence.prompt..].to_vec()
}

fn prompt() -> Vec<u32> {
    (0..30).map(|i| i * 7 % 256).collect()
}

#[test]
fn a_step_takes_the_time_of_the_cost_model() {
    let slept = Arc::new(Mutex::new(Duration::ZERO));
    let mut node = node(&slept);
    let mut one = Sequence::new(1, &prompt(), Sampling::Greedy);
    let mut other = Sequence::new(2, &prompt()[..10], Sampling::Greedy);
    let mut step = |batch: &mut [(&mut Sequence, usize)]| {
        *slept.lock().expect("not poisoned") = Duration::ZERO;
        node.run(batch);
        slept.lock().expect("not poisoned").as_nanos() as u64
    };
    let cost = profile();
    let piece = |start, end| cost::Piece {
        start: Tokens(start),
        end: Tokens(end),
    };
    let expected = piece(0, 20).alone(&*cost);
    assert_eq!(step(&mut [(&mut one, 20)]), expected.0);
    let expected = cost::mixed(&*cost, &[piece(20, 30), piece(0, 10)], 0, Tokens(0));
    assert_eq!(step(&mut [(&mut one, 20), (&mut other, 20)]), expected.0);
    let expected = cost.decode_step(2, Tokens(40));
    assert_eq!(step(&mut [(&mut one, 1), (&mut other, 1)]), expected.0);
}

#[test]
fn on_a_prefill_node_a_prompt_in_pieces_takes_what_it_takes_as_a_whole() {
    let slept = Arc::new(Mutex::new(Duration::ZERO));
    let mut node = node_with(&slept, SleepEngine::with_whole_prompts);
    let cost = profile();
    let took = || {
        let took = std::mem::take(&mut *slept.lock().expect("not poisoned"));
        took.as_nanos() as u64
    };
    let mut sequence = Sequence::new(1, &prompt(), Sampling::Greedy);
    answer(&mut node, &mut sequence, 7, 1);
    assert_eq!(took(), cost.prefill(Tokens(30), Tokens(0)).0);
    // What is cached is loaded, once.
    let mut again = Sequence::new(2, &prompt(), Sampling::Greedy);
    node.reuse(&mut again);
    answer(&mut node, &mut again, 1, 1);
    assert!(again.stored >= 28);
    assert_eq!(took(), cost.prefill(Tokens(30), Tokens(28)).0);
}

#[test]
fn answers_are_the_same_by_any_way_and_need_every_block() {
    let slept = Arc::default();
    let mut first = node(&slept);
    let mut sequence = Sequence::new(1, &prompt(), Sampling::Greedy);
    let expected = answer(&mut first, &mut sequence, 100, 9);
    // With a reused prefix, in chunks, and decoded elsewhere.
    let mut again = Sequence::new(2, &prompt(), Sampling::Greedy);
    first.reuse(&mut again);
    assert_eq!(again.stored, 28);
    answer(&mut first, &mut again, 1, 1);
    let mut second = node(&slept);
    let lost = again.clone();
    first.send(&mut again, &mut second);
    assert_eq!(answer(&mut second, &mut again, 1, 9), expected);
    // A layer of the last block that did not come.
    let mut damaged = lost;
    damaged.blocks = again.blocks[..8].to_vec();
    damaged.shared = damaged.prompt / 4;
    let place = second.shape.slice(damaged.blocks[7], 1);
    second.region.write(place.start, &vec![0; place.len()]);
    assert_ne!(answer(&mut second, &mut damaged, 1, 9), expected);
}
