//! How much better one job did than another on the same requests, and how far to trust it.
//!
//! With several seeds each is a workload, and the differences of the seeds are independent of each other: their mean
//! has Student's interval. With one workload its requests are not independent: what one waits for the next ones wait
//! for too. So the method of batch means (Law, *Simulation Modeling and Analysis*, 5th ed., section 9.5.3): the
//! window's requests in ten batches of equally many, by arrival; the metric of each batch; Student's interval of the
//! ten paired differences. Ten are few enough for each to be long beside what couples requests, and enough for a usable
//! interval (Schmeiser, "Batch size effects in the analysis of simulation output", *Operations Research* 30, 1982).
//! Both policies see the same requests, so that most of what is random cancels.
//!
//! The interval is about this window: that other hours have other requests it cannot know.

use super::Objective;
use crate::execute::Done;
use crate::statistics::Estimate;
use conductor_sim::report::{MeasuredReport, RunLabels};
use conductor_sim::{RunReport, RunResult};
use serde::Serialize;

/// Batches of one workload.
pub const BATCHES: usize = 10;
/// A batch has at least so many requests, or nothing is said.
const BATCH_MIN: usize = 20;

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Gain {
    /// The metric of the untouched policy, the mean over the seeds.
    pub baseline: f64,
    /// That of the tuned one.
    pub tuned: f64,
    /// By how much the tuned one is better; below 0 it is worse.
    pub better_by: f64,
    /// The same as a share of the baseline; none if that is 0.
    pub relative: Option<f64>,
    /// Half width of the 95 % confidence interval of `better_by`; none of too few requests.
    pub ci95: Option<f64>,
}

/// What a comparison says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// The interval is above 0.
    Better,
    /// 0 is within it.
    WithinNoise,
    /// It is below 0.
    Worse,
    /// There is none.
    Unknown,
}

impl Gain {
    /// Of runs of both, pairwise on the same workloads.
    #[must_use]
    pub fn of(objective: &Objective, baseline: &[Done], tuned: &[Done]) -> Self {
        let values = |runs: &[Done]| -> Vec<f64> {
            runs.iter().map(|run| objective.of(&run.report)).collect()
        };
        let (before, after) = (values(baseline), values(tuned));
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let pairs = |before: &[f64], after: &[f64]| {
            let pairs = before.iter().zip(after);
            let differences = pairs.map(|(before, after)| objective.better_by(*after, *before));
            Estimate::of(&differences.collect::<Vec<_>>()).ci95
        };
        let ci95 = match (baseline, tuned) {
            ([baseline], [tuned]) => batches(objective, baseline)
                .zip(batches(objective, tuned))
                .and_then(|(before, after)| pairs(&before, &after)),
            _ => pairs(&before, &after),
        };
        let (baseline, tuned) = (mean(&before), mean(&after));
        let better_by = objective.better_by(tuned, baseline);
        Self {
            baseline,
            tuned,
            better_by,
            relative: (baseline.abs() > 0.0).then(|| better_by / baseline.abs()),
            ci95,
        }
    }

    /// What it says.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self.ci95 {
            None => Verdict::Unknown,
            Some(ci) if self.better_by > ci => Verdict::Better,
            Some(ci) if self.better_by < -ci => Verdict::Worse,
            Some(_) => Verdict::WithinNoise,
        }
    }
}

/// The metric of each batch of a run.
fn batches(objective: &Objective, done: &Done) -> Option<Vec<f64>> {
    let records = &done.result.records;
    if records.len() < BATCHES * BATCH_MIN {
        return None;
    }
    let border = |batch: usize| records.len() * batch / BATCHES;
    let metric = |batch: usize| {
        let (first, behind) = (border(batch), border(batch + 1));
        let last = records
            .get(behind)
            .or_else(|| records.last())
            .expect("a batch has some");
        let begins_s = records[first].arrival.as_secs_f64();
        let result = RunResult {
            records: records[first..behind].to_vec(),
            simulated: last.arrival,
            ..RunResult::default()
        };
        // Rates are over the time from the batch's first arrival to the next one's.
        let measured = Some(MeasuredReport {
            from_s: begins_s,
            until_s: None,
            begins_s,
        });
        let labels = RunLabels {
            measured,
            ..RunLabels::default()
        };
        objective.of(&RunReport::new(&done.config, &result, labels))
    };
    Some((0..BATCHES).map(metric).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execute::{Job, execute};
    use crate::inputs::{self, WorkloadInput};
    use conductor_sim::{FaultPlan, Observer};

    fn ran(cluster: &str, policy: &str, requests: u64, seed: u64) -> Done {
        let mut workload = WorkloadInput::workload(inputs::DEFAULT_WORKLOAD).expect("built in");
        (workload.requests, workload.seed, workload.speed) = (Some(requests), seed, 4.0);
        let job = Job {
            workload,
            cluster: inputs::cluster(cluster, None).expect("built in"),
            policy: inputs::policy(policy).expect("built in"),
            faults: FaultPlan::default(),
            seed,
            node_samples: false,
            records: true,
        };
        execute(&job, Observer::default()).expect("it runs")
    }

    #[test]
    fn batches_make_up_the_whole_and_equal_runs_differ_by_nothing() {
        let objective: Objective = "effective_ratio".parse().expect("known");
        let done = ran("2p2d", "kvcache-centric", 1000, 1);
        let batches = batches(&objective, &done).expect("enough requests");
        let mean = batches.iter().sum::<f64>() / BATCHES as f64;
        assert!((mean - done.report.effective_ratio).abs() < 1e-9);
        let gain = Gain::of(
            &objective,
            std::slice::from_ref(&done),
            std::slice::from_ref(&done),
        );
        assert_eq!((gain.better_by, gain.ci95), (0.0, Some(0.0)));
        assert_eq!(gain.verdict(), Verdict::WithinNoise);
        assert_eq!(
            super::batches(&objective, &ran("2p2d", "random", 199, 1)),
            None
        );
    }

    #[test]
    fn what_is_plainly_better_is_found_by_batches_and_by_seeds() {
        let objective: Objective = "ttft_s.mean".parse().expect("known");
        let runs = |cluster: &str, seeds: u64| -> Vec<Done> {
            (1..=seeds)
                .map(|seed| ran(cluster, "kvcache-centric", 400, seed))
                .collect()
        };
        for seeds in [1, 3] {
            let gain = Gain::of(&objective, &runs("2p2d", seeds), &runs("6p6d", seeds));
            assert_eq!(gain.verdict(), Verdict::Better, "{gain:?}");
            let back = Gain::of(&objective, &runs("6p6d", seeds), &runs("2p2d", seeds));
            assert_eq!(back.verdict(), Verdict::Worse, "{back:?}");
        }
        // Less is better, and the sign says so.
        let gain = Gain::of(&objective, &runs("2p2d", 1), &runs("6p6d", 1));
        assert!(gain.tuned < gain.baseline && gain.better_by > 0.0);
    }
}
