//! Random events, legal and illegal: late, said twice, out of phase, of unknown requests, attempts and nodes.
//!
//! Whatever comes, each accepted request ends exactly once, orders name nodes that can carry them out, bounds hold,
//! and when all is over nothing is booked.

use crate::driver::{Driver, Tape};
use conductor_core::action::Action;
use conductor_core::conductor::Counters;
use conductor_core::config::{ClusterConfig, PolicyConfig, Role};
use conductor_core::cost::PROMPT_MAX;
use conductor_core::event::Event;
use conductor_core::ids::{BlockHash, ClassId, NodeId, RequestId, Ticket, WorkflowId};
use conductor_core::units::{Nanos, Tokens};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::collections::BTreeSet;

/// Tokens in a block of the test clusters.
const BLOCK: u64 = 512;
/// Chains are no longer than this; the first blocks are common to all families.
const CHAIN_MAX: u64 = 12;
const COMMON: u64 = 3;
const FAMILIES: u64 = 3;

/// A cluster and a policy, as text.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    cluster: String,
    policy: String,
}

/// Whom a fact is about.
#[derive(Clone, Debug)]
pub(crate) enum Who {
    Live(Index),
    /// An attempt before or after the live one.
    WrongAttempt(Index, bool),
    Ended(Index),
    Unknown(u64),
}

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Wait(u64),
    Arrive {
        family: u64,
        blocks: u64,
        /// Tokens that the last block lacks.
        lacks: u64,
        /// Blocks listed; may be more than the prompt has.
        listed: u64,
        /// May be none that there is.
        class: u8,
        workflow: Option<u64>,
    },
    ArriveWith(Tokens),
    ArriveAgain(Index, u32),
    Resubmit(Index),
    /// The next fact of a live request, as a node would tell it.
    GoOn(Index),
    /// Any fact about anybody.
    Fact(u8, Who),
    Cancel(Who),
    Up(u16),
    Down(u16),
    Store(u16, u64, u64, u64),
    Evict(u16, u64, u64, u64),
    Report(u16, u64, u64, u64),
    /// The Conductor starts anew, and the nodes that were up say so.
    Restart,
    /// What a node that was ordered to switch says.
    Switched,
    /// What nobody was asked for, or was told before.
    Role(u16, Role),
}

/// Block `place` of a family's prompts.
fn block(family: u64, place: u64) -> BlockHash {
    BlockHash(if place < COMMON {
        place
    } else {
        100 * (family + 1) + place
    })
}

fn chain(family: u64, from: u64, len: u64) -> Vec<BlockHash> {
    (from..from + len)
        .map(|place| block(family, place))
        .collect()
}

/// Every block that any prompt of these tests can have.
pub(crate) fn all_blocks() -> impl Iterator<Item = BlockHash> {
    (0..FAMILIES).flat_map(|family| chain(family, 0, 2 * CHAIN_MAX))
}

pub(crate) fn settings() -> impl Strategy<Value = Setting> {
    settings_with(prop_oneof![1 => Just(String::new()), 2 => roles()])
}

fn settings_with(roles: impl Strategy<Value = String>) -> impl Strategy<Value = Setting> {
    let nodes = (1_u64..5, 1_u64..3, 1_u64..3);
    let hbm = (2_u64..16, 2_u64..40);
    let limits = (1_u64..12, prop_oneof![Just(8_u64), Just(1000)]);
    let policy = (
        0..PolicyConfig::BUILT_IN.len() + 3,
        any::<bool>(),
        0_u64..2_000,
        roles,
    );
    let policy = (policy, admission(), classes());
    (nodes, hbm, limits, policy).prop_map(
        |((prefill, small, large), hbm, (live, index), ((policy, tbt, reserve, roles), admission, classes))| Setting {
            cluster: format!(
                "name = \"small\"\nblock_tokens = {BLOCK}\n\
                 [[nodes]]\ncount = {small}\nrole = \"decode\"\nhbm_kv_tokens = {}\n\
                 [[nodes]]\ncount = {prefill}\nrole = \"prefill\"\ncache_tokens = 10_000\n\
                 [[nodes]]\ncount = {large}\nrole = \"decode\"\nhbm_kv_tokens = {}\n\
                 [limits]\nlive_requests = {live}\nindex_blocks = {index}\n",
                hbm.0 * BLOCK,
                hbm.1 * BLOCK
            ),
            policy: format!(
                "[prefill]\nselect = \"{}\"\n[decode]\nselect = \"{}\"\noutput_reserve_tokens = {reserve}\n\
                 {roles}{admission}[lost]\nattempts_max = 3\n{classes}",
                PolicyConfig::BUILT_IN[policy.min(5)],
                if tbt { "least-tbt" } else { "least-loaded" },
            ),
        },
    )
}

