//! One experiment under way: which pieces of work it has, what each gives, and the report when all are done.
//!
//! A piece is what gives one run of the report: a run, or a search and the run at its answer. Pieces are independent
//! and may be done in any order and by anybody; what several of them need (a fitted number, the runs that limits are
//! made of) is asked for by each and done once. So a part of the pieces can be done elsewhere, and their results be
//! the same.
//!
//! Not here: in which order pieces are done, and how many at once ([`crate::schedule`]); what a run gives
//! ([`crate::runs`]).

use crate::distributions::{self, Quantiles};
use crate::error::ExperimentError;
use crate::execute::RunError;
use crate::fit::{self, FitError, Fitted};
use crate::loads::{self, LoadSeries};
use crate::outcome::Simulated;
use crate::plan;
use crate::pool::{PoolJob, PoolReport};
use crate::report::{ExperimentReport, Found};
use crate::runs::{Meter, Runs};
use crate::search::{self, Answer, Condition};
use crate::spec::{Distribution, Fit, RunKind, Search, Spec};
use crate::watch::ReplicaSeries;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, OnceLock};

/// How many runs a fit is taken for before it is done: the halvings to a hundredth of its bracket, and the ends.
const FIT_RUNS: usize = 9;
/// How many runs a search is taken for beside half of its grid: the halvings of a factor of 2 to 2 %.
const SEARCH_RUNS: usize = 6;

/// An experiment under way.
pub(crate) struct Sweep<'a> {
    pub(crate) spec: &'a Spec,
    root: &'a Path,
    /// Places whose loads are drawn, and distributions.
    loads: BTreeSet<usize>,
    distributions: BTreeSet<(usize, Distribution)>,
    /// None within: it could not be fitted.
    fitted: OnceLock<Option<Fitted>>,
    /// By place.
    pieces: Vec<Mutex<Option<Piece>>>,
    /// Of all that failed, that at the lowest place.
    failure: Mutex<Option<(usize, ExperimentError)>>,
}

/// What a piece of work gives.
enum Piece {
    Simulated {
        simulated: Box<Simulated>,
        answer: Option<Answer>,
    },
    Pool(PoolReport),
}

impl<'a> Sweep<'a> {
    /// Looks at every input before anything runs.
    ///
    /// # Errors
    /// If one is wrong.
    pub(crate) fn new(spec: &'a Spec, root: &'a Path) -> Result<Self, ExperimentError> {
        let total = spec.run_count() * spec.repeats();
        let sweep = Self {
            spec,
            root,
            loads: loads::wanted(spec),
            distributions: distributions::wanted(spec),
            fitted: OnceLock::new(),
            pieces: (0..total).map(|_| Mutex::new(None)).collect(),
            failure: Mutex::new(None),
        };
        // The fitted number is not known yet, nor is what is searched for: their lowest values will do.
        let low = spec.fit.as_ref().map(|fit| fit.bracket.low);
        for place in 0..total {
            match spec.kind {
                RunKind::Pool => drop(sweep.pool_job(place)?),
                RunKind::Simulation => drop(sweep.job(place, low.or_else(|| sweep.lowest(place)))?),
            }
        }
        Ok(sweep)
    }

    /// How many pieces of work there are.
    pub(crate) fn pieces(&self) -> usize {
        self.pieces.len()
    }

    /// About how many runs a piece takes.
    pub(crate) fn expected(&self, place: usize) -> usize {
        let search = self.spec.search.as_ref();
        search.map_or(1, |search| {
            SEARCH_RUNS + search.ranges[place / self.spec.repeats()].grid.len() / 2
        })
    }

    /// About how many runs the fit takes; none without one.
    pub(crate) fn expected_of_fit(&self) -> Option<usize> {
        self.spec.fit.as_ref().map(|_| FIT_RUNS)
    }

    /// Fits, before the pieces that need it ask.
    pub(crate) fn fit(&self, runs: &Runs<'_>, meter: &mut Meter) {
        if let Some(fit) = &self.spec.fit {
            self.fitted(fit, runs, meter);
        }
    }

