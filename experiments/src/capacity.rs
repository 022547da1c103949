//! How much a cluster carries within limits, or how little of it is enough, with a stated confidence.
//!
//! Every try is a job that is run with the same seeds and judged by a [`Rule`]. Three goals: the last value of one
//! setting at which the limits hold ([`Goal::Line`]); the fewest nodes, any split (`nodes`); the split of a number of
//! nodes that carries most (`splits`). The last two choose among several answers, so what they chose is judged once
//! more, on as many seeds that had no part in the choice.
//!
//! Not here: what confidence means ([`crate::confidence`]), limits and bisection ([`crate::search`]).

mod bound;
mod nodes;
mod splits;

use crate::confidence::Rule;
use crate::error::SearchError;
use crate::execute::{Job, execute};
use crate::knob::{Domain, Knob, Scale};
use crate::parallel::in_parallel;
use crate::prices::Served;
use crate::search::{Condition, Crossing, Line, Seek, Try};
use conductor_sim::{Observer, RunReport};
use serde::Serialize;
use std::cell::RefCell;

/// What is asked of one cluster.
pub struct Question<'a> {
    /// What is run, but for what is sought and for seeds. Its own seed is the first.
    pub job: Job,
    /// What has to hold.
    pub conditions: &'a [Condition],
    /// On how many seeds, and how sure that is.
    pub rule: Rule,
    /// Runs at once; answers do not depend on it.
    pub threads: usize,
    /// Is told how many runs are done and about how many are left.
    pub progress: &'a (dyn Fn(Effort) + Sync),
}

/// How far a search has come.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Runs that are done.
    pub done: u64,
    /// About how many are left.
    pub left: u64,
}

/// What is sought.
#[derive(Clone, Debug, PartialEq)]
pub enum Goal {
    /// The last value of a setting at which the limits hold.
    Line {
        /// What is set.
        knob: Knob,
        /// Between what.
        line: Line,
        /// From which side.
        seek: Seek,
    },
    /// The fewest nodes, prefill and decode nodes each as many as it takes.
    FewestNodes {
        /// No more than this.
        most: u64,
    },
    /// The split of the cluster's nodes into prefill and decode nodes that carries the largest load.
    BestSplit {
        /// Speeds between which it is sought.
        line: Line,
    },
}

/// One seed of a try.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SeedTry {
    /// Which.
    pub seed: u64,
    /// The metric of each condition.
    pub metrics: Vec<f64>,
    /// Whether all hold.
    pub holds: bool,
}

/// One try, judged by all seeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Judged {
    /// On which cluster.
    pub cluster: String,
    /// At which value: of the setting, or the number of nodes.
    pub value: f64,
    /// On how many seeds the limits hold.
    pub holding: usize,
    /// Whether that is enough.
    pub holds: bool,
    /// The largest metric over its limit (at least: the other way round), the mean over the seeds.
    pub strain: f64,
    /// Each seed.
    pub seeds: Vec<SeedTry>,
}

/// A run of the answer.
#[derive(Clone, Debug)]
pub struct Ran {
    /// What it says of itself.
    pub report: RunReport,
    /// What it served.
    pub served: Served,
}

/// A split of [`Goal::BestSplit`], and what was seen of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SplitSeen {
    /// Prefill nodes.
    pub prefill: u64,
    /// Decode nodes.
    pub decode: u64,
    /// The largest value that held.
    pub holds: Option<f64>,
    /// The smallest that did not.
    pub fails: Option<f64>,
}

/// What was found for one cluster.
#[derive(Clone, Debug)]
pub struct Found {
    /// The job at the answer, or the one question's where nothing holds.
    pub job: Job,
    /// The answer; none if nothing that was tried holds.
    pub value: Option<f64>,
    /// The value beside it that does not hold, if any does not.
    pub fails: Option<f64>,
    /// The nearest value at which so few seeds hold that it is refuted with the same confidence.
    pub refuted: Option<f64>,
    /// All tries, in their order.
    pub tries: Vec<Judged>,
    /// The runs at the answer, one a seed; where nothing holds, those of the last try.
    pub runs: Vec<Ran>,
    /// Every split that was tried.
    pub splits: Vec<SplitSeen>,
    /// The answer on seeds that had no part in choosing it, where something was chosen and seeds matter.
    pub fresh: Option<Judged>,
}