fn admission() -> impl Strategy<Value = String> {
    let select = prop_oneof![3 => Just("none"), 1 => Just("per-stage"), 1 => Just("early"), 2 => Just("early-predicted")];
    select.prop_map(|select| format!("[admission]\nselect = \"{select}\"\n"))
}

/// None, or up to four of all kinds.
fn classes() -> impl Strategy<Value = String> {
    let limits = prop_oneof![
        2 => prop_oneof![Just("ttft_s = 0.4"), Just("ttft_s = 2"), Just("ttft_s = 30\ntbt_s = 0.01")],
        1 => prop_oneof![Just("workflow_s = 5"), Just("workflow_s = 400")],
        3 => prop_oneof![Just("completion_s = 3"), Just("completion_s = 60"), Just("completion_s = 300"),
            Just("completion_s = 86400")],
    ];
    let class = (limits, 1_u32..5, 0_u32..200);
    let some = proptest::collection::vec(class, 1..5).prop_map(|classes| {
        let mut ceiling = 1000;
        let text = |(i, (limits, weight, less)): (usize, (&str, u32, u32))| {
            ceiling -= less;
            let ceiling = f64::from(ceiling) / 1000.0;
            format!(
                "[[classes]]\nname = \"c{i}\"\n{limits}\nweight = {weight}\nceiling = {ceiling:?}\n"
            )
        };
        classes.into_iter().enumerate().map(text).collect()
    });
    prop_oneof![Just(String::new()), some]
}

/// So eager that a second of a gap is enough.
fn roles() -> impl Strategy<Value = String> {
    (1_u64..60, 5_u64..90, 1_u64..3).prop_map(|(gap, busy, nodes)| {
        format!(
            "[slo]\nttft_s = 0.5\n[roles]\nselect = \"load-gap\"\ngap = 0.{gap:02}\nbusy_min = 0.{busy:02}\n\
             hold_s = 0.1\ncooldown_s = 0.5\nnodes_min = {nodes}\n"
        )
    })
}

fn who() -> impl Strategy<Value = Who> {
    prop_oneof![
        4 => any::<Index>().prop_map(Who::Live),
        1 => any::<(Index, bool)>().prop_map(|(i, later)| Who::WrongAttempt(i, later)),
        2 => any::<Index>().prop_map(Who::Ended),
        1 => (0_u64..5).prop_map(Who::Unknown),
    ]
}

pub(crate) fn ops() -> impl Strategy<Value = Vec<Op>> {
    proptest::collection::vec(op(4), 1..160)
}

/// Long enough, and quiet enough, for nodes to change their roles more than once.
fn long_ops() -> impl Strategy<Value = Vec<Op>> {
    proptest::collection::vec(op(1), 200..600)
}

/// Nodes start, or start anew, so often.
fn op(starts: u32) -> impl Strategy<Value = Op> {
    let longest = if starts > 1 {
        100_000_000_000
    } else {
        2_000_000_000
    };
    let from = prop_oneof![3 => Just(0), 1 => 0..CHAIN_MAX];
    let blocks = (0_u16..8, 0..FAMILIES, from, 1..=CHAIN_MAX);
    let kind = (0_u8..6, proptest::option::of(0_u64..4));
    let arrive = (0..FAMILIES, 1..=CHAIN_MAX, 0..BLOCK, 0..2 * CHAIN_MAX, kind);
    let role = prop_oneof![Just(Role::Prefill), Just(Role::Decode), Just(Role::Coupled)];
    prop_oneof![
        4 => (0_u64..400_000_000).prop_map(Op::Wait),
        2 => (0_u64..2_000_000_000).prop_map(Op::Wait),
        1 => (0_u64..longest).prop_map(Op::Wait),
        12 => arrive.prop_map(|(family, blocks, lacks, listed, (class, workflow))| {
            Op::Arrive { family, blocks, lacks, listed, class, workflow }
        }),
        1 => prop_oneof![Just(0), Just(PROMPT_MAX.0), Just(PROMPT_MAX.0 + 1), Just(u64::MAX), 1_u64..2000]
            .prop_map(|input| Op::ArriveWith(Tokens(input))),
        2 => (any::<Index>(), 0_u32..2).prop_map(|(i, later)| Op::ArriveAgain(i, later)),
        3 => any::<Index>().prop_map(Op::Resubmit),
        24 => any::<Index>().prop_map(Op::GoOn),
        6 => (0_u8..6, who()).prop_map(|(kind, who)| Op::Fact(kind, who)),
        2 => who().prop_map(Op::Cancel),
        starts => (0_u16..12).prop_map(Op::Up),
        1 + starts / 4 => (0_u16..12).prop_map(Op::Down),
        8 => blocks.clone().prop_map(|(node, family, from, len)| Op::Store(node, family, from, len)),
        3 => blocks.clone().prop_map(|(node, family, from, len)| Op::Evict(node, family, from, len)),
        2 => blocks.prop_map(|(node, family, from, len)| Op::Report(node, family, from, len)),
        1 => Just(Op::Restart),
        3 => Just(Op::Switched),
        1 => (0_u16..12, role).prop_map(|(node, role)| Op::Role(node, role)),
    ]
}

