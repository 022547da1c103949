//! One run, measured.
//!
//! Requests are counted as they end ([`Tally`]). Their records are kept too, for who draws or divides them, up to
//! [`RECORDS_MAX`]; whoever needs each of more asks for them ([`Job::records`]). So memory does not grow with the
//! length of a workload, and results of runs that fit are exact.

use crate::inputs::{InputError, WorkloadInput};
use crate::measure::Stopwatch;
use crate::results::WriteError;
use conductor_core::config::{ClusterConfig, PolicyConfig};
use conductor_sim::record::RequestRecord;
use conductor_sim::report::{MeasuredReport, RunLabels};
use conductor_sim::{FaultPlan, Mode, Observer, RunConfig, RunReport, RunResult, SimError, Tally};

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
    /// Keep the record of every request, however many there are.
    pub records: bool,
}

/// So many records are kept at most, unless each is asked for.
pub const RECORDS_MAX: usize = 1 << 18;

/// A finished run.
#[derive(Clone, Debug)]
pub struct Done {
    /// What was run.
    pub config: RunConfig,
    /// All that came out; its records only if they were kept.
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
    let measure = &job.workload.measure;
    let begins = measure.begins_at(job.workload.speed);
    // What only filled the cache is not what was asked for.
    let warm_up = job.workload.warm_up();
    let most = if job.records { usize::MAX } else { RECORDS_MAX };
    let mut collected = Collected::new(&job.policy, most);
    let mut take = |record: &RequestRecord| {
        if record.id.0 >= warm_up && record.arrival >= begins {
            collected.take(record);
        }
    };
    let observer = Observer {
        journal: observer.journal.map(|journal| journal as _),
        progress: observer.progress.map(|progress| progress as _),
        records: Some(&mut take),
        checks: observer.checks,
        replicas: observer.replicas,
    };
    let mut result = conductor_sim::run(&config, requests, observer)?;
    let (tally, records) = collected.finish();
    result.records = records;
    if tally.requests() == 0 && !measure.is_whole() {
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
    let report = RunReport::of(&config, &tally, &result, labels);
    Ok(Done {
        config,
        result,
        report,
    })
}

/// Records as they become final.
struct Collected<'a> {
    policy: &'a PolicyConfig,
    /// How many are kept.
    most: usize,
    records: Vec<RequestRecord>,
    /// Since there were too many.
    tally: Option<Tally>,
}

impl<'a> Collected<'a> {
    fn new(policy: &'a PolicyConfig, most: usize) -> Self {
        Self {
            policy,
            most,
            records: Vec::new(),
            tally: None,
        }
    }

    fn take(&mut self, record: &RequestRecord) {
        if let Some(tally) = &mut self.tally {
            return tally.add(record);
        }
        self.records.push(*record);
        if self.records.len() > self.most {
            let records = std::mem::take(&mut self.records);
            self.tally = Some(Tally::of(self.policy, &records));
        }
    }

    /// Everything counted, and the records by arrival, if they were kept.
    fn finish(mut self) -> (Tally, Vec<RequestRecord>) {
        self.records.sort_unstable_by_key(|record| record.id);
        let counted = || Tally::of(self.policy, &self.records);
        (self.tally.unwrap_or_else(counted), self.records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classes::ClassShares;
    use crate::inputs;

    /// A policy with a class of each kind of limits.
    const CLASSES: &str = "name = \"classes\"\n[admission]\nselect = \"early\"\n[[classes]]\nname = \"chat\"\n[[classes]]\n\
        name = \"agent\"\nworkflow_s = 60\n[[classes]]\nname = \"batch\"\ncompletion_s = 600\n";

    #[test]
    fn what_is_counted_says_what_records_say() {
        let mut workload = WorkloadInput::workload(inputs::DEFAULT_WORKLOAD).expect("built in");
        workload.requests = Some(600);
        workload.speed = 3.0;
        workload.classes = ClassShares::parse("agent=0.3,batch=0.2").expect("shares");
        let job = Job {
            workload,
            cluster: inputs::cluster("3p2d", None).expect("built in"),
            policy: PolicyConfig::parse(CLASSES).expect("valid"),
            faults: FaultPlan::default(),
            seed: 1,
            node_samples: false,
            records: true,
        };
        let done = execute(&job, Observer::default()).expect("it runs");
        assert!(done.report.rejected > 0 && done.report.classes.len() == 3);
        let mut records = done.result.records.clone();
        assert_eq!(records.len(), 600);
        // As they end; the classes' workflows end long after they have begun.
        records.sort_by_key(|record| (record.e2e(), record.id));
        let report =
            |tally: &Tally| RunReport::of(&done.config, tally, &done.result, RunLabels::default());
        let whole = report(&Tally::of(&job.policy, &done.result.records));
        for most in [0, 10, 599, 600] {
            let mut collected = Collected::new(&job.policy, most);
            records.iter().for_each(|record| collected.take(record));
            let (tally, kept) = collected.finish();
            assert_eq!(report(&tally), whole, "{most} kept at most");
            assert_eq!(kept.len(), if most < 600 { 0 } else { 600 });
            assert!(kept == done.result.records || kept.is_empty());
        }
        let mut merged = Tally::new(&job.policy);
        for part in records.chunks(170).rev() {
            merged.merge(&Tally::of(&job.policy, part));
        }
        assert_eq!(report(&merged), whole, "parts, merged");
    }
}