/// Answers a question.
///
/// # Errors
/// If a setting is refused or a run fails.
pub fn find(question: &Question<'_>, goal: &Goal) -> Result<Found, SearchError> {
    let study = Study::new(question);
    match goal {
        Goal::Line { knob, line, seek } => on_line(&study, knob, *line, *seek),
        Goal::FewestNodes { most } => nodes::fewest(&study, *most),
        Goal::BestSplit { line } => splits::best(&study, *line),
    }
}

fn on_line(study: &Study<'_>, knob: &Knob, line: Line, seek: Seek) -> Result<Found, SearchError> {
    let crossing = crossing(study, knob, line, seek)?;
    let refuted = bound::refuted(study, knob, line, seek)?;
    Ok(study.found(crossing, refuted))
}

/// Seeks on a line, from the low end up.
fn crossing(
    study: &Study<'_>,
    knob: &Knob,
    line: Line,
    seek: Seek,
) -> Result<Crossing, SearchError> {
    // What bounds the answer so far, to say how long it takes.
    let (mut below, mut above) = (line.low, None);
    line.crossing(seek, |value| {
        let job = study.at(knob, line, value)?;
        let holds = study.judged(&[(job, value)], line.left(below, above))?[0];
        match holds == (seek == Seek::Largest) {
            true => below = value,
            false => above = Some(value),
        }
        Ok(holds)
    })
}

/// A question under way: what was tried, and the runs of what held last.
struct Study<'a> {
    question: &'a Question<'a>,
    kept: RefCell<Kept>,
}

#[derive(Default)]
struct Kept {
    tries: Vec<Judged>,
    /// What the answer was run with, and its runs, so far.
    best: Option<(Job, Vec<Ran>)>,
    /// Those of the last try.
    last: Vec<Ran>,
    done: u64,
}

impl<'a> Study<'a> {
    fn new(question: &'a Question<'a>) -> Self {
        Self {
            question,
            kept: RefCell::default(),
        }
    }

    /// Judges jobs, all at once, and keeps the one that holds with the least strain; whether each holds. `left` more
    /// tries are expected.
    fn judged(&self, jobs: &[(Job, f64)], left: u64) -> Result<Vec<bool>, SearchError> {
        let seeds = self.question.rule.seeds;
        let total = (jobs.len() * seeds) as u64;
        let done = self.kept.borrow().done + total;
        let judged = self.judge(jobs, self.question.job.seed)?;
        (self.question.progress)(Effort {
            done,
            left: left * total,
        });
        let kept = &mut *self.kept.borrow_mut();
        kept.done = done;
        let strain = |one: &Judged| if one.holds { one.strain } else { f64::INFINITY };
        let best = judged.iter().map(|(one, _)| strain(one)).enumerate();
        let best = best
            .min_by(|(_, a), (_, b)| a.total_cmp(b))
            .map(|(place, _)| place);
        let mut answers = Vec::new();
        for (place, (one, runs)) in judged.into_iter().enumerate() {
            answers.push(one.holds);
            kept.last.clone_from(&runs);
            if one.holds && best == Some(place) {
                kept.best = Some((jobs[place].0.clone(), runs));
            }
            kept.tries.push(one);
        }
        Ok(answers)
    }

    /// The job with a value of a line.
    fn at(&self, knob: &Knob, line: Line, value: f64) -> Result<Job, SearchError> {
        let domain = Domain::Range {
            low: line.low,
            high: line.high,
            scale: Scale::Log,
            whole: line.whole,
        };
        let mut job = self.question.job.clone();
        let set = knob.set(&mut job, &domain.exactly(value));
        set.map_err(SearchError::Setting)?;
        Ok(job)
    }

