//! Priority: what a class is refused, no later one is given, unless it is owed work.
//!
//! Each run is repeated with its last request in an earlier class. Who is owed what is counted anew from the tape, by
//! the definition of `books::Shares`.

use crate::driver::SEED;
use conductor_core::action::{Action, Actions};
use conductor_core::conductor::Conductor;
use conductor_core::config::{ClusterConfig, PolicyConfig};
use conductor_core::event::Event;
use conductor_core::ids::{ClassId, NodeId, RequestId, Ticket};
use conductor_core::units::{Nanos, Tokens};
use proptest::prelude::*;

const CLUSTER: &str = "name = \"pair\"\n[[nodes]]\ncount = 1\nrole = \"prefill\"\n[[nodes]]\ncount = 1\nrole = \"decode\"\n";
const LATELY: i128 = 60_000_000_000;
const MOST: i128 = 300_000_000_000;

/// When a request came, of which class, and how long its prompt is; all prompts differ.
type Row = (u64, u8, u64);

/// Equal limits, ceilings that fall.
fn policy(weights: &[u32]) -> PolicyConfig {
    let mut text = String::from("[admission]\nselect = \"early-predicted\"\n");
    for (i, weight) in weights.iter().enumerate() {
        let ceiling = 1.0 - 0.15 * i as f64;
        text += &format!("[[classes]]\nname = \"c{i}\"\nweight = {weight}\nceiling = {ceiling}\n");
    }
    PolicyConfig::parse(&text).expect("the policy is valid")
}

/// Which requests are dispatched. The prefill node does what it is told, one after the other, and nobody decodes.
fn dispatched(policy: &PolicyConfig, rows: &[Row]) -> Vec<bool> {
    let cluster = ClusterConfig::parse(CLUSTER, &[]).expect("the cluster is valid");
    let estimate = cluster.estimate();
    let costs = cluster.estimate();
    let mut conductor = Conductor::new(cluster, policy.clone(), estimate, SEED);
    let mut actions = Actions::default();
    for node in [0, 1].map(NodeId) {
        conductor.handle(Nanos::ZERO, &Event::NodeUp { node }, &mut actions);
    }
    let (mut now, mut done) = (Nanos::ZERO, Nanos::ZERO);
    // Starts and ends of prefills to come.
    let mut facts: Vec<(Nanos, bool, Ticket)> = Vec::new();
    let mut taken = Vec::new();
    for (i, &(gap, class, input)) in rows.iter().enumerate() {
        now += Nanos::from_millis(gap);
        let due = facts.iter().filter(|fact| fact.0 <= now).count();
        for (at, ended, ticket) in facts.drain(..due) {
            let fact = match ended {
                false => Event::PrefillStarted {
                    ticket,
                    cached: Tokens::ZERO,
                },
                true => Event::PrefillFinished { ticket },
            };
            conductor.handle(at, &fact, &mut actions);
            if ended {
                let (output, tbt) = (Tokens(1), None);
                let fact = Event::Finished {
                    ticket,
                    output,
                    tbt,
                };
                conductor.handle(at, &fact, &mut actions);
            }
        }
        let ticket = Ticket {
            request: RequestId(i as u64),
            attempt: 0,
        };
        actions.clear();
        let arrived = Event::Arrived {
            ticket,
            input: Tokens(input),
            blocks: (&[][..]).into(),
            answer: None,
            class: ClassId(class),
            workflow: None,
        };
        conductor.handle(now, &arrived, &mut actions);
        let goes = matches!(actions.as_slice(), [Action::Dispatch { .. }]);
        if goes {
            let started = done.max(now);
            done = started + costs.of(NodeId(0)).prefill(Tokens(input), Tokens::ZERO);
            facts.push((started, false, ticket));
            facts.push((done, true, ticket));
        }
        taken.push(goes);
    }
    taken
}

/// What each class is owed after these requests.
fn owed(weights: &[u32], rows: &[Row], taken: &[bool]) -> Vec<i128> {
    let cluster = ClusterConfig::parse(CLUSTER, &[]).expect("the cluster is valid");
    let costs = cluster.estimate();
    let mut owed = vec![0_i128; weights.len()];
    let mut now = 0;
    let mut asked: Vec<(i128, u8)> = Vec::new();
    for (&(gap, class, input), taken) in rows.iter().zip(taken) {
        now += i128::from(gap) * 1_000_000;
        asked.push((now, class));
        if !taken {
            continue;
        }
        let work = costs.of(NodeId(0)).prefill(Tokens(input), Tokens::ZERO);
        let wants = |class: usize| {
            let mut own = asked.iter().filter(|ask| usize::from(ask.1) == class);
            own.any(|ask| now - ask.0 <= LATELY)
        };
        let all: i128 = (0..weights.len())
            .filter(|&class| wants(class))
            .map(|class| i128::from(weights[class]))
            .sum();
        for (i, owed) in owed.iter_mut().enumerate().filter(|(i, _)| wants(*i)) {
            let got = if i == usize::from(class) {
                i128::from(work.0)
            } else {
                0
            };
            let due = i128::from(work.0) * i128::from(weights[i]) / all;
            *owed = (*owed + due - got).clamp(-MOST, MOST);
        }
    }
    owed
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn what_a_class_is_refused_no_later_one_is_given_unless_it_is_owed_work(
        weights in proptest::collection::vec(1_u32..5, 2..4),
        rows in proptest::collection::vec((0_u64..4_000, 0_u8..3, 1_000_u64..30_000), 40..90),
    ) {
        let classes = weights.len() as u8;
        let rows: Vec<Row> = rows.into_iter().map(|(gap, class, input)| (gap, class % classes, input)).collect();
        let policy = policy(&weights);
        let taken = dispatched(&policy, &rows);
        for last in (0..rows.len()).filter(|&last| taken[last] && rows[last].1 > 0).rev().take(8) {
            let owed = owed(&weights, &rows[..last], &taken);
            if owed[usize::from(rows[last].1)] > 0 {
                continue;
            }
            for earlier in 0..rows[last].1 {
                let mut other = rows[..=last].to_vec();
                other[last].1 = earlier;
                prop_assert!(dispatched(&policy, &other)[last], "request {last} in class {earlier}, owed {owed:?}");
            }
        }
    }
}

/// The opposite: nobody would be starved for lack of weight. A class that has a shorter limit than the others gets its
/// share all the same, though they would fill a queue that is longer than it can wait.
#[test]
fn a_class_with_a_short_limit_gets_its_share() {
    let text = "[admission]\nselect = \"early-predicted\"\n[[classes]]\nname = \"long\"\nttft_s = 30\n\
                [[classes]]\nname = \"short\"\nttft_s = 6\n";
    let policy = PolicyConfig::parse(text).expect("the policy is valid");
    // About 4 s of work a second, half of it of each class.
    let rows: Vec<Row> = (0..6_000).map(|i| (500, (i % 2) as u8, 16_000)).collect();
    let taken = dispatched(&policy, &rows);
    let got = [0, 1].map(|class| {
        let own = rows
            .iter()
            .zip(&taken)
            .filter(|(row, taken)| row.1 == class && **taken);
        own.count()
    });
    assert!(got[1] * 2 * 100 >= 90 * (got[0] + got[1]), "{got:?}");
}
