//! Same inputs, same bytes: twice in one process, in debug and in release, on every machine.
//!
//! The golden digests were written once; a change that moves one explains why in the CHANGELOG.

use crate::common::generated;
use conductor_core::config::PolicyConfig;
use conductor_experiments::execute::execute;
use conductor_experiments::inputs::WorkloadInput;
use conductor_sim::Observer;
use expect_test::expect_file;
use std::fmt::Write;

#[test]
fn digests_of_all_policies_are_the_committed_ones() {
    let mut lines = String::new();
    for cluster in ["a800-8p8d", "a800-6p3d"] {
        for policy in PolicyConfig::BUILT_IN {
            let job = generated(1_500, cluster, policy, 7);
            let first = execute(&job, Observer::default()).expect("runs").report;
            let again = execute(&job, Observer::default()).expect("runs").report;
            assert_eq!(first.digest, again.digest, "{cluster} {policy}");
            let ttft = first.ttft_s.mean;
            writeln!(
                lines,
                "{cluster} {policy:18} {} ttft {ttft:.9}",
                first.digest
            )
            .expect("a string grows");
        }
    }
    // Part of a day on a small cluster that it overloads: prediction, rejection and copies.
    let mut job = generated(1_500, "a800-12p4d", "kvcache-centric+early-predicted", 7);
    job.workload = WorkloadInput {
        requests: Some(3_000),
        rate: Some(20.0),
        ..WorkloadInput::workload("kimi-day").expect("built in")
    };
    let day = execute(&job, Observer::default()).expect("runs").report;
    assert!(day.rejected > 0 && day.replications > 0);
    writeln!(
        lines,
        "a800-12p4d kimi-day {} ttft {:.9}",
        day.digest, day.ttft_s.mean
    )
    .expect("a string grows");
    expect_file!["golden/digests.txt"].assert_eq(&lines);
}

#[test]
fn the_policy_does_not_change_the_workload() {
    let arrivals = |policy| {
        let done =
            execute(&generated(500, "a800-4p4d", policy, 3), Observer::default()).expect("runs");
        done.result
            .records
            .iter()
            .map(|r| (r.arrival, r.input, r.output))
            .collect::<Vec<_>>()
    };
    assert_eq!(arrivals("random"), arrivals("kvcache-centric"));
}

#[test]
fn another_seed_is_another_run() {
    let digest = |seed| {
        let job = generated(200, "a800-2p2d", "random", seed);
        execute(&job, Observer::default())
            .expect("runs")
            .report
            .digest
    };
    assert_ne!(digest(1), digest(2));
}
