//! The follower against a publisher that loses, restarts, forgets and answers late.
//!
//! What must hold is said in one sentence: what was applied since all was forgotten last is a run of batches without a
//! gap, of one publisher. From it follows that nothing that has gone can come back.

use crate::support::past::Past;
use bytes::Bytes;
use conductor_events::follower::{Attempt, Follower, FollowerConfig, Step};
use proptest::prelude::*;
use std::collections::VecDeque;

/// A batch says whose it is and which.
fn payload(process: u64, number: u64) -> Bytes {
    let mut bytes = process.to_be_bytes().to_vec();
    bytes.extend(number.to_be_bytes());
    bytes.into()
}

fn read(payload: &Bytes) -> (u64, u64) {
    let number = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().expect("eight"));
    (number(&payload[..8]), number(&payload[8..]))
}

#[derive(Clone, Debug)]
enum Op {
    /// Published, and heard or lost.
    Publish { heard: bool },
    /// So many answers of the latest request come.
    Answer(usize),
    /// One answer of an earlier request comes.
    Late,
    /// The latest request fails.
    Fail,
    /// The connection breaks and comes again.
    Reconnect,
    /// Another process, which has published so many before anybody listens.
    Restart(u64),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        12 => prop::bool::weighted(0.8).prop_map(|heard| Op::Publish { heard }),
        6 => (1_usize..6).prop_map(Op::Answer),
        1 => Just(Op::Late),
        1 => Just(Op::Fail),
        1 => Just(Op::Reconnect),
        1 => (0_u64..30).prop_map(Op::Restart),
    ];
    prop::collection::vec(op, 1..150)
}

/// Batches, and the end.
type Answers = VecDeque<Option<(u64, Bytes)>>;

/// A publisher, a follower, and what is between them.
struct Bench {
    follower: Follower,
    process: u64,
    past: Past,
    /// Answers to the present request, the end among them, and to earlier ones.
    answers: Option<(Attempt, Answers)>,
    late: VecDeque<(Attempt, u64, Bytes)>,
    /// What was applied last, and first, since all was forgotten.
    run: Option<((u64, u64), (u64, u64))>,
}

impl Bench {
    fn new(replays: bool, kept: usize, waiting_max: usize) -> Self {
        let config = FollowerConfig {
            waiting_max,
            ..FollowerConfig::new(replays)
        };
        let mut bench = Self {
            follower: Follower::new(config),
            process: 0,
            past: Past::of(kept),
            answers: None,
            late: VecDeque::new(),
            run: None,
        };
        bench.call(|follower, steps| follower.connected(steps));
        bench
    }

    fn call(&mut self, call: impl FnOnce(&mut Follower, &mut Vec<Step>)) {
        let mut steps = Vec::new();
        call(&mut self.follower, &mut steps);
        for step in steps {
            match step {
                Step::Forget => self.run = None,
                Step::Apply(payload) => {
                    let this = read(&payload);
                    if let Some((_, last)) = self.run {
                        assert_eq!(this, (last.0, last.1 + 1), "a run without a gap");
                    }
                    let first = self.run.map_or(this, |(first, _)| first);
                    self.run = Some((first, this));
                }
                Step::Ask { attempt, from } => {
                    if let Some((attempt, answers)) = self.answers.take() {
                        let late = answers.into_iter().flatten();
                        self.late
                            .extend(late.map(|(number, payload)| (attempt, number, payload)));
                    }
                    let answers = self.past.from(from).into_iter().map(Some);
                    self.answers = Some((attempt, answers.chain([None]).collect()));
                }
            }
        }
    }

    fn publish(&mut self, heard: bool) {
        let payload = payload(self.process, self.past.next);
        let number = self.past.publish(payload.clone());
        if heard {
            self.call(|follower, steps| follower.live(number, payload, steps));
        }
    }

    fn answer(&mut self) -> bool {
        let Some((attempt, answers)) = &mut self.answers else {
            return false;
        };
        let attempt = *attempt;
        match answers.pop_front() {
            Some(Some((number, payload))) => {
                self.call(|follower, steps| follower.replayed(attempt, number, payload, steps));
            }
            Some(None) => {
                self.answers = None;
                self.call(|follower, steps| follower.replay_ended(attempt, steps));
            }
            None => return false,
        }
        true
    }

