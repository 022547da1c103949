//! Where time goes, and how many nodes hold a block.

use crate::clusters::{BLOCK, Scenario, coupled, profile, scenarios, switching};
use conductor_core::ids::BlockHash;
use conductor_core::units::{Nanos, Tokens};
use conductor_core::workload::WorkloadRequest;
use conductor_sim::parts::Parts;
use conductor_sim::record::Outcome;
use conductor_sim::replicas::Replicas;
use conductor_sim::{Mode, Observer};
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Every nanosecond from arrival to last token belongs to one part, on every kind of cluster.
    #[test]
    fn parts_add_up(scenario in prop_oneof![4 => scenarios(), 1 => switching(), 2 => coupled()]) {
        for record in &scenario.run(Mode::FastForward).records {
            let Some(parts) = Parts::of(record) else {
                prop_assert!(record.outcome != Outcome::Completed);
                continue;
            };
            prop_assert_eq!(Some(parts.before_decode() + parts.decode), record.e2e());
            prop_assert!(parts.prefill > Nanos::ZERO);
        }
    }
}

/// Two prefill nodes and two requests for the same prompt at once: the second node computes it too, or fetches it.
fn two_at_once(policy: &str) -> Scenario {
    let request = |arrival| WorkloadRequest {
        class: conductor_core::ids::ClassId::default(),
        workflow: None,
        arrival: Nanos::from_millis(arrival),
        input: Tokens(4 * BLOCK),
        output: Tokens(200),
        blocks: (0..4).map(BlockHash).collect(),
    };
    Scenario {
        profile: profile(false, 0.001, 10.0, 4),
        cluster: format!(
            "name = \"two\"\nprofile = \"small\"\nblock_tokens = {BLOCK}\n\
             [[nodes]]\ncount = 2\nrole = \"prefill\"\n[[nodes]]\ncount = 1\nrole = \"decode\"\n"
        ),
        policy: policy.to_string(),
        seed: 1,
        requests: vec![request(0), request(500), request(500)],
    }
}

#[test]
fn copies_are_counted_where_the_blocks_are() {
    let scenario = two_at_once("[prefill]\nselect = \"round-robin\"\n");
    let mut replicas = Replicas::new(vec![BlockHash(3), BlockHash(9)], Nanos::from_millis(1));
    let observer = Observer {
        replicas: Some(&mut replicas),
        ..Observer::default()
    };
    let result = scenario.run_observed(Mode::FastForward, observer);
    // The timeline has a sample a second, whatever is asked for; the run takes less than two.
    let seen: Vec<_> = replicas.samples.iter().map(|sample| sample.at).collect();
    let pools: Vec<_> = result.timeline.pools.iter().map(|pool| pool.at).collect();
    assert_eq!(seen, pools);
    let copies: Vec<_> = replicas.samples.iter().map(|s| &s.copies[..]).collect();
    assert_eq!(copies.first(), Some(&&[0, 0][..]));
    let reports = replicas.reports();
    assert_eq!((reports[0].max, reports[0].last), (2, 2), "{copies:?}");
    assert_eq!((reports[1].max, reports[1].last), (0, 0));
    assert!(reports[0].max_at_s >= 1.0 && reports[0].mean < 2.0);
}
