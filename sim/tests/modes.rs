//! A node that jumps to its next change does to the nanosecond what it does step by step.

use crate::clusters::{BLOCK, Scenario, coupled, profile, scenarios, switching};
use conductor_core::cache::Tier;
use conductor_core::config::Role;
use conductor_core::units::{Nanos, Tokens};
use conductor_core::workload::WorkloadRequest;
use conductor_sim::Mode;
use conductor_sim::record::{Outcome, RequestRecord};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn jumping_equals_stepping(scenario in prop_oneof![5 => scenarios(), 1 => switching(), 3 => coupled()]) {
        let jumped = scenario.run(Mode::FastForward);
        let stepped = scenario.run(Mode::StepByStep);
        for (jumped, stepped) in jumped.records.iter().zip(&stepped.records) {
            prop_assert_eq!(jumped, stepped);
        }
        prop_assert_eq!(jumped.records.len(), stepped.records.len());
        prop_assert_eq!(&jumped.digest, &stepped.digest);
        prop_assert_eq!(jumped.counters, stepped.counters);
        prop_assert_eq!(jumped.simulated, stepped.simulated);
        prop_assert_eq!(jumped.copies, stepped.copies);
        prop_assert_eq!(jumped.streams, stepped.streams);
        prop_assert_eq!(jumped.tiers, stepped.tiers);
        prop_assert_eq!(&jumped.role_changes, &stepped.role_changes);
        prop_assert_eq!(&jumped.timeline.pools, &stepped.timeline.pools);
        prop_assert!(jumped.events <= stepped.events);
    }
}

/// Noise scales a whole run of steps; over a long answer what that rounds must not depend on how many steps are
/// taken at
/// once.
#[test]
fn long_noisy_answers_are_equal_too() {
    for seed in 0..8 {
        let request = |arrival, output| WorkloadRequest {
            class: conductor_core::ids::ClassId::default(),
            workflow: None,
            arrival: Nanos::from_millis(arrival),
            input: Tokens(100),
            output: Tokens(output),
            blocks: Vec::new(),
        };
        let scenario = Scenario {
            profile: profile(seed % 2 == 1, 10.0, 10.0, 4),
            cluster: format!(
                "name = \"noisy\"\nprofile = \"small\"\nblock_tokens = {BLOCK}\n\
                 [[nodes]]\ncount = 1\nrole = \"prefill\"\n\
                 [[nodes]]\ncount = 1\nrole = \"decode\"\nhbm_kv_tokens = 8000\n\
                 [truth]\nprefill_noise = 0.1\ndecode_noise = 0.1\n"
            ),
            policy: String::new(),
            seed,
            requests: vec![request(0, 3_000), request(5, 6_000), request(9_000, 500)],
        };
        let jumped = scenario.run(Mode::FastForward);
        let stepped = scenario.run(Mode::StepByStep);
        assert_eq!(jumped.records, stepped.records, "seed {seed}");
        assert_eq!(jumped.digest, stepped.digest, "seed {seed}");
    }
}

/// Random runs are worth something only if the rare things happen in them, and jumping only if it saves events.
#[test]
fn the_random_runs_reach_every_corner() {
    let mut runner = TestRunner::deterministic();
    let (mut replications, mut hits, mut in_vain, mut rejected) = (0, 0, 0, 0);
    let (mut jumps, mut steps) = (0, 0);
    let mut hits_by_tier = [0; Tier::ALL.len()];
    for _ in 0..60 {
        let drawn = scenarios().new_tree(&mut runner).expect("it can be drawn");
        let result = drawn.current().run(Mode::FastForward);
        jumps += result.events;
        steps += drawn.current().run(Mode::StepByStep).events;
        replications += result.counters.replications;
        for (total, hits) in hits_by_tier.iter_mut().zip(result.tiers.hits) {
            *total += hits;
        }
        for record in &result.records {
            hits += u64::from(record.hit_blocks > 0);
            in_vain += u64::from(record.outcome == Outcome::RejectedAfterPrefill);
            rejected += u64::from(matches!(record.outcome, Outcome::Rejected(_)));
        }
    }
    for (name, count) in [
        ("replications", replications),
        ("hits", hits),
        ("refused after prefill", in_vain),
        ("rejected", rejected),
    ] {
        assert!(count > 10, "{name}: {count}");
    }
    assert!(
        hits_by_tier.iter().all(|&hits| hits > 10),
        "{hits_by_tier:?}"
    );
    assert!(jumps * 3 < steps, "{jumps} events in place of {steps}");
    let mut switches = [0, 0];
    for _ in 0..80 {
        let drawn = switching().new_tree(&mut runner).expect("it can be drawn");
        for change in drawn.current().run(Mode::FastForward).role_changes {
            switches[usize::from(change.role == Role::Decode)] += 1;
        }
    }
    assert!(switches.iter().all(|&count| count > 10), "{switches:?}");
    let (mut recomputed, mut hits) = (0, 0);
    for _ in 0..60 {
        let drawn = coupled().new_tree(&mut runner).expect("it can be drawn");
        let result = drawn.current().run(Mode::FastForward);
        recomputed += result.recomputed;
        let hit = |record: &&RequestRecord| record.hit_blocks > 0;
        hits += result.records.iter().filter(hit).count();
    }
    assert!(
        recomputed > 10 && hits > 10,
        "lost their KV: {recomputed}, hits: {hits}"
    );
}
