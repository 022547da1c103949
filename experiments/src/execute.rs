//! One run, measured.

use crate::inputs::{InputError, WorkloadInput};
use crate::measure::Stopwatch;
use crate::results::WriteError;
use conductor_core::config::{ClusterConfig, PolicyConfig};
use conductor_sim::report::{MeasuredReport, RunLabels};
use conductor_sim::{FaultPlan, Mode, Observer, RunConfig, RunReport, RunResult, SimError};

/// Why a run gave no result.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The input is wrong.
    #[error(transparent)]
    Input(#[from] InputError),
    /// The run failed.
    #[error(transparent)]
    Sim(#[from] SimError),
    /// What came out could not be kept.
    #[error(transparent)]
    Write(#[from] WriteError),
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Job {
    /// The requests.
    pub workload: WorkloadInput,
    /// The nodes.
    pub cluster: ClusterConfig,
    /// The policy.
    pub policy: PolicyConfig,
    /// What goes wrong.
    pub faults: FaultPlan,
    /// Seed of random policies and noise.
    pub seed: u64,
    /// Keep samples of every node.
    pub node_samples: bool,
}

/// A finished run.
#[derive(Clone, Debug)]
pub struct Done {
    /// What was run.
    pub config: RunConfig,
    /// All that came out.
    pub result: RunResult,
    /// What it says of itself.
    pub report: RunReport,
}

/// Runs a job.
///
/// # Errors
/// If the workload is wrong, also far into a trace, or the run fails.
pub fn execute(job: &Job, observer: Observer<'_>) -> Result<Done, RunError> {
    let watch = Stopwatch::start();
    let requests = job.workload.open()?;
    let classes = &job.workload.classes;
    let requests = classes.assign(requests, &job.policy, job.workload.seed)?;
    let config = RunConfig {
        cluster: job.cluster.clone(),
        policy: job.policy.clone(),
        retry: job.workload.retry,
        closed_loop: job.workload.concurrency,
        faults: job.faults.clone(),
        seed: job.seed,
        mode: Mode::FastForward,
        node_samples: job.node_samples,
    };
    let mut result = conductor_sim::run(&config, requests, observer)?;
    // What only filled the cache is not what was asked for.
    let warm_up = job.workload.warm_up().min(result.records.len() as u64);
    result.records.drain(..warm_up as usize);
    let measure = &job.workload.measure;
    let begins = measure.begins_at(job.workload.speed);
    result.records.retain(|record| record.arrival >= begins);
    if result.records.is_empty() && !measure.is_whole() {
        return Err(RunError::Input(InputError::Range {
            what: "measure",
            expected: "a window in which requests arrive",
            found: measure.to_string(),
        }));
    }
    let cost = watch.read();
    let labels = RunLabels {
        trace: job.workload.name.clone(),
        speed: job.workload.speed,
        wall_s: cost.wall_s,
        cpu_s: cost.cpu_s,
        peak_rss_mb: cost.peak_rss_mb,
        measured: (!measure.is_whole()).then(|| {
            let (from_s, until_s) = measure.seconds();
            MeasuredReport {
                from_s,
                until_s,
                begins_s: begins.as_secs_f64(),
            }
        }),
    };
    let report = RunReport::new(&config, &result, labels);
    Ok(Done {
        config,
        result,
        report,
    })
}
