//! Runs an experiment: the fit if it has one, then all runs side by side.
//!
//! Runs share nothing, so the result does not depend on how many threads there are. All inputs are checked before
//! the first run starts.

use crate::error::ExperimentError;
use crate::execute::{Job, RunError, execute};
use crate::fit::{self, FitError, Fitted, HALVINGS_MAX};
use crate::loads::{self, LoadSample, LoadSeries};
use crate::plan;
use crate::pool::{self, PoolJob, PoolReport};
use crate::report::{ExperimentReport, Found};
use crate::spec::{Fit, RunKind, Spec};
use crate::watch::ReplicaSeries;
use conductor_sim::replicas::{ReplicaSample, Replicas};
use conductor_sim::{Observer, RunReport};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// How to run.
#[derive(Clone)]
pub struct RunOptions<'a> {
    /// Threads; at least one is used.
    pub jobs: usize,
    /// Where `traces/data/` is looked for.
    pub root: PathBuf,
    /// Is called when something is done, from any thread.
    pub progress: Option<&'a (dyn Fn(Progress) + Sync)>,
}

impl Default for RunOptions<'_> {
    fn default() -> Self {
        Self {
            jobs: 1,
            root: PathBuf::from("."),
            progress: None,
        }
    }
}

/// How far an experiment has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is going on.
    pub stage: Stage,
    /// Runs done in this stage.
    pub done: usize,
    /// Runs of this stage; of a fit, at most.
    pub total: usize,
}

/// Parts of an experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Runs that seek the fitted number.
    Fit,
    /// The runs of the product of the axes.
    Runs,
}

/// Runs an experiment.
///
/// # Errors
/// [`ExperimentError::is_input`] tells wrong input from a failed run. Checks that do not hold are no errors.
pub fn run(spec: &Spec, options: &RunOptions<'_>) -> Result<ExperimentReport, ExperimentError> {
    let jobs = |fitted: Option<f64>| {
        let mut jobs = Vec::new();
        for run in 0..spec.run_count() {
            // The same seeds for each run: what is compared differs in nothing else.
            for repeat in 0..spec.repeats() as u64 {
                let seed = spec.seeds.map(|_| spec.first_seed + repeat);
                let root = &options.root;
                jobs.push(match spec.kind {
                    RunKind::Simulation => {
                        Work::Simulation(Box::new(plan::job(spec, run, seed, fitted, root)?))
                    }
                    RunKind::Pool => Work::Pool(Box::new(plan::pool_job(spec, run, seed, root)?)),
                });
            }
        }
        Ok::<_, ExperimentError>(jobs)
    };
    // Before anything runs, every input is looked at; the fitted number is not known yet, its lower end will do.
    let checked = jobs(spec.fit.as_ref().map(|fit| fit.bracket.low))?;
    let fitted = match &spec.fit {
        Some(fit) => Some(fitted(spec, fit, options)?),
        None => None,
    };
    let jobs = match fitted {
        Some(fitted) => jobs(Some(fitted.value))?,
        None => checked,
    };
    let results = all(spec, &jobs, options)?;
    let mut found = Found::default();
    for (run, kept) in results.into_iter().enumerate() {
        match kept {
            Kept::Pool(report) => found.pools.push(report),
            Kept::Simulation(kept) => {
                found.runs.push(kept.report);
                let loads = kept.loads.map(|samples| LoadSeries { run, samples });
                found.loads.extend(loads);
                let replicas = kept.replicas.map(|samples| ReplicaSeries { run, samples });
                found.replicas.extend(replicas);
            }
        }
    }
    Ok(ExperimentReport::new(spec, fitted, found))
}

/// One run to be done.
enum Work {
    Simulation(Box<Job>),
    Pool(Box<PoolJob>),
}

/// What a step of the fit may fail with, before it has its key.
enum StepError {
    Fit(FitError),
    Other(ExperimentError),
}

