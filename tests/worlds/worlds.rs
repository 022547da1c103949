//! Two worlds, one core: the runtime's driver and agents on a virtual clock, with the simulator's times, write the
//! simulator's journal, step for step.
//!
//! In a package of its own, because the runtime and the simulator do not know each other.

mod times;

use conductor_core::ids::NodeId;
use conductor_core::rng::Stream;
use conductor_core::units::{Nanos, Tokens};
use conductor_core::workload::WorkloadRequest;
use conductor_experiments::execute::{Job, execute};
use conductor_experiments::inputs::{self, WorkloadInput};
use conductor_runtime::driver::Submission;
use conductor_runtime::journal::MemoryJournal;
use conductor_runtime::loopback::{Fault, Loopback};
use conductor_runtime::protocol::{Prompt, Sampling, Space};
use conductor_sim::faults::{self, FaultKind};
use conductor_sim::{FaultPlan, Observer};
use std::path::Path;
use std::sync::Arc;
use times::SimulatedTimes;

/// A replay of the built-in workload.
fn generated(requests: u64, cluster: &str, policy: &str, seed: u64) -> Job {
    let mut workload = WorkloadInput::workload(inputs::DEFAULT_WORKLOAD).expect("built in");
    workload.requests = Some(requests);
    workload.seed = seed;
    job(workload, cluster, policy, seed)
}

fn job(mut workload: WorkloadInput, cluster: &str, policy: &str, seed: u64) -> Job {
    workload.block = Tokens(512);
    Job {
        workload,
        cluster: inputs::cluster(cluster, None).expect("built in"),
        policy: inputs::policy(policy).expect("built in"),
        faults: FaultPlan::default(),
        seed,
        node_samples: false,
        records: false,
    }
}

/// What a client would ask for; nodes here have no model, so that the answer ends where the workload says.
fn submission(request: &WorkloadRequest) -> Submission {
    Submission {
        prompt: Arc::new(Prompt {
            input: request.input,
            tokens: Arc::new([]),
            blocks: request.blocks.clone().into(),
            space: Space::default(),
            output_max: request.output,
            sampling: Sampling::GREEDY,
        }),
        class: request.class,
        workflow: request.workflow,
        answer: Some(request.output),
    }
}

/// Runs a job in both worlds and compares their journals; returns what the core counted.
fn both(job: &Job, crash: Option<(NodeId, Nanos, Nanos)>) -> conductor_core::conductor::Counters {
    let mut job = job.clone();
    let mut crashes = Vec::new();
    if let Some((node, at, lasts)) = crash {
        job.faults.detect = Nanos::ZERO;
        let kind = FaultKind::Crash { node };
        job.faults.faults.push(faults::Fault { at, lasts, kind });
        crashes = vec![(at, Fault::Crash(node)), (at + lasts, Fault::ComesUp(node))];
    }
    let mut simulated = Vec::new();
    let observer = Observer {
        journal: Some(&mut simulated),
        ..Observer::default()
    };
    let done = execute(&job, observer).expect("runs");
    let simulated = String::from_utf8(simulated).expect("a journal is text");

    let journal = MemoryJournal::default();
    let times = SimulatedTimes::new(&job.cluster, job.seed);
    let mut runtime = Loopback::new(
        &job.cluster,
        &job.policy,
        job.seed,
        Box::new(journal.clone()),
        times,
        crashes,
    );
    let requests = job.workload.open().expect("opens");
    let requests = requests.map(|request| {
        let request = request.expect("a row of the workload");
        (request.arrival, submission(&request))
    });
    let outcome = runtime.run(requests);
    let lines = journal.lines();
    for (i, (theirs, ours)) in simulated.lines().zip(&lines).enumerate().skip(1) {
        assert_eq!(theirs, ours, "line {} of the journals", i + 1);
    }
    assert_eq!(simulated.lines().count(), lines.len());
    assert_eq!(done.report.digest, runtime.digest());
    runtime.assert_idle();
    let (executed, journaled) = runtime.executed_and_journaled();
    assert_eq!(executed, journaled, "what was decided was done");
    let counters = *runtime.counters();
    assert_eq!(outcome.finished, counters.finished);
    counters
}

#[test]
#[cfg_attr(
    not(has_conversation_trace),
    ignore = "traces/data/conversation_trace.jsonl is absent: run traces/fetch.sh"
)]
fn the_conversation_trace_gives_one_journal_in_both_worlds() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let workload = WorkloadInput::trace("conversation", &root).expect("the trace is here");
    let mut job = job(workload, "8p8d", "kvcache-centric+early-predicted", 1);
    job.workload.limit = Some(3_000);
    job.workload.speed = 3.0;
    let seen = both(
        &job,
        Some((NodeId(2), Nanos::from_secs(60), Nanos::from_secs(30))),
    );
    assert!(seen.replications > 100, "{seen:?}");
    assert!(seen.rejected > 100, "{seen:?}");
    assert!(seen.lost > 0, "{seen:?}");
}

#[test]
fn a_generated_workload_gives_one_journal_in_both_worlds_whatever_the_policy() {
    for (cluster, policy) in [
        ("3p2d", "kvcache-centric"),
        ("2p4d", "least-loaded+early"),
        ("4", "least-queued"),
        ("4-pc", "kvcache-centric"),
        ("3-cp", "random"),
    ] {
        let mut job = generated(400, cluster, policy, 5);
        job.workload.speed = 2.0;
        let seen = both(&job, None);
        assert_eq!(
            seen.finished + seen.rejected + seen.refused,
            400,
            "{cluster} {policy}"
        );
    }
}

/// Clusters, policies, loads and crashes as they come.
#[test]
fn whatever_is_drawn_gives_one_journal_in_both_worlds() {
    let clusters = ["1p1d", "2p2d", "3p1d", "1p3d", "4p4d", "3", "2-pc", "4-cp"];
    let policies = [
        "kvcache-centric",
        "kvcache-centric+early-predicted",
        "kvcache-centric+per-stage",
        "local-cache-aware+early",
        "round-robin",
    ];
    let mut lost = 0;
    for seed in 0..40 {
        let draw = Stream::new(seed, "worlds");
        let of = |at: u64, most: u64| draw.draw(at) % most;
        let cluster = clusters[of(0, clusters.len() as u64) as usize];
        let policy = policies[of(1, policies.len() as u64) as usize];
        let mut job = generated(150, cluster, policy, seed);
        job.workload.speed = [1.0, 3.0, 8.0][of(2, 3) as usize];
        let node = NodeId(of(3, job.cluster.nodes.len() as u64) as u16);
        let at = Nanos::from_secs(1 + of(4, 30));
        let crash = (of(5, 3) > 0).then(|| (node, at, Nanos::from_secs(1 + of(6, 40))));
        lost += both(&job, crash).lost;
    }
    assert!(lost > 20, "{lost} attempts were lost");
}
