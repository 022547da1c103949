//! What a run is kept under: a digest of all that decides what comes out of it.
//!
//! Everything is in it as resolved: requests (of a trace, the file's content and not its name alone), cluster with its
//! profiles, policy, faults, seeds, what is watched, and the sources of this program that decide results
//! (`build.rs`). Two experiments that ask for the same run have the same key, and so has one run on every machine. What
//! a run costs and how many run beside it is not in it, nor what is made of its outcome.
//!
//! Structures are taken apart without `..`, so that a new field is either here or does not compile.

use crate::execute::Job;
use crate::inputs::{InputError, Source, WorkloadInput};
use crate::pool::PoolJob;
use crate::watch::Watch;
use conductor_core::config::ClusterConfig;
use conductor_core::digest::Digest;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Digest of the sources that decide results.
pub(crate) const SOURCES: &str = env!("CONDUCTOR_SOURCES");

/// The key of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunKey(Digest);

impl fmt::Display for RunKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Makes keys. Remembers the contents of traces, which are read once.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    traces: Mutex<BTreeMap<PathBuf, Digest>>,
}

impl Keys {
    /// The key of a simulation.
    ///
    /// # Errors
    /// If a trace cannot be read.
    pub(crate) fn of_job(&self, job: &Job, watch: Option<&Watch>) -> Result<RunKey, InputError> {
        let Job {
            workload,
            cluster,
            policy,
            faults,
            seed,
            node_samples,
            records,
        } = job;
        let mut text = self.workload(workload)?;
        let policy = policy.to_toml();
        put(&mut text, "cluster", &cluster_text(cluster));
        put(&mut text, "policy", &policy);
        put(&mut text, "faults", faults);
        put(&mut text, "seed", seed);
        put(&mut text, "kept", &(node_samples, records));
        put(&mut text, "watch", &watch);
        Ok(of_text("simulation", &text))
    }

    /// The key of a run of kind `pool`.
    ///
    /// # Errors
    /// If a trace cannot be read.
    pub(crate) fn of_pool(&self, job: &PoolJob) -> Result<RunKey, InputError> {
        let PoolJob {
            workload,
            policy,
            capacity,
            sub_block,
        } = job;
        let mut text = self.workload(workload)?;
        put(&mut text, "pool", &(policy, capacity, sub_block));
        Ok(of_text("pool", &text))
    }

    fn workload(&self, workload: &WorkloadInput) -> Result<String, InputError> {
        let WorkloadInput {
            name,
            source,
            speed,
            limit,
            requests,
            rate,
            duration,
            grid_s,
            measure,
            output,
            retry,
            concurrency,
            classes,
            ids,
            block,
            sort,
            seed,
        } = workload;
        let mut text = String::new();
        match source {
            Source::Trace(path) => put(&mut text, "trace", &self.content(path)?.to_string()),
            Source::Generated(workload) => put(&mut text, "generated", workload),
            Source::Single(single) => put(&mut text, "single", single),
        }
        put(&mut text, "name", name);
        put(&mut text, "pace", &(speed, limit, requests, rate, duration));
        put(&mut text, "grid_s", grid_s);
        put(&mut text, "measure", measure);
        put(&mut text, "output", output);
        put(&mut text, "clients", &(retry, concurrency, classes));
        put(&mut text, "blocks", &(ids, block, sort));
        put(&mut text, "workload seed", seed);
        Ok(text)
    }

    /// Digest of a file's bytes. Who asks while it is read for another waits for that.
    fn content(&self, path: &Path) -> Result<Digest, InputError> {
        let mut traces = self.traces.lock().expect("no thread panics with it");
        if let Some(digest) = traces.get(path) {
            return Ok(*digest);
        }
        let digest = digest_of(path).map_err(|error| InputError::Unreadable {
            path: path.to_path_buf(),
            error,
        })?;
        traces.insert(path.to_path_buf(), digest);
        Ok(digest)
    }
}

