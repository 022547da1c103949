//! Runs an experiment: the fit if it has one, then all runs side by side.
//!
//! Runs share nothing, so the result does not depend on how many threads there are. All inputs are checked before
//! the first run starts.

use crate::distributions::{self, Quantiles};
use crate::error::ExperimentError;
use crate::execute::{Done, Job, RunError, execute};
use crate::fit::{self, FitError, Fitted, HALVINGS_MAX};
use crate::loads::{self, LoadSeries};
use crate::parallel::in_parallel;
use crate::plan;
use crate::pool::{self, PoolJob};
use crate::report::{ExperimentReport, Found};
use crate::search::{self, Answer};
use crate::spec::{Fit, RunKind, Search, Spec};
use crate::watch::ReplicaSeries;
use conductor_sim::replicas::{ReplicaSample, Replicas};
use conductor_sim::{Observer, RunReport};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

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
    if spec.kind == RunKind::Pool {
        return pools(spec, options);
    }
    // Distributions are of each request.
    let drawn = distributions::wanted(spec);
    let jobs = |fitted: Option<f64>| {
        let mut jobs = Vec::new();
        for run in 0..spec.run_count() {
            // The same seeds for each run: what is compared differs in nothing else.
            for repeat in 0..spec.repeats() as u64 {
                let seed = spec.seeds.map(|_| spec.first_seed + repeat);
                // What is searched for is not known before, its lowest value will do.
                let lowest = spec.search.as_ref().map(|search| search.ranges[run].low);
                let sought = fitted.or(lowest);
                let mut job = plan::job(spec, run, seed, sought, &options.root)?;
                job.records = drawn.iter().any(|wanted| wanted.0 == run);
                jobs.push(job);
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
    let results = match &spec.search {
        None => all(spec, jobs.len(), options, |place| {
            Ok((None, one(spec, place / spec.repeats(), &jobs[place])?))
        })?,
        Some(search) => searched(spec, search, &jobs, options)?,
    };
    let mut found = Found::default();
    for kept in results {
        found.runs.push(kept.report);
        found.searches.extend(kept.answer);
        found.loads.extend(kept.loads);
        found.distributions.extend(kept.distributions);
        found.replicas.extend(kept.replicas);
    }
    Ok(ExperimentReport::new(spec, fitted, found))
}

/// The runs of a specification of kind `pool`.
fn pools(spec: &Spec, options: &RunOptions<'_>) -> Result<ExperimentReport, ExperimentError> {
    let mut jobs: Vec<PoolJob> = Vec::new();
    for run in 0..spec.run_count() {
        for repeat in 0..spec.repeats() as u64 {
            let seed = spec.seeds.map(|_| spec.first_seed + repeat);
            jobs.push(plan::pool_job(spec, run, seed, &options.root)?);
        }
    }
    let pools = each(jobs.len(), options, |place| {
        let failed = |error| run_failed(spec, place / spec.repeats(), error);
        pool::execute(&jobs[place]).map_err(failed)
    })?;
    let found = Found {
        pools,
        ..Found::default()
    };
    Ok(ExperimentReport::new(spec, None, found))
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
            .and_then(|job| one(spec, fit.run, &job))
            .map_err(StepError::Other)?;
        done += 1;
        tell(options, Stage::Fit, done, total);
        Ok(fit.metric.of(&found.done.report))
    });
    found.map_err(|error| match error {
        StepError::Fit(error) => ExperimentError::Fit {
            key: fit.key.to_string(),
            error,
        },
        StepError::Other(error) => error,
    })
}

/// A simulation that has been done, and copies of the blocks that were watched.
struct Ran {
    done: Done,
    replicas: Option<Vec<ReplicaSample>>,
}

/// What is kept of a run: its report, what was found by it, and what is drawn of its loads, distributions and copies.
struct Kept {
    report: RunReport,
    answer: Option<Answer>,
    loads: Option<LoadSeries>,
    distributions: Vec<Quantiles>,
    replicas: Option<ReplicaSeries>,
}

/// All runs, in their order, each with what a search has found by it.
fn all(
    spec: &Spec,
    total: usize,
    options: &RunOptions<'_>,
    execute: impl Fn(usize) -> Result<(Option<Answer>, Ran), ExperimentError> + Sync,
) -> Result<Vec<Kept>, ExperimentError> {
    let drawn = loads::wanted(spec);
    let distributions = distributions::wanted(spec);
    let quantiles = |run: usize, done: &Done| {
        let wanted = distributions.iter().filter(|wanted| wanted.0 == run);
        let quantiles = wanted.map(|&(_, of)| distributions::of(run, of, &done.result.records));
        quantiles.collect()
    };
    let kept = |run: usize, (answer, ran): (Option<Answer>, Ran)| Kept {
        answer,
        loads: drawn.contains(&run).then(|| LoadSeries {
            run,
            samples: loads::sample(&ran.done.result.timeline),
        }),
        distributions: quantiles(run, &ran.done),
        replicas: ran.replicas.map(|samples| ReplicaSeries { run, samples }),
        report: ran.done.report,
    };
    each(total, options, |run| {
        execute(run).map(|done| kept(run, done))
    })
}

/// Does `work` for each place below `total`, and tells how many are done.
fn each<T: Send>(
    total: usize,
    options: &RunOptions<'_>,
    work: impl Fn(usize) -> Result<T, ExperimentError> + Sync,
) -> Result<Vec<T>, ExperimentError> {
    let done = AtomicUsize::new(0);
    in_parallel(total, options.jobs, |place| {
        let result = work(place);
        let done = 1 + done.fetch_add(1, Ordering::Relaxed);
        tell(options, Stage::Runs, done, total);
        result
    })
}

/// The runs at the largest values at which conditions hold. Limits that are made of what the lowest values give have
/// all of these run first.
fn searched(
    spec: &Spec,
    search: &Search,
    lowest: &[Job],
    options: &RunOptions<'_>,
) -> Result<Vec<Kept>, ExperimentError> {
    let repeats = spec.repeats();
    let relative = search.conditions.iter().any(|c| !c.of_first.is_empty());
    let first = match relative {
        true => all(spec, lowest.len(), options, |place| {
            Ok((None, one(spec, place / repeats, &lowest[place])?))
        })?,
        false => Vec::new(),
    };
    let conditions = |run: usize, repeat: usize| {
        let conditions = search.conditions.iter().map(|c| {
            let mut condition = c.condition.clone();
            if let Some(runs) = c.of_first.get(run) {
                let reports = runs.iter().map(|run| &first[run * repeats + repeat].report);
                let metrics: f64 = reports.map(|report| condition.metric.of(report)).sum();
                condition.limit *= metrics / runs.len() as f64;
            }
            condition
        });
        conditions.collect::<Vec<_>>()
    };
    all(spec, lowest.len(), options, |place| {
        let (run, repeat) = (place / repeats, place % repeats);
        let seed = spec.seeds.map(|_| spec.first_seed + repeat as u64);
        let at = |value: f64| {
            let mut job = plan::job(spec, run, seed, Some(value), &options.root)?;
            job.records = lowest[place].records;
            let ran = one(spec, run, &job)?;
            Ok::<_, ExperimentError>((ran.done.report.clone(), ran))
        };
        let range = &search.ranges[run];
        let (answer, done) = search::largest(range, &conditions(run, repeat), at)?;
        Ok((Some(answer), done))
    })
}

/// One simulation, with the blocks watched that the specification wants to be.
fn one(spec: &Spec, run: usize, job: &Job) -> Result<Ran, ExperimentError> {
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
    Ok(Ran {
        done,
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