/// Runs the operations to the end of every request.
pub(crate) fn run(setting: &Setting, ops: &[Op]) -> Tape {
    let cluster = ClusterConfig::parse(&setting.cluster, &[]).expect("the cluster is valid");
    let policy = PolicyConfig::parse(&setting.policy).expect("the policy is valid");
    let nodes = cluster.nodes.len() as u16;
    let mut driver = Driver::new(cluster, policy);
    for node in (0..nodes).map(NodeId) {
        driver.tell(Event::NodeUp { node });
    }
    let mut requests = 0;
    for op in ops {
        if let Op::Wait(time) = op {
            driver.now += Nanos(*time);
        } else if let Op::Restart = op {
            let up = driver.model.up.clone();
            driver.tell(Event::Restarted);
            for node in up {
                driver.tell(Event::NodeUp { node });
            }
        } else if let Some(event) = event(&driver, op, &mut requests) {
            driver.tell(event);
        }
    }
    driver.finish()
}

/// The event that an operation means now, if any.
fn event(driver: &Driver, op: &Op, requests: &mut u64) -> Option<Event<'static>> {
    // Those that are held are in the system too.
    let live = driver.model.live.values().map(|live| live.ticket);
    let live = live.chain(driver.model.jobs.iter().map(|job| job.ticket));
    let live: Vec<Ticket> = live.collect();
    let mut fresh = || {
        *requests += 1;
        Ticket {
            request: RequestId(*requests),
            attempt: 0,
        }
    };
    Some(match *op {
        Op::Wait(_) | Op::Restart => return None,
        Op::Arrive {
            family,
            blocks,
            lacks,
            listed,
            class,
            workflow,
        } => Event::Arrived {
            ticket: fresh(),
            input: Tokens(blocks * BLOCK - lacks),
            blocks: chain(family, 0, listed).into(),
            answer: None,
            class: ClassId(class),
            workflow: workflow.map(WorkflowId),
        },
        Op::ArriveWith(input) => Event::Arrived {
            ticket: fresh(),
            input,
            blocks: chain(0, 0, CHAIN_MAX).into(),
            answer: None,
            class: ClassId::default(),
            workflow: None,
        },
        Op::ArriveAgain(index, later) => {
            let ticket = *live.get(index.index(live.len().max(1)))?;
            Event::Arrived {
                ticket: Ticket {
                    attempt: ticket.attempt + later,
                    ..ticket
                },
                input: Tokens(BLOCK),
                blocks: chain(0, 0, 1).into(),
                answer: None,
                class: ClassId::default(),
                workflow: None,
            }
        }
        Op::Resubmit(ref index) => {
            let lost = driver.lost.get(index.index(driver.lost.len().max(1)))?;
            let ticket = Ticket {
                attempt: lost.ticket.attempt + 1,
                ..lost.ticket
            };
            // A driver gives a lost attempt in again once.
            let known =
                |other: &Ticket| other.request == ticket.request && other.attempt >= ticket.attempt;
            if driver.ended.iter().any(known) || live.iter().any(known) {
                return None;
            }
            Event::Arrived {
                ticket,
                input: lost.input,
                blocks: lost.blocks.clone().into(),
                answer: None,
                class: lost.class,
                workflow: lost.workflow,
            }
        }
        Op::GoOn(ref index) => {
            let ticket = *live.get(index.index(live.len().max(1)))?;
            let live = driver.model.live.get(&ticket.request);
            fact(live.map_or(0, |live| live.phase as u8), ticket)
        }
        Op::Fact(kind, ref who) => fact(kind, ticket(driver, &live, who)?),
        Op::Cancel(ref who) => Event::Cancelled {
            request: ticket(driver, &live, who)?.request,
        },
        Op::Up(node) => Event::NodeUp { node: NodeId(node) },
        Op::Down(node) => Event::NodeDown { node: NodeId(node) },
        Op::Store(node, family, from, len) => Event::BlocksStored {
            node: NodeId(node),
            blocks: chain(family, from, len).into(),
        },
        Op::Evict(node, family, from, len) => Event::BlocksEvicted {
            node: NodeId(node),
            blocks: chain(family, from, len).into(),
        },
        Op::Report(node, family, from, len) => Event::CacheReported {
            node: NodeId(node),
            blocks: chain(family, from, len).into(),
        },
        Op::Switched => {
            let leaving = driver.model.leaving.filter(|leaving| leaving.ordered)?;
            Event::RoleChanged {
                node: leaving.node,
                role: leaving.to,
            }
        }
        Op::Role(node, role) => Event::RoleChanged {
            node: NodeId(node),
            role,
        },
    })
}

