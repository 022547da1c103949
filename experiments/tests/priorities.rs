//! Classes as a whole, on a generated workload: who is turned away first, who yields, and what nobody is denied.

use conductor_core::action::RejectReason;
use conductor_core::config::{ClusterConfig, PolicyConfig};
use conductor_core::ids::{ClassId, WorkflowId};
use conductor_core::units::Nanos;
use conductor_core::workload::WorkloadRequest;
use conductor_experiments::classes::ClassShares;
use conductor_experiments::execute::{Done, Job, execute};
use conductor_experiments::inputs::WorkloadInput;
use conductor_sim::record::{Outcome, RequestRecord};
use conductor_sim::report::ClassReport;
use conductor_sim::{FaultPlan, Observer, RunConfig, RunResult};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

/// Two classes that share everything but their place in line and weight, and a third.
fn policy(third: &str) -> PolicyConfig {
    let text = format!(
        "[admission]\nselect = \"early-predicted\"\n\
         [[classes]]\nname = \"first\"\nweight = 3\n[[classes]]\nname = \"second\"\nceiling = 0.9\n\
         [[classes]]\n{third}\n"
    );
    PolicyConfig::parse(&text).expect("the policy is valid")
}

const JOBS: &str = "name = \"jobs\"\ncompletion_s = 1200\nceiling = 0.7";
const AGENT: &str = "name = \"agent\"\nworkflow_s = 900\nceiling = 0.9";

/// Speeds at which 8 + 8 nodes get about a third less than they can do, and three times as much.
const MODERATE: f64 = 2.0;
const OVERLOAD: f64 = 9.0;

fn run(policy: &PolicyConfig, classes: &str, speed: f64) -> Done {
    let mut workload = WorkloadInput::workload("kimi-conversation").expect("built in");
    workload.requests = Some(8_000);
    workload.speed = speed;
    workload.classes = ClassShares::parse(classes).expect("shares");
    let job = Job {
        workload,
        cluster: ClusterConfig::built_in("8p8d").expect("built in"),
        policy: policy.clone(),
        faults: FaultPlan::default(),
        seed: 1,
        node_samples: false,
        records: true,
    };
    execute(&job, Observer::default()).expect("runs")
}

/// The same without the requests of one class.
fn run_without(done: &Done, class: ClassId, speed: f64) -> RunResult {
    let mut workload = WorkloadInput::workload("kimi-conversation").expect("built in");
    workload.requests = Some(8_000);
    workload.speed = speed;
    let rows = workload.open().expect("opens").zip(&done.result.records);
    let requests = rows.filter(|(_, record)| record.class != class);
    let requests = requests.map(|(row, record)| {
        let row = row.expect("a good row");
        Ok::<_, Infallible>(WorkloadRequest {
            class: record.class,
            ..row
        })
    });
    let config = RunConfig {
        ..done.config.clone()
    };
    conductor_sim::run(&config, requests, Observer::default()).expect("runs")
}

fn of(records: &[RequestRecord], class: u8) -> impl Iterator<Item = &RequestRecord> {
    let own = move |record: &&RequestRecord| record.class == ClassId(class);
    records.iter().filter(own)
}

/// Seconds of prefill of each class that ended while requests still arrived, and until when that was.
fn prefill_while_loaded(records: &[RequestRecord]) -> (Vec<f64>, f64) {
    let until = records
        .iter()
        .map(|record| record.arrival)
        .max()
        .expect("some");
    let ended = |record: &&RequestRecord| {
        record
            .ttft
            .is_some_and(|ttft| record.arrival + ttft <= until)
    };
    let time = |class| -> f64 {
        let own = of(records, class).filter(ended);
        own.map(|record| record.prefill.as_secs_f64()).sum()
    };
    ((0..3).map(time).collect(), until.as_secs_f64())
}

fn effective(records: &[RequestRecord], class: u8) -> f64 {
    let (ttft, tbt) = (Nanos::from_secs(30), Nanos::from_millis(100));
    let good = |record: &&RequestRecord| {
        record.outcome == Outcome::Completed
            && record.ttft.is_some_and(|found| found <= ttft)
            && record.tbt.is_none_or(|found| found <= tbt)
    };
    of(records, class).filter(good).count() as f64 / of(records, class).count() as f64
}

fn rejected(class: &ClassReport) -> f64 {
    class.rejected as f64 / class.requests as f64
}