    fn op(&mut self, op: &Op) {
        match *op {
            Op::Publish { heard } => self.publish(heard),
            Op::Answer(count) => {
                for _ in 0..count {
                    self.answer();
                }
            }
            Op::Late => {
                if let Some((attempt, number, payload)) = self.late.pop_front() {
                    self.call(|follower, steps| follower.replayed(attempt, number, payload, steps));
                }
            }
            Op::Fail => {
                if let Some((attempt, _)) = self.answers.take() {
                    self.call(|follower, steps| follower.replay_failed(attempt, steps));
                }
            }
            Op::Reconnect => {
                self.call(|follower, steps| follower.connected(steps));
            }
            Op::Restart(before) => {
                self.process += 1;
                self.past = Past::of(self.past.most);
                for _ in 0..before {
                    self.publish(false);
                }
                self.call(|follower, steps| follower.connected(steps));
            }
        }
    }

    /// Nothing is lost any more.
    fn heal(&mut self) {
        self.publish(true);
        let mut rounds = 0;
        while self.answer() {
            rounds += 1;
            assert!(rounds < 10_000, "it asks and asks");
        }
        self.publish(true);
        while self.answer() {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_applied_is_a_run_of_one_publisher(
        ops in ops(),
        replays in any::<bool>(),
        kept in prop_oneof![Just(3_usize), Just(1000)],
        waiting in prop_oneof![Just(2_usize), Just(1000)],
    ) {
        let mut bench = Bench::new(replays, kept, waiting);
        for op in &ops {
            bench.op(op);
        }
        bench.heal();
        let (first, last) = bench.run.expect("something was applied");
        prop_assert_eq!(last, (bench.process, bench.past.next - 1), "it has caught up");
        let failed = bench.follower.counts().failed > 0;
        if replays && kept == 1000 && !failed {
            prop_assert_eq!(first, (bench.process, 0), "and nothing was lost");
        }
    }
}

fn asked(bench: &Bench) -> u64 {
    bench.follower.counts().asked
}

#[test]
fn live_batches_wait_for_a_replay_and_follow_it() {
    let mut bench = Bench::new(true, 1000, 1000);
    for heard in [true, true, false, true] {
        bench.publish(heard);
    }
    // The first question, at the connection, is still open: all waits.
    assert_eq!(bench.run, None);
    bench.publish(true);
    while bench.answer() {}
    assert_eq!(bench.run, Some(((0, 0), (0, 4))));
    assert_eq!((asked(&bench), bench.follower.counts().gaps), (2, 1));
}

#[test]
fn a_restart_that_has_overtaken_the_old_numbers_is_noticed() {
    let mut bench = Bench::new(true, 1000, 1000);
    for _ in 0..5 {
        bench.publish(true);
    }
    while bench.answer() {}
    bench.op(&Op::Restart(20));
    while bench.answer() {}
    assert_eq!(bench.run, Some(((1, 0), (1, 19))));
    assert_eq!(bench.follower.counts().restarts, 1);
}

#[test]
fn without_a_replay_a_gap_forgets_what_was_before_it() {
    let mut bench = Bench::new(false, 0, 0);
    for heard in [true, true, false, true, true] {
        bench.publish(heard);
    }
    assert_eq!(bench.run, Some(((0, 3), (0, 4))));
    assert_eq!(bench.follower.counts().forgotten, 1);
}

#[test]
fn a_publisher_that_has_forgotten_what_is_missing_is_asked_once() {
    let mut bench = Bench::new(true, 2, 1000);
    while bench.answer() {}
    for heard in [true, false, false, false, false, true] {
        bench.publish(heard);
    }
    while bench.answer() {}
    assert_eq!(bench.run, Some(((0, 4), (0, 5))));
    assert_eq!(asked(&bench), 2);
}

#[test]
fn an_engine_that_is_gone_has_no_blocks() {
    let mut bench = Bench::new(true, 1000, 1000);
    bench.publish(true);
    while bench.answer() {}
    bench.call(|follower, steps| follower.gone(steps));
    assert_eq!((bench.run, bench.follower.last()), (None, None));
}