    /// Does one piece. After a failure nothing more is done.
    pub(crate) fn run(&self, place: usize, runs: &Runs<'_>, meter: &mut Meter) {
        if self.failed() {
            return;
        }
        match self.piece(place, runs, meter) {
            Ok(piece) => *self.pieces[place].lock().expect("no thread panics with it") = piece,
            Err(error) => self.fail(place, error),
        }
    }

    /// The report; none if pieces are left to others.
    ///
    /// # Errors
    /// If a piece failed.
    pub(crate) fn report(&self) -> Result<Option<ExperimentReport>, ExperimentError> {
        let failure = self.failure.lock().expect("no thread panicked").take();
        if let Some((_, error)) = failure {
            return Err(error);
        }
        let mut found = Found::default();
        for (place, piece) in self.pieces.iter().enumerate() {
            match piece.lock().expect("no thread panicked").take() {
                None => return Ok(None),
                Some(Piece::Pool(report)) => found.pools.push(report),
                Some(Piece::Simulated { simulated, answer }) => {
                    self.put(&mut found, place, *simulated, answer);
                }
            }
        }
        let fitted = self.fitted.get().copied().flatten();
        Ok(Some(ExperimentReport::new(self.spec, fitted, found)))
    }

    /// What the report has of one run.
    fn put(&self, found: &mut Found, place: usize, run: Simulated, answer: Option<Answer>) {
        if self.loads.contains(&place) {
            found.loads.push(LoadSeries {
                run: place,
                samples: run.loads.clone(),
            });
        }
        let wanted = self.distributions.iter().filter(|wanted| wanted.0 == place);
        found.distributions.extend(wanted.map(|&(_, of)| Quantiles {
            run: place,
            of,
            values: run.distribution(of).to_vec(),
        }));
        found.quartiles.push(run.quartiles());
        let series = run.replicas.map(|samples| ReplicaSeries {
            run: place,
            samples,
        });
        found.replicas.extend(series);
        found.searches.extend(answer);
        found.runs.push(run.report);
    }

    fn failed(&self) -> bool {
        let failure = self.failure.lock().expect("no thread panics with it");
        failure.is_some()
    }

    /// Pieces are begun in order, so the lowest place that fails is always among those begun, whoever notices first.
    fn fail(&self, place: usize, error: ExperimentError) {
        let mut failure = self.failure.lock().expect("no thread panics with it");
        if failure.as_ref().is_none_or(|(other, _)| place < *other) {
            *failure = Some((place, error));
        }
    }

    /// The seed of a place: the same ones for each run, so that what is compared differs in nothing else.
    fn seed(&self, place: usize) -> Option<u64> {
        let repeat = (place % self.spec.repeats()) as u64;
        self.spec.seeds.map(|_| self.spec.first_seed + repeat)
    }

    /// The lowest value of what is searched for.
    fn lowest(&self, place: usize) -> Option<f64> {
        let search = self.spec.search.as_ref();
        search.map(|search| search.ranges[place / self.spec.repeats()].low)
    }

    fn job(
        &self,
        place: usize,
        sought: Option<f64>,
    ) -> Result<crate::execute::Job, ExperimentError> {
        let run = place / self.spec.repeats();
        let mut job = plan::job(self.spec, run, self.seed(place), sought, self.root)?;
        // Distributions are of each request. What is kept does not depend on which are drawn, so that experiments share
        // runs; runs that take long are also large.
        job.records = !self.spec.heavy || self.distributions.iter().any(|(run, _)| *run == place);
        Ok(job)
    }

    fn pool_job(&self, place: usize) -> Result<PoolJob, ExperimentError> {
        let run = place / self.spec.repeats();
        plan::pool_job(self.spec, run, self.seed(place), self.root)
    }