/// Cluster file and profiles: all that a cluster is made of.
fn cluster_text(cluster: &ClusterConfig) -> String {
    let mut text = cluster.to_toml();
    for profile in cluster.profile_texts() {
        text += &toml::to_string(&profile).expect("a profile is plain tables");
    }
    text
}

fn of_text(kind: &str, text: &str) -> RunKey {
    let mut digest = Digest::default();
    digest.text(SOURCES).text(kind).text(text);
    RunKey(digest)
}

/// Names and lengths keep neighbours apart. `Debug` writes numbers so that they are the same when they are read.
fn put(text: &mut String, name: &str, value: &impl fmt::Debug) {
    let value = format!("{value:?}");
    writeln!(text, "{name} {} {value}", value.len()).expect("a string takes everything");
}

/// Reads a file through a digest.
fn digest_of(path: &Path) -> std::io::Result<Digest> {
    /// A multiple of the digest's words.
    const PART: u64 = 1 << 20;
    let mut file = File::open(path)?;
    let mut digest = Digest::default();
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let read = file.by_ref().take(PART).read_to_end(&mut bytes)?;
        digest.word(read as u64);
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            digest.word(u64::from_le_bytes(word));
        }
        if (read as u64) < PART {
            return Ok(digest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs;
    use conductor_core::units::{Nanos, Tokens};
    use conductor_sim::FaultPlan;
    use std::collections::BTreeSet;

    fn job() -> Job {
        Job {
            workload: WorkloadInput::workload("kimi-conversation").expect("built in"),
            cluster: inputs::cluster("2p1d", None).expect("built in"),
            policy: inputs::policy("kvcache-centric").expect("built in"),
            faults: FaultPlan::default(),
            seed: 1,
            node_samples: false,
            records: true,
        }
    }

    fn key(job: &Job) -> String {
        let key = Keys::default().of_job(job, None);
        key.expect("nothing to be read").to_string()
    }

    #[test]
    fn every_setting_is_in_the_key() {
        let changes: [fn(&mut Job); 17] = [
            |_| {},
            |job| job.workload.name.push('2'),
            |job| job.workload.speed = 1.0 + f64::EPSILON,
            |job| job.workload.limit = Some(1),
            |job| job.workload.requests = Some(1),
            |job| job.workload.rate = Some(1.0),
            |job| job.workload.duration = Some(Nanos::SECOND),
            |job| job.workload.grid_s = Some(0.0),
            |job| job.workload.measure = "1..2".parse().expect("a window"),
            |job| job.workload.output = Some(Tokens(1)),
            |job| job.workload.concurrency = std::num::NonZeroU32::new(2),
            |job| job.workload.classes.set("a", 0.5).expect("a share"),
            |job| job.workload.block = Tokens(256),
            |job| job.workload.seed = 2,
            |job| job.seed = 2,
            |job| job.cluster = inputs::cluster("1p2d", None).expect("built in"),
            |job| job.policy = inputs::policy("random").expect("built in"),
        ];
        let keys: BTreeSet<String> = changes
            .iter()
            .map(|change| {
                let mut job = job();
                change(&mut job);
                key(&job)
            })
            .collect();
        assert_eq!(keys.len(), changes.len());
        assert_eq!(key(&job()), key(&job()));
        let watch = Watch {
            ranks: vec![1],
            period: Nanos::SECOND,
        };
        let watched = Keys::default().of_job(&job(), Some(&watch));
        assert!(!keys.contains(&watched.expect("nothing to be read").to_string()));
    }

    #[test]
    fn a_trace_is_its_content_wherever_it_lies() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = |name: &str, content: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, content).expect("written");
            let mut job = job();
            job.workload.source = Source::Trace(path);
            key(&job)
        };
        let first = file("a.jsonl", "one");
        assert_eq!(first, file("b.jsonl", "one"));
        assert_ne!(first, file("b.jsonl", "two"));
        let mut gone = job();
        gone.workload.source = Source::Trace(dir.path().join("gone"));
        let error = Keys::default().of_job(&gone, None).expect_err("gone");
        assert!(error.to_string().contains("gone: "), "{error}");
    }
}
