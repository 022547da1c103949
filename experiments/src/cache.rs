//! Runs that are done, in a folder: one file a run, named by its key.
//!
//! A run that was done before is not done again, so an interrupted sweep goes on where it was, and what several
//! machines did apart is put together by putting their files into one folder. An entry says whose it is and has a
//! digest of the rest: one that is torn, changed or of another key counts as not there, and the run is done again.
//! Entries of other versions of the program have other keys and are left alone; to throw the folder away costs time
//! and nothing else.
//!
//! Not here: what a key is made of ([`crate::key`]), and who runs what is not there ([`crate::runs`]).

use crate::files::write_whole;
use crate::outcome::Outcome;
use crate::results::WriteError;
use conductor_core::digest::Digest;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// The first word of an entry, and the version of its form.
const MARK: &str = "conductor-run 1";

/// A folder of runs.
#[derive(Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    /// With a fresh start, the entries that are new: others are not read. None: all are.
    fresh: Option<Mutex<BTreeSet<String>>>,
}

impl Cache {
    /// The cache in a folder, which is made. With `fresh`, what is in it counts as not there.
    ///
    /// # Errors
    /// If the folder cannot be made.
    pub(crate) fn open(folder: &Path, fresh: bool) -> Result<Self, WriteError> {
        fs::create_dir_all(folder).map_err(|error| WriteError {
            path: folder.to_path_buf(),
            error,
        })?;
        Ok(Self {
            folder: folder.to_path_buf(),
            fresh: fresh.then(Mutex::default),
        })
    }

    /// What came out of a run, if it is there and sound.
    pub(crate) fn get(&self, key: &str) -> Option<Outcome> {
        let fresh = self.fresh.as_ref();
        if fresh.is_some_and(|new| !new.lock().expect("no thread panics with it").contains(key)) {
            return None;
        }
        let text = fs::read_to_string(self.folder.join(key)).ok()?;
        let (head, body) = text.split_once('\n')?;
        let sound = head == self::head(key, body);
        sound.then(|| serde_json::from_str(body).ok()).flatten()
    }

    /// Keeps what came out of a run.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn put(&self, key: &str, outcome: &Outcome) -> Result<(), WriteError> {
        let body = serde_json::to_string(outcome).expect("an outcome is plain data");
        let path = self.folder.join(key);
        let text = format!("{}\n{body}", head(key, &body));
        write_whole(&path, text.as_bytes()).map_err(|error| WriteError { path, error })?;
        if let Some(new) = &self.fresh {
            let mut new = new.lock().expect("no thread panics with it");
            new.insert(key.to_string());
        }
        Ok(())
    }
}

/// The first line of an entry.
fn head(key: &str, body: &str) -> String {
    format!("{MARK} {key} {}", Digest::default().text(body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execute::{Job, execute};
    use crate::inputs::{self, WorkloadInput};
    use crate::outcome::Simulated;
    use conductor_core::ids::BlockHash;
    use conductor_core::units::Nanos;
    use conductor_sim::replicas::Replicas;
    use conductor_sim::{FaultPlan, Observer};

    fn outcome(policy: &str) -> Outcome {
        let mut workload = WorkloadInput::workload("kimi-conversation").expect("built in");
        workload.requests = Some(300);
        let job = Job {
            workload,
            cluster: inputs::cluster("2p1d", None).expect("built in"),
            policy: inputs::policy(policy).expect("built in"),
            faults: FaultPlan::default(),
            seed: 1,
            node_samples: false,
            records: true,
        };
        let mut replicas = Replicas::new(vec![BlockHash(1)], Nanos::from_secs(30));
        let observer = Observer {
            replicas: Some(&mut replicas),
            ..Observer::default()
        };
        let done = execute(&job, observer).expect("runs");
        Outcome::Simulated(Box::new(Simulated::of(done, Some(replicas))))
    }

    #[test]
    fn what_is_read_is_what_was_written_to_the_last_bit() {
        let dir = tempfile::tempdir().expect("a folder");
        let cache = Cache::open(&dir.path().join("runs"), false).expect("made");
        for policy in ["random", "kvcache-centric+early"] {
            let outcome = outcome(policy);
            assert_eq!(cache.get(policy), None);
            cache.put(policy, &outcome).expect("written");
            assert_eq!(cache.get(policy), Some(outcome));
        }
    }

    #[test]
    fn damage_is_found() {
        let dir = tempfile::tempdir().expect("a folder");
        let cache = Cache::open(dir.path(), false).expect("made");
        let path = dir.path().join("key");
        cache.put("key", &outcome("random")).expect("written");
        let whole = fs::read(&path).expect("there");
        let half = &whole[..whole.len() / 2];
        let mut changed = whole.clone();
        let digit = whole.iter().rposition(u8::is_ascii_digit).expect("numbers");
        changed[digit] = if whole[digit] == b'1' { b'2' } else { b'1' };
        for content in [half, &[], &changed, b"\xff\xfe", &whole[..10]] {
            fs::write(&path, content).expect("written");
            assert_eq!(cache.get("key"), None);
        }
        fs::write(&path, &whole).expect("written");
        assert!(cache.get("key").is_some());
        // Under another key it is another's.
        fs::write(dir.path().join("other"), &whole).expect("written");
        assert_eq!(cache.get("other"), None);
    }

    #[test]
    fn a_fresh_start_reads_only_what_is_new() {
        let dir = tempfile::tempdir().expect("a folder");
        let old = outcome("random");
        let cache = Cache::open(dir.path(), false).expect("made");
        cache.put("key", &old).expect("written");
        let fresh = Cache::open(dir.path(), true).expect("there");
        assert_eq!(fresh.get("key"), None);
        fresh.put("key", &old).expect("written");
        assert_eq!(fresh.get("key"), Some(old));
    }
}
