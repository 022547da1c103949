//! Role switching as a whole: a cluster that is divided wrongly ends up divided better, and one that is divided well
//! stays as it is.

use conductor_core::config::{ClusterConfig, PolicyConfig, Role};
use conductor_core::ids::{BlockHash, ClassId};
use conductor_core::rng::Stream;
use conductor_core::units::{Nanos, Tokens};
use conductor_core::workload::WorkloadRequest;
use conductor_sim::report::{RunLabels, RunReport};
use conductor_sim::{FaultPlan, Mode, Observer, RetryConfig, RunConfig, RunResult};
use std::convert::Infallible;

/// What comes: so many requests a second for so long, of this mean length each.
struct Traffic {
    rate: u64,
    seconds: u64,
    input: u64,
    output: u64,
}

impl Traffic {
    /// Arrivals at random, lengths from half to one and a half of the mean, no prefix in common.
    fn requests(&self) -> Vec<WorkloadRequest> {
        let stream = Stream::new(1, "traffic");
        let mut times: Vec<u64> = (0..self.rate * self.seconds)
            .map(|i| stream.below(3 * i, self.seconds * 1_000_000_000))
            .collect();
        times.sort_unstable();
        let about = |i: u64, mean: u64| Tokens(mean / 2 + stream.below(i, mean));
        let request = |(i, at): (usize, u64)| {
            let i = i as u64;
            let input = about(3 * i + 1, self.input);
            let block = |place| BlockHash(i << 16 | u64::from(place));
            WorkloadRequest {
                class: ClassId::default(),
                workflow: None,
                arrival: Nanos(at),
                input,
                output: about(3 * i + 2, self.output),
                blocks: (0..input.blocks(Tokens(512))).map(block).collect(),
            }
        };
        times.into_iter().enumerate().map(request).collect()
    }

    fn run(&self, cluster: &str, switching: bool) -> (RunResult, RunReport) {
        let roles = if switching {
            "[roles]\nselect = \"load-gap\"\n"
        } else {
            ""
        };
        let config = RunConfig {
            cluster: ClusterConfig::built_in(cluster).expect("built in"),
            policy: PolicyConfig::parse(roles).expect("the policy is valid"),
            retry: RetryConfig::default(),
            closed_loop: None,
            faults: FaultPlan::default(),
            seed: 1,
            mode: Mode::FastForward,
            node_samples: false,
        };
        let requests = self.requests().into_iter().map(Ok::<_, Infallible>);
        let result = conductor_sim::run(&config, requests, Observer::default()).expect("it ends");
        let report = RunReport::new(&config, &result, RunLabels::default());
        (result, report)
    }
}

/// Nodes go only to `role`, and far more requests are served within the limits than without.
fn converges(traffic: &Traffic, cluster: &str, role: Role, most: usize) {
    let (_, fixed) = traffic.run(cluster, false);
    let (result, switched) = traffic.run(cluster, true);
    let changes = &result.role_changes;
    assert!((1..=most).contains(&changes.len()), "{changes:?}");
    assert!(
        changes.iter().all(|change| change.role == role),
        "{changes:?}"
    );
    let (before, after) = (fixed.effective_ratio, switched.effective_ratio);
    assert!(
        before < 0.1 && after > 0.7,
        "{cluster}: {before} without, {after} with"
    );
    assert_eq!(switched.role_switches, changes.len() as u64);
    let nodes = (switched.nodes_prefill, switched.nodes_decode);
    assert_eq!(
        nodes,
        (fixed.nodes_prefill, fixed.nodes_decode),
        "those of the file"
    );
}

#[test]
fn too_many_prefill_nodes_for_long_answers() {
    let traffic = Traffic {
        rate: 12,
        seconds: 1_200,
        input: 2_000,
        output: 1_000,
    };
    converges(&traffic, "12p4d", Role::Decode, 4);
}

#[test]
fn too_many_decode_nodes_for_long_prompts() {
    let traffic = Traffic {
        rate: 4,
        seconds: 1_800,
        input: 12_000,
        output: 200,
    };
    converges(&traffic, "4p12d", Role::Prefill, 6);
}

#[test]
fn a_cluster_that_keeps_its_limits_stays_as_it_is_for_an_hour() {
    let traffic = Traffic {
        rate: 4,
        seconds: 3_600,
        input: 10_000,
        output: 400,
    };
    let (fixed, _) = traffic.run("8p8d", false);
    let (result, report) = traffic.run("8p8d", true);
    assert_eq!(result.role_changes, []);
    assert_eq!(result.records, fixed.records);
    assert!(report.effective_ratio > 0.95, "{}", report.effective_ratio);
}
