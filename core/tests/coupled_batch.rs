//! `CoupledBatch` beside a literal model of such an engine, step by step and at once, with HBM so small that requests
//! wait, lose their KV and are given up. At one instant the end of a pass comes before arrivals, and the next pass is
//! planned
//! at once.

mod slow;

use conductor_core::config::{CoupledConfig, CoupledSchedule, EvictionConfig, Ratio};
use conductor_core::cost::{CostModel, DecodeCoefficients, Polynomial, PrefillCoefficients, mixed};
use conductor_core::ids::{BlockHash, RequestId, Ticket};
use conductor_core::node::{CoupledBatch, CoupledNews};
use conductor_core::steps::StepRun;
use conductor_core::units::{Nanos, Tokens};
use proptest::prelude::*;
use slow::SlowNode;
use std::collections::VecDeque;

/// One request to come.
#[derive(Clone, Debug)]
struct Asked {
    at: u64,
    input: u64,
    output: u64,
    blocks: Vec<u64>,
}

#[derive(Clone, Debug)]
struct Scenario {
    config: CoupledConfig,
    block: u64,
    capacity: u32,
    asked: Vec<Asked>,
    prefill: (u64, u64),
    step: DecodeCoefficients,
}

/// When, who, completely?, and the mean of the longest tenth of its gaps.
type Log = Vec<(u64, u64, bool, Option<u64>)>;

fn cost(scenario: &Scenario) -> Polynomial {
    Polynomial {
        prefill: PrefillCoefficients {
            base: scenario.prefill.0,
            per_token: scenario.prefill.1,
            per_token2: 1 << 10,
            hit_base: 1 << 22,
            per_cached_token: 1 << 20,
        },
        decode: scenario.step,
    }
}

/// Drives the machine under test; returns the log and how often a request lost its KV.
fn fast(scenario: &Scenario, stepwise: bool) -> (Log, u64) {
    let cost = cost(scenario);
    let (block, capacity) = (Tokens(scenario.block), scenario.capacity);
    let mut machine = CoupledBatch::new(scenario.config, block, capacity, EvictionConfig::Lru);
    let mut asked: VecDeque<(usize, &Asked)> = scenario.asked.iter().enumerate().collect();
    let mut running: Option<(u64, StepRun, u64)> = None;
    let (mut log, mut news) = (Log::new(), CoupledNews::default());
    let note = |log: &mut Log, now: u64, news: &mut CoupledNews| {
        for gone in &news.ended {
            let tbt = gone.tbt.map(|tbt| tbt.0);
            log.push((now, gone.ticket.request.0, gone.complete, tbt));
        }
        news.clear();
    };
    loop {
        let end = running.map(|(at, run, steps)| at + run.total(steps).0);
        let next = asked.front().map(|(_, asked)| asked.at);
        let Some(now) = end.into_iter().chain(next).min() else {
            break;
        };
        if end == Some(now) {
            let (at, run, steps) = running.take().expect("it is due");
            machine.finish(Nanos(at), run, steps, &mut news);
            note(&mut log, now, &mut news);
        } else {
            let (id, asked) = asked.pop_front().expect("it is due");
            let ticket = Ticket {
                request: RequestId(id as u64),
                attempt: 0,
            };
            let blocks: Vec<_> = asked.blocks.iter().copied().map(BlockHash).collect();
            machine.enqueue(ticket, Tokens(asked.input), Tokens(asked.output), &blocks);
            if let Some((at, run, steps)) = &mut running {
                let complete = run.steps_to_reach(Nanos(now - *at + 1)) - 1;
                *steps = (*steps).min(complete + 1);
                continue;
            }
        }
        let planned = machine.start(&mut news);
        note(&mut log, now, &mut news);
        let Some(planned) = planned else { continue };
        machine.check();
        running = Some(if machine.pieces().is_empty() {
            let run = cost.decode(planned.batch, planned.context);
            (now, run, if stepwise { 1 } else { planned.steps })
        } else {
            let pieces = machine.pieces();
            let time = mixed(&cost, pieces, planned.batch, planned.context);
            (now, StepRun::once(time), 1)
        });
    }
    assert!(machine.is_idle(), "nobody is forgotten");
    assert_eq!(machine.cache().pinned(), 0, "nothing stays pinned");
    log.sort_unstable();
    (log, machine.recomputed())
}

fn scenarios() -> impl Strategy<Value = Scenario> {
    let asked = (0_u64..60_000, 1_u64..200, 1_u64..120, 0_u64..4);
    let engine = (
        any::<bool>(),
        any::<bool>(),
        1_u64..300,
        1_u32..9,
        0_u32..200,
    );
    let step = (1_u64 << 28..1 << 31, 0_u64..1 << 27, 0_u64..1 << 22);
    let memory = (2_u64..17, 3_u32..40);
    let asked = proptest::collection::vec(asked, 1..16);
    let prefill = (1_u64 << 26..1 << 31, 1_u64 << 22..1 << 26);
    (memory, asked, engine, prefill, step).prop_map(|(memory, asked, engine, prefill, step)| {
        let ((block, capacity), mut at) = (memory, 0);
        let asked = asked.into_iter().map(|(gap, input, output, family)| {
            at += if gap.is_multiple_of(3) { 0 } else { gap };
            // The first two blocks are all families'.
            let name = |i: u64| if i < 2 { i } else { family << 32 | i };
            Asked {
                at,
                input,
                output,
                blocks: (0..input.div_ceil(block)).map(name).collect(),
            }
        });
        Scenario {
            config: CoupledConfig {
                schedule: match engine.0 {
                    true => CoupledSchedule::Chunked,
                    false => CoupledSchedule::PrefillFirst,
                },
                prefix_caching: engine.1,
                pass_tokens: Tokens(engine.2),
                batch_requests: engine.3,
                watermark: Ratio(engine.4),
            },
            block,
            capacity,
            asked: asked.collect(),
            prefill,
            step: DecodeCoefficients {
                base: step.0,
                per_request: step.1,
                per_context_token: step.2,
            },
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn it_equals_the_literal_model_at_once_and_step_by_step(scenario in scenarios()) {
        let slow = SlowNode::run(&scenario);
        prop_assert_eq!(slow.log().len(), scenario.asked.len(), "each request leaves once");
        for stepwise in [true, false] {
            let (log, recomputed) = fast(&scenario, stepwise);
            prop_assert_eq!(&log, slow.log(), "step by step: {}", stepwise);
            prop_assert_eq!(recomputed, slow.recomputed);
        }
    }
}

/// The random scenarios are worth something only if the rare things happen in them.
#[test]
fn requests_lose_their_kv_are_given_up_and_reuse_blocks() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let (mut lost, mut given_up, mut hits) = (0, 0, 0);
    for _ in 0..100 {
        let scenario = scenarios().new_tree(&mut runner).expect("drawn").current();
        let slow = SlowNode::run(&scenario);
        lost += slow.recomputed;
        hits += slow.hits;
        given_up += slow.log().iter().filter(|entry| !entry.2).count();
    }
    assert!(
        lost > 10 && given_up > 10 && hits > 10,
        "{lost} {given_up} {hits}"
    );
}
