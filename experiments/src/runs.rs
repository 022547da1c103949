//! Runs, each done once: whoever asks for one that was done gets what came out of it then.
//!
//! Runs are the same if their keys are ([`crate::key`]), whichever experiment asks. They are kept in a folder
//! ([`crate::cache`]) or, without one, in memory until the end. Who asks for a run that is under way waits for it.

use crate::cache::Cache;
use crate::execute::{Job, RunError, execute};
use crate::key::{Keys, RunKey};
use crate::measure::Stopwatch;
use crate::outcome::{Outcome, Simulated};
use crate::pool::{self, PoolCounts, PoolJob};
use crate::watch::Watch;
use conductor_sim::Observer;
use conductor_sim::replicas::Replicas;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex};

/// What a piece of work has asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Meter {
    /// Runs that were done for it.
    pub done: usize,
    /// Runs that had been done before, or for somebody else.
    pub cached: usize,
    /// Processor time of the runs that were done for it, seconds.
    pub cpu_s: f64,
}

impl Meter {
    /// Adds what another piece of work has asked for.
    pub(crate) fn add(&mut self, other: &Self) {
        self.done += other.done;
        self.cached += other.cached;
        self.cpu_s += other.cpu_s;
    }
}

/// Where runs are kept.
enum Kept {
    Memory(Mutex<BTreeMap<String, Outcome>>),
    Folder(Cache),
}

/// All runs of one call.
pub(crate) struct Runs<'a> {
    keys: Keys,
    kept: Kept,
    under_way: Mutex<BTreeSet<String>>,
    ended: Condvar,
    /// Is told of each run that somebody got.
    told: &'a (dyn Fn() + Sync),
}

impl<'a> Runs<'a> {
    /// None is done yet, but those of the cache.
    pub(crate) fn new(cache: Option<Cache>, told: &'a (dyn Fn() + Sync)) -> Self {
        Self {
            keys: Keys::default(),
            kept: cache.map_or_else(|| Kept::Memory(Mutex::default()), Kept::Folder),
            under_way: Mutex::default(),
            ended: Condvar::new(),
            told,
        }
    }

    /// What comes out of a simulation in which blocks are watched.
    ///
    /// # Errors
    /// If it fails, or cannot be kept.
    pub(crate) fn simulation(
        &self,
        job: &Job,
        watch: Option<&Watch>,
        meter: &mut Meter,
    ) -> Result<Simulated, RunError> {
        let key = self.keys.of_job(job, watch)?;
        let run = || {
            let mut replicas = match watch {
                Some(watch) => Some(Replicas::new(watch.blocks(&job.workload)?, watch.period)),
                None => None,
            };
            let observer = Observer {
                replicas: replicas.as_mut(),
                ..Observer::default()
            };
            let done = execute(job, observer)?;
            let simulated = Simulated::of(done, replicas);
            Ok(Outcome::Simulated(Box::new(simulated)))
        };
        match self.once(key, meter, run)? {
            Outcome::Simulated(simulated) => Ok(*simulated),
            Outcome::Pool(_) => unreachable!("keys of other kinds differ"),
        }
    }

    /// What comes out of a run of kind `pool`.
    ///
    /// # Errors
    /// As above.
    pub(crate) fn pool(&self, job: &PoolJob, meter: &mut Meter) -> Result<PoolCounts, RunError> {
        let key = self.keys.of_pool(job)?;
        match self.once(key, meter, || pool::execute(job).map(Outcome::Pool))? {
            Outcome::Pool(counts) => Ok(counts),
            Outcome::Simulated(_) => unreachable!("keys of other kinds differ"),
        }
    }

    fn once(
        &self,
        key: RunKey,
        meter: &mut Meter,
        run: impl FnOnce() -> Result<Outcome, RunError>,
    ) -> Result<Outcome, RunError> {
        let key = key.to_string();
        let _mine = self.begin(&key);
        let outcome = match self.get(&key) {
            Some(outcome) => {
                meter.cached += 1;
                outcome
            }
            None => {
                let watch = Stopwatch::start();
                let outcome = run()?;
                meter.done += 1;
                meter.cpu_s += watch.read().cpu_s;
                self.put(&key, &outcome)?;
                outcome
            }
        };
        (self.told)();
        Ok(outcome)
    }

    /// Waits until nobody else is at the run of this key.
    fn begin(&self, key: &str) -> UnderWay<'_> {
        let mut under_way = self.under_way.lock().expect("no thread panics with it");
        while under_way.contains(key) {
            under_way = self
                .ended
                .wait(under_way)
                .expect("no thread panics with it");
        }
        under_way.insert(key.to_string());
        UnderWay {
            key: key.to_string(),
            keys: &self.under_way,
            ended: &self.ended,
        }
    }

    fn get(&self, key: &str) -> Option<Outcome> {
        match &self.kept {
            Kept::Memory(all) => {
                let all = all.lock().expect("no thread panics with it");
                all.get(key).cloned()
            }
            Kept::Folder(cache) => cache.get(key),
        }
    }

    fn put(&self, key: &str, outcome: &Outcome) -> Result<(), RunError> {
        match &self.kept {
            Kept::Memory(all) => {
                let mut all = all.lock().expect("no thread panics with it");
                all.insert(key.to_string(), outcome.clone());
            }
            Kept::Folder(cache) => cache.put(key, outcome)?,
        }
        Ok(())
    }
}

/// A run that somebody is at; whatever happens, it ends.
struct UnderWay<'a> {
    key: String,
    keys: &'a Mutex<BTreeSet<String>>,
    ended: &'a Condvar,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Ok(mut keys) = self.keys.lock() {
            keys.remove(&self.key);
        }
        self.ended.notify_all();
    }
}
