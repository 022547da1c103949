//! Any text as a cluster, a policy, a profile and a plan of faults: an error of one line, or what gives itself again
//! when
//! it is written and read, and can be priced.
#![no_main]

use conductor_core::config::{ClusterConfig, PolicyConfig, Profile};
use conductor_core::ids::NodeId;
use conductor_core::units::Tokens;
use conductor_sim::FaultPlan;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match ClusterConfig::parse(text, &[]) {
        Ok(cluster) => {
            let again = ClusterConfig::parse(&cluster.to_toml(), &[]).expect("it was valid");
            assert!(again == cluster);
            let costs = cluster.estimate();
            let node = NodeId(0);
            let whole = costs.prefill(node, Tokens(9_000), Tokens::ZERO);
            assert!(costs.prefill(node, Tokens(9_001), Tokens::ZERO) >= whole);
            assert!(costs.occupancy(node, Tokens(9_000), Tokens(512)) <= costs.prefill(node, Tokens(9_000), Tokens(512)));
        }
        Err(error) => assert!(error.to_string().lines().count() <= 1),
    }
    if let Ok(policy) = PolicyConfig::parse(text) {
        assert!(PolicyConfig::parse(&policy.to_toml()).expect("it was valid") == policy);
    }
    if let Ok(profile) = Profile::parse(text) {
        let cost = profile.cost();
        assert!(cost.decode_step(2, Tokens(1_000)) >= cost.decode_step(1, Tokens(0)));
    }
    if let Err(error) = FaultPlan::parse(text, 4, 1) {
        assert!(error.to_string().lines().count() <= 1);
    }
});
