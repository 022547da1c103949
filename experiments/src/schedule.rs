//! The runs of all experiments that were asked for, on one pool of threads.
//!
//! Pieces of work are taken from one list, experiment by experiment; what others need (fits) comes first. A thread
//! that is idle takes the next piece, whosever it is, so no experiment's last run keeps the others waiting. A failed
//! experiment ends itself and no other. Reports are given in the order of the experiments, as soon as they can be.
//!
//! A shard takes every N-th piece of the list. All shards make the same list, so together they do all of it; what two
//! of them need, both do. Whoever then has the runs of all of them in one folder has everything but the reports.
//!
//! Not here: what a piece does ([`crate::runner`]).

use crate::cache::Cache;
use crate::error::ExperimentError;
use crate::report::ExperimentReport;
use crate::results::WriteError;
use crate::runner::Sweep;
use crate::runs::{Meter, Runs};
use crate::spec::Spec;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::thread;

/// How to run.
#[derive(Clone)]
pub struct RunOptions<'a> {
    /// Threads; at least one is used.
    pub jobs: usize,
    /// Where `traces/data/` is looked for.
    pub root: PathBuf,
    /// The folder in which runs are kept, and looked for before they are done; without one they are kept in memory.
    pub runs: Option<PathBuf>,
    /// Whether what is in that folder counts as not there.
    pub fresh: bool,
    /// Which part of the work is done here, if not all.
    pub shard: Option<Shard>,
    /// Is called when a run is done, from any thread.
    pub progress: Option<&'a (dyn Fn(Progress) + Sync)>,
}

impl Default for RunOptions<'_> {
    fn default() -> Self {
        Self {
            jobs: 1,
            root: PathBuf::from("."),
            runs: None,
            fresh: false,
            shard: None,
            progress: None,
        }
    }
}

/// How far all experiments together have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Runs done.
    pub done: usize,
    /// Runs in all; how many a search or a fit takes is an estimate until it is done.
    pub total: usize,
}

/// Part `number` of `of` equal parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    number: usize,
    of: usize,
}

impl Shard {
    /// More parts than this are a slip of a digit.
    const MAX: usize = 100_000;

    fn has(self, place: usize) -> bool {
        place % self.of == self.number - 1
    }
}

impl FromStr for Shard {
    type Err = String;

    /// `2/5`
    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('/').and_then(|(number, of)| {
            let (number, of) = (number.parse().ok()?, of.parse().ok()?);
            let fits = (1..=Self::MAX).contains(&of) && (1..=of).contains(&number);
            fits.then_some(Self { number, of })
        });
        parsed.ok_or_else(|| {
            let most = Self::MAX;
            format!(
                "expected K/N with K from 1 to N and N up to {most}, as in 2/5, found \"{text}\""
            )
        })
    }
}

/// What became of an experiment, and what it took.
pub struct Ended {
    /// Its place among those that were asked for.
    pub place: usize,
    /// Its report; none if other shards have runs of it.
    pub report: Result<Option<ExperimentReport>, ExperimentError>,
    /// The runs that it asked for.
    pub meter: Meter,
}

/// Runs one experiment.
///
/// # Errors
/// [`ExperimentError::is_input`] tells wrong input from a failed run. Checks that do not hold are no errors.
///
/// # Panics
/// If the options name a shard, which gives no report.
pub fn run(spec: &Spec, options: &RunOptions<'_>) -> Result<ExperimentReport, ExperimentError> {
    let mut report = None;
    run_all(std::slice::from_ref(spec), options, |ended| {
        report = Some(ended.report);
    })?;
    let report = report.expect("every experiment ends")?;
    Ok(report.expect("there is no shard"))
}

