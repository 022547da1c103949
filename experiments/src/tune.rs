//! Searching a policy's parameters for what serves one part of a workload best, and measuring the gain on another.
//!
//! Two windows of the same workload ([`Window`]): parameters are chosen by the first, and the choice is judged by the
//! second, which begins where the first ends and has had no part in it. What arrives before a window is replayed and
//! not counted: caches are as warm as they would be. The part before the training window is warm-up alone. Nothing of
//! the held-out window is seen while training, because nothing that arrives after a window is replayed with it.
//!
//! The untouched policy runs on both windows beside the winner. What is said of the gain, and how far to trust it:
//! [`Gain`]. A winner of many tries is lucky on its training window by construction; only the held-out gain counts.
//!
//! What can be turned is whatever a policy or a cluster file can say, but not what it is judged by: limits, classes,
//! and the number of nodes.

mod files;
mod gain;
mod objective;
mod proposer;

pub use files::{cluster_file, policy_file, profile_files, write_tries};
pub use gain::{BATCHES, Gain, Verdict};
pub use objective::Objective;

use crate::error::SearchError;
use crate::execute::{Done, Job, RunError, execute};
use crate::inputs::InputError;
use crate::knob::{Knob, Param};
use crate::parallel::in_parallel;
use crate::spec::{Part, Value};
use crate::window::Window;
use conductor_core::config::{AdmissionConfig, PredictorConfig};
use conductor_core::units::Nanos;
use conductor_sim::Observer;
use proposer::{Proposal, Proposer};
use serde::{Serialize, Serializer};

/// Sets that are proposed before any of them is told: what is tried must not depend on how many run at once.
const BATCH: usize = 4;

/// What is tuned, by what.
pub struct Study<'a> {
    /// The untouched job; its window is of no account.
    pub job: Job,
    /// What is turned; at least one.
    pub params: Vec<Param>,
    /// What is to become better.
    pub objective: Objective,
    /// Where parameters are chosen.
    pub train: Window,
    /// Where the choice is judged.
    pub held_out: Window,
    /// Sets of values that are tried at most, besides the untouched one.
    pub tries: usize,
    /// Seeds, from the job's own on, over which each set is judged.
    pub seeds: u64,
    /// Runs at once; the result does not depend on it.
    pub threads: usize,
    /// Is told of every run that is done.
    pub progress: &'a (dyn Fn() + Sync),
}

/// A set of values that was tried on the training window.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tried {
    /// Which one, from 1; 0 is the untouched policy.
    pub number: usize,
    /// The values, in the parameters' order; `null` of the untouched policy where nothing is written down.
    #[serde(serialize_with = "plain_values")]
    pub values: Vec<Option<Value>>,
    /// The objective, the mean over the seeds; none if the values do not go together.
    pub train: Option<f64>,
    /// Why they do not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

fn plain_values<S: Serializer>(values: &[Option<Value>], to: S) -> Result<S::Ok, S::Error> {
    to.collect_seq(values)
}

/// What tuning found.
#[derive(Clone, Debug)]
pub struct Tuned {
    /// Everything that was tried; the first is the untouched policy.
    pub tries: Vec<Tried>,
    /// The number of the best on the training window; 0 if nothing was better than the untouched policy.
    pub best: usize,
    /// The job with the best set in it, and the whole workload again.
    pub job: Job,
    /// Baseline and winner on the training window.
    pub train: Gain,
    /// The same on the held-out window.
    pub held_out: Gain,
    /// The held-out runs of the baseline, one a seed.
    pub baseline_runs: Vec<Done>,
    /// Those of the winner.
    pub tuned_runs: Vec<Done>,
    /// True if no set was left to try before the tries were used up.
    pub exhausted: bool,
}

impl Tuned {
    /// True if the training window shows a gain of which the held-out window shows less than half.
    #[must_use]
    pub fn is_overfitted(&self) -> bool {
        let relative = |gain: &Gain| gain.relative.unwrap_or(gain.better_by);
        self.best > 0 && relative(&self.held_out) < relative(&self.train) / 2.0
    }

    /// What the held-out window says; no change is no gain.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self.best {
            0 => Verdict::WithinNoise,
            _ => self.held_out.verdict(),
        }
    }
}

