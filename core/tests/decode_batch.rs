//! `DecodeBatch` beside a literal model of continuous batching: sequences in vectors, one step at a time, blocks
//! counted one by one, every token gap written down and sorted.
//!
//! Both run under the same small driver rules as a real node: loads take time, a run may be cut short at any
//! step, and
//! at one instant a step's end comes before loads, and loads before new sequences. HBM is so small that sequences
//! wait, are put back and are given up.

mod slow;

use conductor_core::cost::{CostModel, DecodeCoefficients, Polynomial, PrefillCoefficients};
use conductor_core::ids::{RequestId, Ticket};
use conductor_core::node::{DecodeBatch, Ended, Sequence, SequenceId};
use conductor_core::steps::StepRun;
use conductor_core::units::{Nanos, Tokens};
use proptest::prelude::*;
use slow::SlowNode;
use std::collections::{BTreeMap, VecDeque};

/// One sequence to come.
#[derive(Clone, Copy, Debug)]
struct Offer {
    at: u64,
    context: u64,
    remaining: u64,
    /// How long before its coming its last token was made.
    lag: u64,
}

#[derive(Clone, Debug)]
struct Scenario {
    block: u64,
    capacity: u32,
    offers: Vec<Offer>,
    load: (u64, u64),
    step: DecodeCoefficients,
}

/// When, who, completely?, and the mean of the longest tenth of its gaps.
type Log = Vec<(u64, u64, bool, Option<u64>)>;

impl Scenario {
    fn load_time(&self, tokens: u64) -> u64 {
        self.load.0 + self.load.1 * tokens
    }

    fn cost(&self) -> Polynomial {
        let prefill = PrefillCoefficients {
            base: 0,
            per_token: 0,
            per_token2: 0,
            hit_base: 0,
            per_cached_token: 0,
        };
        Polynomial {
            prefill,
            decode: self.step,
        }
    }
}

/// The machine under test and the node around it.
struct Fast<'a> {
    scenario: &'a Scenario,
    stepwise: bool,
    machine: DecodeBatch,
    running: Option<(u64, StepRun, u64)>,
    /// By end and order of beginning.
    loads: BTreeMap<(u64, usize), SequenceId>,
    loads_begun: usize,
    put_back: usize,
    log: Log,
}

impl Fast<'_> {
    fn run(scenario: &Scenario, stepwise: bool) -> Log {
        let block = Tokens(scenario.block);
        let mut node = Fast {
            scenario,
            stepwise,
            machine: DecodeBatch::new(block, scenario.capacity),
            running: None,
            loads: BTreeMap::new(),
            loads_begun: 0,
            put_back: 0,
            log: Log::new(),
        };
        let mut offers: VecDeque<(usize, Offer)> =
            scenario.offers.iter().copied().enumerate().collect();
        loop {
            let step_end = node.running.map(|(at, run, steps)| at + run.total(steps).0);
            let load_end = node.loads.first_key_value().map(|(&(at, _), _)| at);
            let offer_at = offers.front().map(|(_, offer)| offer.at);
            let Some(now) = [step_end, load_end, offer_at].into_iter().flatten().min() else {
                assert_eq!(node.machine.waiting(), 0, "nobody is forgotten");
                break;
            };
            if step_end == Some(now) {
                node.step_ended(now);
            } else if load_end == Some(now) {
                node.load_ended(now);
            } else {
                let (request, offer) = offers.pop_front().expect("it is due");
                node.offered(now, request as u64, offer);
            }
        }
        node.log.sort_unstable();
        node.log
    }

    fn complete(&self, now: u64) -> u64 {
        self.running.map_or(0, |(started, run, _)| {
            run.steps_to_reach(Nanos(now - started + 1)) - 1
        })
    }

    fn offered(&mut self, now: u64, request: u64, offer: Offer) {
        self.machine.offer(Sequence {
            ticket: Ticket {
                request: RequestId(request),
                attempt: 0,
            },
            context: Tokens(offer.context),
            remaining: Tokens(offer.remaining),
            last_token: Nanos(now - offer.lag.min(now)),
        });
        self.start_loads(now);
    }

    fn start_loads(&mut self, now: u64) {
        let complete = self.complete(now);
        let mut any = false;
        while let Some((id, tokens)) = self.machine.next_load(complete) {
            let end = now + self.scenario.load_time(tokens.0);
            self.loads.insert((end, self.loads_begun), id);
            self.loads_begun += 1;
            any = true;
        }
        if any && let Some((_, _, steps)) = &mut self.running {
            *steps = (*steps).min(self.machine.room().max(complete + 1));
        }
    }

    fn load_ended(&mut self, now: u64) {
        let (_, id) = self.loads.pop_first().expect("it is due");
        self.machine.loaded(id);
        let complete = self.complete(now);
        match &mut self.running {
            Some((_, _, steps)) => *steps = (*steps).min(complete + 1),
            None => self.start_steps(now),
        }
    }

    fn step_ended(&mut self, now: u64) {
        let (started, run, steps) = self.running.take().expect("it is due");
        let mut ended = Vec::new();
        self.machine.finish(Nanos(started), run, steps, &mut ended);
        self.note(now, &ended);
        self.start_loads(now);
        self.start_steps(now);
    }

    fn start_steps(&mut self, now: u64) {
        let mut ended = Vec::new();
        let before = self.machine.waiting();
        let planned = self.machine.start(&mut ended);
        self.put_back += self.machine.waiting() - before;
        self.note(now, &ended);
        match planned {
            Some(planned) => {
                self.machine.check();
                assert_eq!(planned.batch as usize, self.machine.batch());
                let run = self.scenario.cost().decode(planned.batch, planned.context);
                let steps = if self.stepwise { 1 } else { planned.steps };
                self.running = Some((now, run, steps));
            }
            None if !ended.is_empty() => self.start_loads(now),
            None => {}
        }
    }

    fn note(&mut self, now: u64, ended: &[Ended]) {
        for gone in ended {
            let tbt = gone.tbt.map(|tbt| tbt.0);
            self.log
                .push((now, gone.ticket.request.0, gone.complete, tbt));
        }
    }
}