/// Runs experiments; `ended` is told of each, in their order, on this thread.
///
/// # Errors
/// If the folder of the runs cannot be written. What fails in an experiment is its own [`Ended::report`].
pub fn run_all(
    specs: &[Spec],
    options: &RunOptions<'_>,
    mut ended: impl FnMut(Ended),
) -> Result<(), WriteError> {
    let cache = options.runs.as_deref();
    let cache = cache.map(|folder| Cache::open(folder, options.fresh));
    let cache = cache.transpose()?;
    let mut refused = BTreeMap::new();
    let planned = specs.iter().enumerate().map(|(place, spec)| {
        let sweep = Sweep::new(spec, &options.root);
        sweep.map_err(|error| refused.insert(place, error)).ok()
    });
    let planned: Vec<_> = planned.collect();
    let list = List::new(&planned, options.shard);
    let counter = Counter::new(&list, options.progress);
    let told = || counter.one_more();
    let runs = Runs::new(cache, &told);
    let (sender, receiver) = mpsc::channel();
    let worker = |sender: mpsc::Sender<usize>| {
        while let Some(work) = list.next() {
            let mut meter = Meter::default();
            let sweep = planned[work.sweep].as_ref().expect("it is on the list");
            match work.piece {
                Some(place) => sweep.run(place, &runs, &mut meter),
                None => sweep.fit(&runs, &mut meter),
            }
            counter.correct(work.expected, meter.done + meter.cached);
            if list.is_last(work, &meter) {
                // Who listens is gone only when all threads end.
                let _ = sender.send(work.sweep);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..options.jobs.clamp(1, list.work.len().max(1)) {
            let sender = sender.clone();
            scope.spawn(|| worker(sender));
        }
        drop(sender);
        let mut waiting = planned.iter().enumerate();
        let mut ready = waiting.next();
        let mut receiver = receiver.into_iter();
        while let Some((place, sweep)) = ready {
            if list.left(place) > 0 {
                // Nobody is left to do it only after a panic, which the scope passes on.
                match receiver.next() {
                    Some(_) => continue,
                    None => break,
                }
            }
            let refused = refused.remove(&place).map_or(Ok(None), Err);
            let report = sweep.as_ref().map_or(refused, Sweep::report);
            ended(Ended {
                place,
                report,
                meter: list.meter(place),
            });
            ready = waiting.next();
        }
    });
    Ok(())
}

/// A piece of work.
#[derive(Clone, Copy)]
struct Work {
    sweep: usize,
    /// None: the fit.
    piece: Option<usize>,
    expected: usize,
}

/// All pieces of work, in the order in which they are begun.
struct List {
    work: Vec<Work>,
    next: AtomicUsize,
    /// By experiment: pieces that are not done, and what was asked for.
    accounts: Vec<Mutex<(usize, Meter)>>,
}

impl List {
    fn new(planned: &[Option<Sweep<'_>>], shard: Option<Shard>) -> Self {
        let sweeps = || planned.iter().enumerate();
        let sweeps = || sweeps().filter_map(|(place, sweep)| Some((place, sweep.as_ref()?)));
        let pieces = sweeps().flat_map(|(sweep, planned)| {
            (0..planned.pieces()).map(move |piece| Work {
                sweep,
                piece: Some(piece),
                expected: planned.expected(piece),
            })
        });
        let mine = |place: usize| shard.is_none_or(|shard| shard.has(place));
        let pieces = pieces.enumerate().filter(|(place, _)| mine(*place));
        // A shard that has none of the runs does not need the fit, and who has some of them asks for it.
        let fits = sweeps().filter(|_| shard.is_none());
        let fits = fits.filter_map(|(sweep, planned)| {
            Some(Work {
                sweep,
                piece: None,
                expected: planned.expected_of_fit()?,
            })
        });
        let work: Vec<_> = fits.chain(pieces.map(|(_, work)| work)).collect();
        let left = |sweep: usize| work.iter().filter(|work| work.sweep == sweep).count();
        let accounts = (0..planned.len()).map(|sweep| Mutex::new((left(sweep), Meter::default())));
        Self {
            accounts: accounts.collect(),
            next: AtomicUsize::new(0),
            work,
        }
    }

    fn next(&self) -> Option<Work> {
        let place = self.next.fetch_add(1, Ordering::Relaxed);
        self.work.get(place).copied()
    }

    /// Notes that a piece is done; true if it was the last of its experiment.
    fn is_last(&self, work: Work, meter: &Meter) -> bool {
        let mut account = self.account(work.sweep);
        account.0 -= 1;
        account.1.add(meter);
        account.0 == 0
    }

    fn left(&self, sweep: usize) -> usize {
        self.account(sweep).0
    }

    fn meter(&self, sweep: usize) -> Meter {
        self.account(sweep).1
    }

    fn account(&self, sweep: usize) -> std::sync::MutexGuard<'_, (usize, Meter)> {
        let account = self.accounts[sweep].lock();
        account.expect("no thread panics with it")
    }
}

/// Counts runs for a progress bar.
struct Counter<'a> {
    done: AtomicUsize,
    total: AtomicUsize,
    progress: Option<&'a (dyn Fn(Progress) + Sync)>,
}

impl<'a> Counter<'a> {
    fn new(list: &List, progress: Option<&'a (dyn Fn(Progress) + Sync)>) -> Self {
        let total = list.work.iter().map(|work| work.expected).sum();
        Self {
            done: AtomicUsize::new(0),
            total: AtomicUsize::new(total),
            progress,
        }
    }

    fn one_more(&self) {
        let done = 1 + self.done.fetch_add(1, Ordering::Relaxed);
        let total = self.total.load(Ordering::Relaxed).max(done);
        if let Some(progress) = self.progress {
            progress(Progress { done, total });
        }
    }

    /// A piece took so many runs, not as many as expected.
    fn correct(&self, expected: usize, found: usize) {
        self.total.fetch_add(found, Ordering::Relaxed);
        self.total.fetch_sub(expected, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_parts_of_a_whole() {
        let shards: Vec<Shard> = ["1/3", "2/3", "3/3"]
            .map(|text| text.parse().expect(text))
            .into();
        for place in 0..10 {
            let having = shards.iter().filter(|shard| shard.has(place));
            assert_eq!(having.count(), 1, "{place}");
        }
        for text in [
            "", "1", "0/3", "4/3", "1/0", "-1/3", "1/3/5", "a/b", "1/100001",
        ] {
            let error = text.parse::<Shard>().expect_err(text);
            assert!(error.starts_with("expected K/N"), "{error}");
        }
    }
}