/// How long a workload is, in its own stamps.
///
/// # Errors
/// If it cannot be read.
pub fn span(job: &Job) -> Result<Nanos, InputError> {
    let mut last = Nanos::ZERO;
    for row in stamps(job)? {
        last = row?;
    }
    Ok(last)
}

/// When requests come, whatever the job's speed and window.
fn stamps(job: &Job) -> Result<impl Iterator<Item = Result<Nanos, InputError>>, InputError> {
    let mut workload = job.workload.clone();
    (workload.speed, workload.measure) = (1.0, Window::default());
    let rows = workload.open()?;
    Ok(rows.map(|row| Ok(row?.arrival)))
}

/// Refuses a window without requests, before anything is run for the other one.
fn not_empty(job: &Job, window: Window) -> Result<(), InputError> {
    let inside = |at: Nanos| at >= window.from && window.until.is_none_or(|until| at < until);
    for at in stamps(job)? {
        if inside(at?) {
            return Ok(());
        }
    }
    Err(InputError::Range {
        what: "window",
        expected: "one in which requests arrive",
        found: window.to_string(),
    })
}

/// The parameters that a policy has and that are worth turning where none is named, each around its default.
#[must_use]
pub fn usual_params(job: &Job) -> Vec<Param> {
    let policy = &job.policy;
    let mut texts = Vec::new();
    if policy.prefill.balancing_threshold.is_some() {
        texts.push("policy.prefill.balancing_threshold=1..8:log");
    }
    let has_decode_load = match policy.admission {
        AdmissionConfig::None => false,
        AdmissionConfig::PerStage { .. } | AdmissionConfig::Early { .. } => true,
        AdmissionConfig::EarlyPredicted { predictor, .. } => {
            match predictor {
                PredictorConfig::Uniform { .. } => {
                    texts.push("policy.admission.predictor.decode_s=5..120:log");
                }
                PredictorConfig::Quantile { .. } => {
                    texts.push("policy.admission.predictor.quantile=0.1..0.95");
                }
                PredictorConfig::Survival { .. } | PredictorConfig::Oracle => {}
            }
            true
        }
    };
    if has_decode_load {
        texts.push("policy.admission.threshold=0.1..1.5");
        texts.push("policy.admission.decode_threshold=0.5..1.2");
    }
    texts.push("policy.decode.output_reserve_tokens=50..2000:log");
    let params = texts.iter().map(|text| text.parse::<Param>());
    let params = params.map(|param| param.and_then(|param| param.checked(job)));
    params
        .collect::<Result<_, _>>()
        .expect("these keys and values are in every such policy")
}

/// Refuses what must not be turned.
///
/// # Errors
/// One line that names the key.
pub fn tunable(param: &Param) -> Result<(), String> {
    let refused = |why: &str| Err(format!("`{}`: expected {why}", param.knob));
    match &param.knob {
        Knob::Split => Ok(()),
        Knob::Nodes => refused(
            "split or a key of policy or cluster: the number of nodes is what all have the same",
        ),
        Knob::Key(key) => match (key.part, key.path.first().map(String::as_str)) {
            (Part::Policy, Some("slo" | "classes")) => {
                refused("a parameter of scheduling: limits are what it is judged by")
            }
            (Part::Policy, Some("name")) => refused("a parameter of scheduling"),
            (Part::Policy | Part::Cluster, _) => Ok(()),
            _ => refused("split or a key of policy or cluster"),
        },
    }
}

