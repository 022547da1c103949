//! What must hold under overload, whatever the policy: who is admitted is served unless the decode node refuses it,
//! everybody is counted once, and prediction wastes less than acting on what is seen.

use conductor_core::config::PolicyConfig;
use conductor_experiments::execute::{Done, Job, execute};
use conductor_experiments::inputs::{self, WorkloadInput};
use conductor_sim::record::Outcome;
use conductor_sim::{FaultPlan, Observer};

/// The generated conversation workload, steady at `rate` requests a second.
fn run(cluster: &str, policy: PolicyConfig, rate: f64, requests: u64, seed: u64) -> Done {
    let cluster = inputs::cluster(cluster, None).expect("built in");
    let mut workload = WorkloadInput::workload("kimi-conversation").expect("built in");
    (workload.rate, workload.requests) = (Some(rate), Some(requests));
    (workload.seed, workload.block) = (seed, cluster.block);
    let job = Job {
        workload,
        cluster,
        policy,
        faults: FaultPlan::default(),
        seed,
        node_samples: false,
        records: true,
    };
    execute(&job, Observer::default()).expect("it runs")
}

fn named(name: &str) -> PolicyConfig {
    PolicyConfig::built_in(name).expect(name)
}

#[test]
fn everybody_ends_once_and_as_the_reasons_say() {
    for admission in PolicyConfig::ADMISSIONS {
        let policy = named(&format!("kvcache-centric+{admission}"));
        let done = run("4p1d", policy, 8.0, 1_500, 1);
        let (report, counters) = (&done.report, &done.result.counters);
        assert_eq!(
            report.completed + report.rejected,
            report.requests,
            "{admission}"
        );
        assert_eq!(report.unfinished, 0);
        // In a system without faults and impatient clients, who was dispatched completed or was refused.
        assert_eq!(counters.dispatched, counters.finished + counters.refused);
        assert_eq!(
            (counters.lost, counters.cancelled, counters.stale),
            (0, 0, 0)
        );
        assert_eq!(
            counters.refused, report.rejected_after_prefill,
            "{admission}"
        );
        assert_eq!(counters.rejected + counters.refused, report.rejected);
        for record in &done.result.records {
            let dispatched = record.placed.is_some();
            match record.outcome {
                Outcome::Completed | Outcome::RejectedAfterPrefill => assert!(dispatched),
                Outcome::Cancelled => unreachable!("no client goes here"),
                Outcome::Rejected(_) => assert!(!dispatched && record.ttft.is_none()),
            }
        }
        let overloaded = admission != "none";
        assert_eq!(
            report.rejected > 0,
            overloaded,
            "{admission}: it is a test of overload"
        );
        assert_eq!(report.oracle, admission == "early-predicted-oracle");
    }
}

/// With true lengths, exact costs and room that is reserved at admission, nothing is prefilled in vain: exactly.
#[test]
fn who_has_a_reserved_place_and_a_known_length_is_never_refused() {
    for (cluster, rate) in [("4p1d", 8.0), ("8p1d", 12.0), ("2p2d", 4.0)] {
        for seed in 1..=3 {
            let mut policy = named("kvcache-centric+early-predicted-oracle").to_text();
            policy.admission.level = Some(conductor_core::config::PredictionLevel::Reserved);
            let policy = PolicyConfig::from_text(&policy).expect("a level");
            let report = run(cluster, policy, rate, 1_500, seed).report;
            let wasted = (
                report.rejected_after_prefill,
                report.wasted_prefill_s.to_bits(),
            );
            assert_eq!(wasted, (0, 0.0_f64.to_bits()), "{cluster}, seed {seed}");
            assert!(report.rejected > 0, "{cluster}: it is a test of overload");
        }
    }
}

/// Where decode binds, looking at decode before the prefill wastes less than looking after it, and looking ahead less
/// than looking at now.
#[test]
fn prediction_wastes_least_where_decode_binds() {
    for seed in 1..=3 {
        let waste = |admission: &str| {
            let policy = named(&format!("kvcache-centric+{admission}"));
            let report = run("8p1d", policy, 7.0, 2_500, seed).report;
            (report.wasted_prefill_s, report.rejected)
        };
        let [per_stage, early, predicted] = ["per-stage", "early", "early-predicted"].map(waste);
        assert!(per_stage.1 > 100, "decode binds: {per_stage:?}");
        let wasted = [per_stage.0, early.0, predicted.0];
        assert!(
            wasted.is_sorted_by(|a, b| a >= b),
            "seed {seed}: {wasted:?}"
        );
        assert!(wasted[0] > wasted[2], "it is a test of waste: {wasted:?}");
    }
}
