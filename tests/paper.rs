//! What the generated workload must share with the real trace once it is scheduled.
//!
//! The papers' figures themselves are experiments (`conductor experiment run`), not tests.

use crate::common::{generated, trace};
use conductor_experiments::execute::execute;
use conductor_experiments::inputs::COMPARED_POLICIES;
use conductor_sim::Observer;

fn mean_ttft(job: &conductor_experiments::execute::Job) -> f64 {
    execute(job, Observer::default())
        .expect("runs")
        .report
        .ttft_s
        .mean
}

#[test]
#[cfg_attr(
    not(has_conversation_trace),
    ignore = "traces/data/conversation_trace.jsonl is absent: run traces/fetch.sh"
)]
fn each_policys_mean_ttft_on_the_generated_hour_is_that_on_the_real_one() {
    let mean = |means: &[f64]| means.iter().sum::<f64>() / means.len() as f64;
    for policy in COMPARED_POLICIES {
        // A seed draws the workload and, for a random policy, where each request goes: the real hour has one
        // workload,
        // but as many draws of the policy.
        let draws = if policy == "random" { 10 } else { 1 };
        let real = (1..=draws).map(|seed| {
            let mut job = trace("conversation", "a800-8p8d", policy);
            job.seed = seed;
            mean_ttft(&job)
        });
        let real = mean(&real.collect::<Vec<_>>());
        let means: Vec<f64> = (1..=10)
            .map(|seed| mean_ttft(&generated(12_031, "a800-8p8d", policy, seed)))
            .collect();
        let error = mean(&means) / real - 1.0;
        let worst = means
            .iter()
            .map(|mean| (mean / real - 1.0).abs())
            .fold(0.0, f64::max);
        println!(
            "{policy:18} real {real:.3} s, generated {:.3} s ({:+.1} %), worst seed {:.1} %",
            mean(&means),
            error * 100.0,
            worst * 100.0
        );
        assert!(worst <= 0.15, "{policy}: {means:?} against {real}");
    }
}

#[test]
#[cfg_attr(
    not(has_conversation_trace),
    ignore = "traces/data/conversation_trace.jsonl is absent: run traces/fetch.sh"
)]
fn the_real_hour_keeps_the_order_of_fig_5() {
    let means =
        COMPARED_POLICIES.map(|policy| mean_ttft(&trace("conversation", "a800-8p8d", policy)));
    assert!(
        means.windows(2).all(|pair| pair[0] > pair[1]),
        "{COMPARED_POLICIES:?}: {means:?}"
    );
}