fn scenarios() -> impl Strategy<Value = Scenario> {
    let offer = (0_u64..60_000, 0_u64..160, 1_u64..150, 0_u64..5_000);
    let load = (prop_oneof![0_u64..100, 0_u64..200_000], 0_u64..200);
    let step = (1_u64 << 28..1 << 31, 0_u64..1 << 27, 0_u64..1 << 22);
    let offers = proptest::collection::vec(offer, 1..14);
    (1_u64..17, 1_u32..40, offers, load, step).prop_map(|(block, capacity, offers, load, step)| {
        let mut at = 0;
        let offers = offers.into_iter().map(|(gap, context, remaining, lag)| {
            // A third come together.
            at += if gap.is_multiple_of(3) { 0 } else { gap };
            Offer {
                at,
                context,
                remaining,
                lag,
            }
        });
        Scenario {
            block,
            capacity,
            offers: offers.collect(),
            load,
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
        let (slow, _) = SlowNode::run(&scenario);
        prop_assert_eq!(slow.len(), scenario.offers.len(), "each sequence leaves once");
        prop_assert_eq!(&Fast::run(&scenario, true), &slow, "step by step");
        prop_assert_eq!(&Fast::run(&scenario, false), &slow, "at once");
    }
}

/// The random scenarios are worth something only if the rare things happen in them.
#[test]
fn tight_memory_puts_back_and_gives_up() {
    let offers = [(0, 30, 60), (0, 30, 60), (10, 90, 5), (10, 300, 5)];
    let scenario = Scenario {
        block: 10,
        capacity: 14,
        offers: offers
            .map(|(at, context, remaining)| Offer {
                at,
                context,
                remaining,
                lag: 0,
            })
            .into(),
        load: (1, 0),
        step: DecodeCoefficients {
            base: 100 << 20,
            per_request: 0,
            per_context_token: 0,
        },
    };
    let (slow, put_back) = SlowNode::run(&scenario);
    assert!(
        put_back > 0,
        "two that grow to nine blocks each do not fit into fourteen"
    );
    let given_up: Vec<u64> = slow.iter().filter(|e| !e.2).map(|e| e.1).collect();
    assert_eq!(given_up, [3], "what needs thirty-one blocks never fits");
    assert_eq!(Fast::run(&scenario, false), slow);
}