fn fact(kind: u8, ticket: Ticket) -> Event<'static> {
    match kind {
        0 => Event::PrefillStarted {
            ticket,
            // A node may say more than the prompt has.
            cached: Tokens(ticket.request.0 % 100 * 40),
        },
        1 => Event::PrefillFinished { ticket },
        2 => Event::TransferFinished { ticket },
        3 => Event::Finished {
            ticket,
            output: Tokens(5),
            tbt: Some(Nanos(ticket.request.0 % 100 * 10_000_000)),
        },
        4 => Event::Failed { ticket },
        _ => Event::Refused { ticket },
    }
}

fn ticket(driver: &Driver, live: &[Ticket], who: &Who) -> Option<Ticket> {
    Some(match who {
        Who::Live(index) => *live.get(index.index(live.len().max(1)))?,
        Who::WrongAttempt(index, later) => {
            let ticket = *live.get(index.index(live.len().max(1)))?;
            let attempt = if *later {
                ticket.attempt + 1
            } else {
                ticket.attempt.checked_sub(1)?
            };
            Ticket { attempt, ..ticket }
        }
        Who::Ended(index) => *driver.ended.get(index.index(driver.ended.len().max(1)))?,
        Who::Unknown(number) => Ticket {
            request: RequestId(u64::MAX - number),
            attempt: 0,
        },
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn every_request_ends_once_and_books_return_to_zero(setting in settings(), ops in ops()) {
        run(&setting, &ops);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn nodes_change_their_roles_and_nothing_is_lost(setting in settings_with(roles()), ops in long_ops()) {
        run(&setting, &ops);
    }
}

/// Random runs are worth something only if the rare things happen in them.
#[test]
fn the_random_runs_reach_every_corner() {
    let mut runner = TestRunner::deterministic();
    let mut reasons = BTreeSet::new();
    let (mut resubmitted, mut counters, mut released) = (0, Vec::new(), [0; 2]);
    for i in 0..720 {
        let any = (settings(), ops()).boxed();
        let long = (settings_with(roles()), long_ops()).boxed();
        let drawn = if i % 2 > 0 { any } else { long }.new_tree(&mut runner);
        let (setting, ops) = drawn.expect("it can be drawn").current();
        let tape = run(&setting, &ops);
        for action in tape.steps.iter().flat_map(|step| &step.2) {
            match action {
                Action::Reject { reason, .. } => drop(reasons.insert(*reason)),
                Action::Dispatch { ticket, .. } if ticket.attempt > 0 => resubmitted += 1,
                _ => {}
            }
        }
        counters.push(tape.counters);
        released = [0, 1].map(|i| released[i] + tape.released[i]);
    }
    // All but a duplicate, which is stale instead.
    assert_eq!(reasons.len(), 9, "{reasons:?}");
    assert!(resubmitted > 0);
    assert!(released[0] > 100 && released[1] > 5, "{released:?}");
    for (name, count) in [
        ("replications", (|c| c.replications) as fn(&Counters) -> u64),
        ("refused", |c| c.refused),
        ("cancelled", |c| c.cancelled),
        ("cancelled while held", |c| c.cancelled_held),
        ("lost", |c| c.lost),
        ("stale", |c| c.stale),
        ("unindexed blocks", |c| c.unindexed_blocks),
        ("within SLO", |c| c.within_slo),
        ("role switches", |c| c.role_switches),
    ] {
        let sum: u64 = counters.iter().map(count).sum();
        assert!(sum > 20, "{name}: {sum}");
    }
}