    /// The values that were tried, and whether each is refuted.
    fn refutations(&self) -> Vec<(f64, bool)> {
        let rule = self.question.rule;
        let kept = self.kept.borrow();
        let tries = kept.tries.iter();
        tries
            .map(|one| (one.value, rule.refutes(one.holding)))
            .collect()
    }

    /// Tries a value that is not going to be the answer: whether it is refuted.
    fn refuted_at(
        &self,
        knob: &Knob,
        line: Line,
        value: f64,
        left: u64,
    ) -> Result<bool, SearchError> {
        let best = self.kept.borrow_mut().best.take();
        let job = self.at(knob, line, value)?;
        self.judged(&[(job, value)], left)?;
        let mut kept = self.kept.borrow_mut();
        kept.best = best;
        let last = kept.tries.last().expect("one was just judged");
        Ok(self.question.rule.refutes(last.holding))
    }

    /// Runs jobs with the seeds from `first` on.
    fn judge(
        &self,
        jobs: &[(Job, f64)],
        first: u64,
    ) -> Result<Vec<(Judged, Vec<Ran>)>, SearchError> {
        let Question {
            conditions,
            rule,
            threads,
            ..
        } = self.question;
        let ran = in_parallel(jobs.len() * rule.seeds, *threads, |place| {
            let (job, value) = &jobs[place / rule.seeds];
            let mut job = job.clone();
            let seed = first + (place % rule.seeds) as u64;
            (job.seed, job.workload.seed) = (seed, seed);
            // Only what is drawn or written needs samples of nodes.
            (job.node_samples, job.records) = (false, true);
            let done = execute(&job, Observer::default())?;
            let tried = Try::of(conditions, *value, &done.report);
            let served = Served::of(&done);
            Ok::<_, SearchError>((
                seed,
                tried,
                Ran {
                    report: done.report,
                    served,
                },
            ))
        })?;
        let mut ran = ran.into_iter();
        let judged = jobs.iter().map(|(job, value)| {
            let ran: Vec<_> = ran.by_ref().take(rule.seeds).collect();
            let worst = ran
                .iter()
                .map(|(_, tried, _)| tried.normalised.iter().copied().fold(0.0, f64::max));
            let strain = worst.sum::<f64>() / rule.seeds as f64;
            let holding = ran.iter().filter(|(_, tried, _)| tried.holds).count();
            let seeds = ran.iter().map(|(seed, tried, _)| SeedTry {
                seed: *seed,
                metrics: tried.metrics.clone(),
                holds: tried.holds,
            });
            let judged = Judged {
                cluster: job.cluster.name.clone(),
                value: *value,
                holding,
                holds: holding >= rule.needed,
                strain,
                seeds: seeds.collect(),
            };
            (judged, ran.into_iter().map(|(_, _, ran)| ran).collect())
        });
        Ok(judged.collect())
    }

    /// The answer from what was kept.
    fn found(&self, crossing: Crossing, refuted: Option<f64>) -> Found {
        let kept = self.kept.take();
        let (job, runs) = match kept.best {
            Some(best) if crossing.holds.is_some() => best,
            _ => (self.question.job.clone(), kept.last),
        };
        Found {
            job,
            value: crossing.holds,
            fails: crossing.fails,
            refuted,
            tries: kept.tries,
            runs,
            splits: Vec::new(),
            fresh: None,
        }
    }

    /// Judges what was chosen among several on seeds that have not been seen; nothing where there is one seed.
    fn checked(&self, found: Found) -> Result<Found, SearchError> {
        let rule = self.question.rule;
        let Some(value) = found.value.filter(|_| rule.seeds > 1) else {
            return Ok(found);
        };
        let first = self.question.job.seed + rule.seeds as u64;
        let judged = self.judge(&[(found.job.clone(), value)], first)?;
        let fresh = judged.into_iter().next().map(|(judged, _)| judged);
        Ok(Found { fresh, ..found })
    }
}