impl From<FitError> for StepError {
    fn from(error: FitError) -> Self {
        Self::Fit(error)
    }
}

fn fitted(spec: &Spec, fit: &Fit, options: &RunOptions<'_>) -> Result<Fitted, ExperimentError> {
    let total = HALVINGS_MAX as usize + 2;
    let mut done = 0;
    let found = fit::bisect(fit.bracket, |value| {
        let found = plan::job(spec, fit.run, None, Some(value), &options.root)
            .and_then(|job| simulated(spec, fit.run, &job, false))
            .map_err(StepError::Other)?;
        done += 1;
        tell(options, Stage::Fit, done, total);
        Ok(fit.metric.of(&found.report))
    });
    found.map_err(|error| match error {
        StepError::Fit(error) => ExperimentError::Fit {
            key: fit.key.to_string(),
            error,
        },
        StepError::Other(error) => error,
    })
}

/// What is kept of a run.
enum Kept {
    Simulation(Box<Simulated>),
    Pool(PoolReport),
}

/// What is kept of a simulation: its report, the loads if they are drawn, and copies of watched blocks.
struct Simulated {
    report: RunReport,
    loads: Option<Vec<LoadSample>>,
    replicas: Option<Vec<ReplicaSample>>,
}

/// All runs, in their order.
fn all(spec: &Spec, jobs: &[Work], options: &RunOptions<'_>) -> Result<Vec<Kept>, ExperimentError> {
    let drawn = loads::wanted(spec);
    let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let failed = AtomicBool::new(false);
    let results: Vec<Mutex<Option<Result<Kept, ExperimentError>>>> =
        jobs.iter().map(|_| Mutex::new(None)).collect();
    let work = || {
        // Runs are begun in order, so the first that fails is among those begun, whoever notices first.
        while !failed.load(Ordering::Relaxed) {
            let run = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(run) else { break };
            let number = run / spec.repeats();
            let result = match job {
                Work::Simulation(job) => simulated(spec, number, job, drawn.contains(&run))
                    .map(|kept| Kept::Simulation(Box::new(kept))),
                Work::Pool(job) => pool::execute(job)
                    .map(Kept::Pool)
                    .map_err(|error| run_failed(spec, number, error)),
            };
            failed.fetch_or(result.is_err(), Ordering::Relaxed);
            *results[run].lock().expect("no thread panics with it") = Some(result);
            let done = 1 + done.fetch_add(1, Ordering::Relaxed);
            tell(options, Stage::Runs, done, jobs.len());
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..options.jobs.clamp(1, jobs.len().max(1)) {
            scope.spawn(work);
        }
        work();
    });
    let results = results.into_iter();
    results
        .filter_map(|result| result.into_inner().expect("no thread panicked"))
        .collect()
}

fn simulated(
    spec: &Spec,
    run: usize,
    job: &Job,
    with_loads: bool,
) -> Result<Simulated, ExperimentError> {
    let failed = |error| run_failed(spec, run, error);
    let mut replicas = match &spec.watch {
        Some(watch) => {
            let blocks = watch.blocks(&job.workload).map_err(failed)?;
            Some(Replicas::new(blocks, watch.period))
        }
        None => None,
    };
    let observer = Observer {
        replicas: replicas.as_mut(),
        ..Observer::default()
    };
    let mut done = execute(job, observer).map_err(failed)?;
    if let Some(replicas) = &replicas {
        done.report.replicas = replicas.reports();
    }
    Ok(Simulated {
        loads: with_loads.then(|| loads::sample(&done.result.timeline)),
        report: done.report,
        replicas: replicas.map(|replicas| replicas.samples),
    })
}

fn run_failed(spec: &Spec, run: usize, error: RunError) -> ExperimentError {
    ExperimentError::Run {
        run: spec.label(run),
        error,
    }
}

fn tell(options: &RunOptions<'_>, stage: Stage, done: usize, total: usize) {
    if let Some(progress) = options.progress {
        progress(Progress { stage, done, total });
    }
}