/// Tunes.
///
/// # Errors
/// If a window has no requests, or a run fails.
pub fn tune(study: &Study<'_>) -> Result<Tuned, SearchError> {
    for window in [study.train, study.held_out] {
        not_empty(&study.job, window).map_err(RunError::from)?;
    }
    let mut proposer = Proposer::new(&study.params, study.job.seed);
    let own: Vec<_> = study
        .params
        .iter()
        .map(|param| param.knob.current(&study.job))
        .collect();
    let untouched = study.value_of(std::slice::from_ref(&study.job))?.remove(0);
    let mut tries = vec![Tried {
        number: 0,
        values: own.clone(),
        train: Some(untouched),
        refused: None,
    }];
    let badness = |value: f64| match study.objective.is_minimised() {
        true => value,
        false => -value,
    };
    if let Some(known) = proposer.known(&own) {
        proposer.tell(&known, badness(untouched));
    }
    let mut exhausted = false;
    while tries.len() <= study.tries && !exhausted {
        let wanted = BATCH.min(study.tries + 1 - tries.len());
        let proposals: Vec<Proposal> = (0..wanted).map_while(|_| proposer.next()).collect();
        exhausted = proposals.len() < wanted;
        let jobs = proposals
            .iter()
            .map(|proposal| study.with(&proposal.values));
        let jobs: Vec<Result<Job, String>> = jobs.collect();
        let able: Vec<Job> = jobs
            .iter()
            .filter_map(|job| job.as_ref().ok())
            .cloned()
            .collect();
        let mut values = study.value_of(&able)?.into_iter();
        let worst = tries
            .iter()
            .filter_map(|tried| tried.train)
            .map(badness)
            .fold(f64::NEG_INFINITY, f64::max);
        for (proposal, job) in proposals.iter().zip(jobs) {
            let train = job
                .is_ok()
                .then(|| values.next().expect("one for each that runs"));
            // What cannot be run is as bad as the worst that was.
            proposer.tell(proposal, train.map_or(worst, badness));
            tries.push(Tried {
                number: tries.len(),
                values: proposal.values.iter().cloned().map(Some).collect(),
                train,
                refused: job.err(),
            });
        }
    }
    let runnable = tries
        .iter()
        .filter_map(|tried| Some((tried.number, badness(tried.train?))));
    // Of equals the first: what is untouched stays so.
    let (best, _) = runnable
        .reduce(|a, b| if b.1 < a.1 { b } else { a })
        .expect("the untouched one");
    let job = match best {
        0 => study.job.clone(),
        _ => {
            let values: Vec<_> = tries[best].values.iter().flatten().cloned().collect();
            study.with(&values).map_err(SearchError::Setting)?
        }
    };
    let pair = [study.job.clone(), job];
    let both = |window: Window| {
        let mut runs = study.runs(&pair, window)?;
        let tuned = runs.split_off(study.seeds as usize);
        Ok::<_, SearchError>((Gain::of(&study.objective, &runs, &tuned), runs, tuned))
    };
    let (train, ..) = both(study.train)?;
    let (held_out, baseline_runs, tuned_runs) = both(study.held_out)?;
    let [_, mut job] = pair;
    job.workload.measure = Window::default();
    Ok(Tuned {
        tries,
        best,
        job,
        train,
        held_out,
        baseline_runs,
        tuned_runs,
        exhausted,
    })
}

impl Study<'_> {
    /// How many runs it takes at most.
    #[must_use]
    pub fn runs_at_most(&self) -> u64 {
        (self.tries as u64 + 1 + 4) * self.seeds
    }

    /// The job with a set of values.
    fn with(&self, values: &[Value]) -> Result<Job, String> {
        let mut job = self.job.clone();
        for (param, value) in self.params.iter().zip(values) {
            param.knob.set(&mut job, value)?;
        }
        Ok(job)
    }

    /// The objective of each job on the training window.
    fn value_of(&self, jobs: &[Job]) -> Result<Vec<f64>, SearchError> {
        let values = in_parallel(jobs.len() * self.seeds as usize, self.threads, |place| {
            let done = self.run(jobs, place, self.train)?;
            Ok::<_, SearchError>(self.objective.of(&done.report))
        })?;
        let of_job = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        Ok(values.chunks(self.seeds as usize).map(of_job).collect())
    }

    /// Each job with each seed on a window.
    fn runs(&self, jobs: &[Job], window: Window) -> Result<Vec<Done>, SearchError> {
        in_parallel(jobs.len() * self.seeds as usize, self.threads, |place| {
            self.run(jobs, place, window)
        })
    }

    fn run(&self, jobs: &[Job], place: usize, window: Window) -> Result<Done, SearchError> {
        let seeds = self.seeds as usize;
        let mut job = jobs[place / seeds].clone();
        let seed = self.job.seed + (place % seeds) as u64;
        (job.seed, job.workload.seed, job.workload.measure) = (seed, seed, window);
        // Only what is drawn or written needs samples of nodes.
        (job.node_samples, job.records) = (false, true);
        let done = execute(&job, Observer::default())?;
        (self.progress)();
        Ok(done)
    }
}