    /// The run at a place.
    fn simulated(
        &self,
        place: usize,
        sought: Option<f64>,
        runs: &Runs<'_>,
        meter: &mut Meter,
    ) -> Result<Simulated, ExperimentError> {
        let job = self.job(place, sought)?;
        let simulated = runs.simulation(&job, self.spec.watch.as_ref(), meter);
        simulated.map_err(|error| self.run_failed(place, error))
    }

    fn run_failed(&self, place: usize, error: RunError) -> ExperimentError {
        ExperimentError::Run {
            run: self.spec.label(place / self.spec.repeats()),
            error,
        }
    }

    fn piece(
        &self,
        place: usize,
        runs: &Runs<'_>,
        meter: &mut Meter,
    ) -> Result<Option<Piece>, ExperimentError> {
        if self.spec.kind == RunKind::Pool {
            let job = self.pool_job(place)?;
            let counts = runs.pool(&job, meter);
            let counts = counts.map_err(|error| self.run_failed(place, error))?;
            return Ok(Some(Piece::Pool(PoolReport::new(&job, counts))));
        }
        if let Some(search) = &self.spec.search {
            return self.searched(search, place, runs, meter).map(Some);
        }
        let sought = match &self.spec.fit {
            None => None,
            Some(fit) => match self.fitted(fit, runs, meter) {
                Some(fitted) => Some(fitted.value),
                // Whoever fitted has said why not.
                None => return Ok(None),
            },
        };
        let simulated = self.simulated(place, sought, runs, meter)?.into();
        let answer = None;
        Ok(Some(Piece::Simulated { simulated, answer }))
    }

    /// The fitted number; none if there is none to be found, which is then the experiment's failure.
    fn fitted(&self, fit: &Fit, runs: &Runs<'_>, meter: &mut Meter) -> Option<Fitted> {
        *self.fitted.get_or_init(|| {
            let place = fit.run * self.spec.repeats();
            let found = fit::bisect(fit.bracket, |value| {
                let simulated = self.simulated(place, Some(value), runs, meter)?;
                Ok(fit.metric.of(&simulated.report))
            });
            let error = match found {
                Ok(fitted) => return Some(fitted),
                Err(StepError::Other(error)) => error,
                Err(StepError::Fit(error)) => ExperimentError::Fit {
                    key: fit.key.to_string(),
                    error,
                },
            };
            self.fail(0, error);
            None
        })
    }

    /// The run at the largest value at which conditions hold.
    fn searched(
        &self,
        search: &Search,
        place: usize,
        runs: &Runs<'_>,
        meter: &mut Meter,
    ) -> Result<Piece, ExperimentError> {
        let conditions = self.conditions(search, place, runs, meter)?;
        let range = &search.ranges[place / self.spec.repeats()];
        let at = |value: f64| {
            let simulated = self.simulated(place, Some(value), runs, meter)?;
            Ok::<_, ExperimentError>((simulated.report.clone(), simulated))
        };
        let (answer, simulated) = search::largest(range, &conditions, at)?;
        Ok(Piece::Simulated {
            simulated: simulated.into(),
            answer: Some(answer),
        })
    }

    /// The conditions of a search, with limits that are made of what the lowest values give.
    fn conditions(
        &self,
        search: &Search,
        place: usize,
        runs: &Runs<'_>,
        meter: &mut Meter,
    ) -> Result<Vec<Condition>, ExperimentError> {
        let repeats = self.spec.repeats();
        let (run, repeat) = (place / repeats, place % repeats);
        let mut conditions = Vec::new();
        for wanted in &search.conditions {
            let mut condition = wanted.condition.clone();
            if let Some(of_first) = wanted.of_first.get(run) {
                let mut sum = 0.0;
                for other in of_first {
                    let first = other * repeats + repeat;
                    let first = self.simulated(first, self.lowest(first), runs, meter)?;
                    sum += condition.metric.of(&first.report);
                }
                condition.limit *= sum / of_first.len() as f64;
            }
            conditions.push(condition);
        }
        Ok(conditions)
    }
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

impl From<ExperimentError> for StepError {
    fn from(error: ExperimentError) -> Self {
        Self::Other(error)
    }
}
