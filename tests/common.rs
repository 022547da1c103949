//! What the tests share: small jobs, and the command line as a process.

use conductor_core::units::Tokens;
use conductor_experiments::execute::Job;
use conductor_experiments::inputs::{self, WorkloadInput};
use conductor_sim::FaultPlan;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The workspace's folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A replay of the built-in workload.
pub(crate) fn generated(requests: u64, cluster: &str, policy: &str, seed: u64) -> Job {
    let mut workload = WorkloadInput::workload(inputs::DEFAULT_WORKLOAD).expect("built in");
    workload.requests = Some(requests);
    workload.seed = seed;
    job(workload, cluster, policy, seed)
}

/// A replay of a real trace; for tests that are ignored without it.
pub(crate) fn trace(name: &str, cluster: &str, policy: &str) -> Job {
    job(
        WorkloadInput::trace(name, root()).expect("the trace is here"),
        cluster,
        policy,
        1,
    )
}

fn job(mut workload: WorkloadInput, cluster: &str, policy: &str, seed: u64) -> Job {
    workload.block = Tokens(512);
    let cluster = inputs::cluster(cluster, None).expect("built in");
    let policy = inputs::policy(policy).expect("built in");
    Job {
        workload,
        cluster,
        policy,
        faults: FaultPlan::default(),
        seed,
        node_samples: false,
        records: true,
    }
}

/// Runs `conductor` and waits for it.
pub(crate) fn conductor(args: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_conductor"))
        .args(args)
        .current_dir(folder)
        .output()
        .expect("the binary of this package starts")
}

/// Standard output of a run that must succeed.
pub(crate) fn stdout(args: &[&str], folder: &Path) -> String {
    let output = conductor(args, folder);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "conductor {}: {error}",
        args.join(" ")
    );
    String::from_utf8(output.stdout).expect("output is text")
}

/// Writes a file into a folder.
pub(crate) fn file(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).expect("a temporary folder can be written");
    path
}