#[test]
fn under_overload_the_first_class_goes_first_and_each_gets_its_share() {
    let done = run(&policy(JOBS), "second=0.35,jobs=0.3", OVERLOAD);
    let [first, second, jobs] = &done.report.classes[..] else {
        panic!("three classes")
    };
    assert!(
        rejected(first) + 0.2 < rejected(second),
        "{first:?} {second:?}"
    );
    // By its own recomputation, as the report has it.
    assert!((effective(&done.result.records, 0) - first.effective_ratio).abs() < 1e-9);
    let (time, until) = prefill_while_loaded(&done.result.records);
    let all: f64 = time.iter().sum();
    assert!(
        all > 0.9 * 8.0 * until,
        "the nodes are busy: {all} s in {until} s"
    );
    // Of weights 3, 1, 1; jobs get theirs as soon as they have to.
    assert!(time[0] >= 0.9 * 0.6 * all, "{time:?}");
    assert!(time[1] >= 0.9 * 0.2 * all, "{time:?}");
    assert!(time[2] <= 1.1 * 0.2 * all, "{time:?}");
    assert!(
        jobs.rejected > 0,
        "there are more jobs than their share can do"
    );
    let limit = Nanos::from_secs(1200);
    let taken = of(&done.result.records, 2).filter(|job| job.placed.is_some());
    for job in taken {
        assert!(job.e2e().is_some_and(|e2e| e2e <= limit), "{job:?}");
    }
}

#[test]
fn jobs_fill_what_is_idle_and_yield() {
    let jobs = ClassId(2);
    let done = run(&policy(JOBS), "second=0.2,jobs=0.5", MODERATE);
    let with = &done.result.records;
    let without = run_without(&done, jobs, MODERATE).records;
    for class in [0, 1] {
        let (with, without) = (effective(with, class), effective(&without, class));
        assert!(
            (with - without).abs() <= 0.02,
            "class {class}: {with}, alone {without}"
        );
    }
    let report = &done.report.classes[2];
    assert_eq!(report.rejected, 0);
    assert!((report.effective_ratio - 1.0).abs() < 1e-9, "{report:?}");
    assert!(report.e2e_s.p50 > 30.0, "they are held: {report:?}");
    let busy = |records| {
        let (time, until) = prefill_while_loaded(records);
        time.iter().sum::<f64>() / (8.0 * until)
    };
    let (with, without) = (busy(with), busy(&without));
    assert!(with > without + 0.2, "busy {with}, without jobs {without}");
}

#[test]
fn a_workflow_that_has_begun_goes_before_one_that_has_not() {
    let done = run(&policy(AGENT), "second=0.2,agent=0.3", OVERLOAD / 2.0);
    // Steps turned away by load, and steps in all, of workflows that have begun and of those that have not.
    let mut steps = [(0, 0); 2];
    let mut began = BTreeSet::new();
    let mut whole: BTreeMap<WorkflowId, (Nanos, bool)> = BTreeMap::new();
    for record in of(&done.result.records, 2) {
        let workflow = record.workflow.expect("the generator knows its sessions");
        let (turned_away, all) = &mut steps[usize::from(began.contains(&workflow))];
        *all += 1;
        match record.outcome {
            Outcome::Rejected(RejectReason::PrefillLoad | RejectReason::DecodeLoad) => {
                *turned_away += 1
            }
            Outcome::Rejected(_) | Outcome::Cancelled => {}
            Outcome::Completed | Outcome::RejectedAfterPrefill => drop(began.insert(workflow)),
        }
        // Good is a workflow whose last answer ends within the limit from its first step's arrival.
        let (since, good) = whole.entry(workflow).or_insert((record.arrival, true));
        let ended = record.e2e().map(|e2e| record.arrival + e2e);
        let in_time = ended.is_some_and(|ended| ended - *since <= Nanos::from_secs(900));
        *good &= record.outcome == Outcome::Completed && in_time;
    }
    let [fresh, begun] = steps.map(|(turned_away, all)| f64::from(turned_away) / f64::from(all));
    assert!(begun + 0.1 < fresh, "first {fresh}, later {begun}");
    let report = &done.report.classes[2];
    assert_eq!(report.workflows, whole.len() as u64);
    let good = whole.values().filter(|(_, good)| *good).count() as f64;
    assert!((report.workflows_effective_ratio - good / whole.len() as f64).abs() < 1e-9);
}

#[test]
fn the_example_is_a_policy_with_three_classes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/classes.toml");
    let text = std::fs::read_to_string(path).expect("the example is there");
    let policy = PolicyConfig::parse(&text).expect("the example is valid");
    let names = policy.classes.iter().map(|class| &*class.name);
    assert_eq!(names.collect::<Vec<_>>(), ["chat", "agent", "batch"]);
}
