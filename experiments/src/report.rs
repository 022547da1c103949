//! What an experiment found: published beside simulated values, checks, and the report of every run.

use crate::distributions::Quantiles;
use crate::fit::Fitted;
use crate::loads::LoadSeries;
use crate::metric::{self, Metric};
use crate::pool::PoolReport;
use crate::search::Answer;
use crate::spec::{Check, CheckKind, Limits, Side, Spec, Value};
use crate::statistics::Estimate;
use crate::watch::ReplicaSeries;
use conductor_sim::RunReport;
use serde::Serialize;

/// The result of an experiment. Its serialised form is fixed for scripts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ExperimentReport {
    /// Name of the experiment.
    pub name: String,
    /// Where the published values are from.
    pub source: String,
    /// Published values with their simulated counterparts; first, what was fitted.
    pub points: Vec<Point>,
    /// What should hold, and whether it does; first, whether the fit met its target.
    pub checks: Vec<CheckReport>,
    /// All runs, in the order of the axes; of each, all seeds, in order. None if runs are of kind `pool`.
    pub runs: Vec<RunReport>,
    /// What was found in each of them, if something was sought.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub searches: Vec<Answer>,
    /// All runs of kind `pool`, likewise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<PoolReport>,
    /// Every number of every run, of whichever kind, by path.
    #[serde(skip)]
    pub numbers: Vec<Vec<(String, f64)>>,
    /// Copies of watched blocks.
    #[serde(skip)]
    pub replicas: Vec<ReplicaSeries>,
    /// The loads of those runs whose loads are drawn.
    #[serde(skip)]
    pub loads: Vec<LoadSeries>,
    /// The distributions that are drawn.
    #[serde(skip)]
    pub distributions: Vec<Quantiles>,
    /// The specification, for names of runs and for result folders.
    #[serde(skip)]
    pub spec: Spec,
    /// What was fitted.
    #[serde(skip)]
    pub fitted: Option<Fitted>,
}

/// What came out of all runs, in their order.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) runs: Vec<RunReport>,
    /// Of each of them, numbers that its report does not have.
    pub(crate) quartiles: Vec<Vec<(String, f64)>>,
    pub(crate) pools: Vec<PoolReport>,
    /// As many as runs, or none.
    pub(crate) searches: Vec<Answer>,
    pub(crate) loads: Vec<LoadSeries>,
    pub(crate) distributions: Vec<Quantiles>,
    pub(crate) replicas: Vec<ReplicaSeries>,
}

/// A value of a figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Which line of the figure.
    pub series: String,
    /// Where on it.
    pub x: Value,
    /// As published; a fitted number is not.
    pub published: Option<f64>,
    /// As simulated; the mean over seeds.
    pub simulated: f64,
    /// Half width of the 95 % confidence interval of the mean over seeds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ci95: Option<f64>,
    /// How many seeds the mean is over, if over several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seeds: Option<u64>,
    /// Unit of both.
    pub unit: String,
    /// How the simulated value compares, if there is a published one.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<PointVerdict>,
}

/// A simulated value beside the published one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PointVerdict {
    /// How far it is from it, as a share of it; none of 0.
    pub error: Option<f64>,
    /// How far it may be, likewise.
    pub tolerance: f64,
    /// Whether it is no further.
    pub holds: bool,
}

impl PointVerdict {
    /// Judges a value; what is not a number does not hold.
    fn of(published: f64, simulated: f64, tolerance: f64) -> Self {
        let error = (simulated - published) / published.abs();
        Self {
            error: Some(error).filter(|error| error.is_finite()),
            tolerance,
            holds: (simulated - published).abs() <= tolerance * published.abs(),
        }
    }
}

/// A check, judged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CheckReport {
    /// Short name.
    pub id: String,
    /// What it says.
    pub what: String,
    /// The published value, if there is one.
    pub published: Option<f64>,
    /// The simulated value (of several seeds: the mean, or made of means); of an order, the smallest quotient of
    /// neighbours. None if it is not a number.
    pub simulated: Option<f64>,
    /// Half width of the 95 % confidence interval of a single run's mean or of a difference, over seeds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ci95: Option<f64>,
    /// Smallest allowed value; of an order, 1, which itself is not allowed; of a difference, what its interval
    /// must be
    /// above.
    pub low: Option<f64>,
    /// Largest allowed value; of a difference, what its interval must be below.
    pub high: Option<f64>,
    /// What is required, for people.
    #[serde(skip)]
    pub required: String,
    /// Whether it holds.
    pub holds: bool,
}

impl ExperimentReport {
    /// Compares runs with what was published.
    pub(crate) fn new(spec: &Spec, fitted: Option<Fitted>, found: Found) -> Self {
        let of_runs = found.runs.iter().enumerate().map(|(run, report)| {
            let mut numbers = metric::numbers(report);
            numbers.extend(found.quartiles[run].iter().cloned());
            let answer = found.searches.get(run).map(Answer::numbers);
            let answer = answer.into_iter().flatten();
            numbers.extend(answer.map(|(name, number)| (name.to_string(), number)));
            numbers
        });
        let numbers: Vec<_> = of_runs
            .chain(found.pools.iter().map(metric::numbers))
            .collect();
        let mut points = Vec::new();
        let mut checks = Vec::new();
        if let (Some(fit), Some(fitted)) = (&spec.fit, fitted) {
            points.push(Point {
                series: Value::FITTED.to_string(),
                x: Value::Text(fit.key.to_string()),
                published: None,
                simulated: fitted.value,
                ci95: None,
                seeds: None,
                unit: String::new(),
                verdict: None,
            });
            let bracket = fit.bracket;
            let limits = Limits {
                low: bracket.target - bracket.tolerance,
                high: bracket.target + bracket.tolerance,
            };
            let what = format!(
                "{} fitted to {} so that {} is {} (run: {})",
                fit.key,
                fitted.value,
                fit.metric,
                bracket.target,
                spec.label(fit.run)
            );
            let (id, target) = ("fit".to_string(), Some(bracket.target));
            let fitted = Estimate {
                mean: fitted.metric,
                ci95: None,
            };
            checks.push(within(id, what, target, fitted, limits));
        }
        let cells = Cells {
            spec,
            numbers: &numbers,
        };
        points.extend(spec.published.iter().map(|row| {
            let mut found = cells.point(row.run, &row.metric, row.scale);
            if !row.to.is_empty() {
                found.simulated /= cells.mean_over(&row.to, &row.metric);
                found.ci95 = None;
            }
            let verdict = PointVerdict::of(row.value, found.simulated, row.tolerance);
            Point {
                series: row.series.clone(),
                x: row.x.clone(),
                published: Some(row.value),
                unit: row.unit.clone(),
                verdict: Some(verdict),
                ..found
            }
        }));
        points.extend(spec.curves.iter().map(|row| Point {
            series: row.series.clone(),
            x: row.x.clone(),
            unit: row.unit.clone(),
            ..cells.point(row.run, &row.metric, row.scale)
        }));
        checks.extend(spec.checks.iter().map(|check| cells.judge(check)));
        Self {
            name: spec.name.clone(),
            source: spec.source.clone(),
            points,
            checks,
            runs: found.runs,
            pools: found.pools,
            searches: found.searches,
            numbers,
            replicas: found.replicas,
            loads: found.loads,
            distributions: found.distributions,
            spec: spec.clone(),
            fitted,
        }
    }
}

/// Runs by their numbers: each has as many reports as there are seeds.
struct Cells<'a> {
    spec: &'a Spec,
    numbers: &'a [Vec<(String, f64)>],
}

impl Cells<'_> {
    /// A metric of a run, by seed.
    fn values(&self, run: usize, metric: &Metric, scale: f64) -> Vec<f64> {
        let repeats = self.spec.repeats();
        let reports = &self.numbers[run * repeats..(run + 1) * repeats];
        let values = reports.iter().map(|numbers| metric.among(numbers) * scale);
        values.collect()
    }

    /// The mean of a metric over runs and their seeds.
    fn mean_over(&self, runs: &[usize], metric: &Metric) -> f64 {
        let values = runs.iter().flat_map(|&run| self.values(run, metric, 1.0));
        Estimate::of(&values.collect::<Vec<_>>()).mean
    }

    /// A point that has yet to be named.
    fn point(&self, run: usize, metric: &Metric, scale: f64) -> Point {
        let found = Estimate::of(&self.values(run, metric, scale));
        Point {
            series: String::new(),
            x: Value::Flag(false),
            published: None,
            simulated: found.mean,
            ci95: found.ci95,
            seeds: self.spec.seeds,
            unit: String::new(),
            verdict: None,
        }
    }

    fn judge(&self, check: &Check) -> CheckReport {
        let (id, what) = (check.id.clone(), check.what.clone());
        let values = |run: usize| self.values(run, &check.metric, 1.0);
        let mean = |run: usize| Estimate::of(&values(run)).mean;
        match &check.kind {
            CheckKind::Order { runs } => {
                let values: Vec<f64> = runs.iter().map(|&run| mean(run)).collect();
                descending(id, what, check.published, &values)
            }
            &CheckKind::Band { run, scale, limits } => {
                let found = Estimate::of(&self.values(run, &check.metric, scale));
                within(id, what, check.published, found, limits)
            }
            &CheckKind::Ratio { of, to, limits } => {
                let found = Estimate {
                    mean: mean(of) / mean(to),
                    ci95: None,
                };
                within(id, what, check.published, found, limits)
            }
            CheckKind::Flat { runs, low } => {
                let values: Vec<f64> = runs.iter().map(|&run| mean(run)).collect();
                let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let found = Estimate {
                    mean: values.last().copied().unwrap_or(f64::NAN) / largest,
                    ci95: None,
                };
                // The last is never above the largest.
                let limits = Limits {
                    low: *low,
                    high: 1.0,
                };
                within(id, what, check.published, found, limits)
            }
            &CheckKind::Difference {
                of,
                to,
                ref minus,
                side,
                at_least,
            } => {
                let to = self.values(to, minus, 1.0);
                let found = Estimate::of_differences(&values(of), &to);
                let least = at_least * Estimate::of(&to).mean.abs();
                let report = beyond(id, what, found, side, least);
                CheckReport {
                    published: check.published,
                    ..report
                }
            }
        }
    }
}

/// Judges a difference: its interval is on one side of 0, its mean at least `least` from it.
fn beyond(id: String, what: String, found: Estimate, side: Side, least: f64) -> CheckReport {
    let (sign, word) = match side {
        Side::Below => (-1.0, "below"),
        Side::Above => (1.0, "above"),
    };
    // One value has no interval, so nothing can be said.
    let near = found.ci95.map_or(f64::NAN, |half| sign * found.mean - half);
    let mut required = format!("interval {word} 0");
    if least > 0.0 {
        required = format!("{required}, mean {word} {:.4}", sign * least);
    }
    CheckReport {
        id,
        what,
        published: None,
        simulated: Some(found.mean).filter(|value| value.is_finite()),
        ci95: found.ci95,
        low: (side == Side::Above).then_some(0.0),
        high: (side == Side::Below).then_some(0.0),
        required,
        holds: near > 0.0 && sign * found.mean >= least,
    }
}

fn within(
    id: String,
    what: String,
    published: Option<f64>,
    found: Estimate,
    limits: Limits,
) -> CheckReport {
    let simulated = found.mean;
    CheckReport {
        id,
        what,
        published,
        simulated: Some(simulated).filter(|value| value.is_finite()),
        ci95: found.ci95,
        low: Some(limits.low),
        high: Some(limits.high),
        required: format!("{} to {}", limits.low, limits.high),
        // What is not a number is within no limits.
        holds: (limits.low..=limits.high).contains(&simulated),
    }
}

fn descending(id: String, what: String, published: Option<f64>, values: &[f64]) -> CheckReport {
    let quotients = values.windows(2).map(|pair| pair[0] / pair[1]);
    let least = quotients.fold(f64::INFINITY, f64::min);
    CheckReport {
        id,
        what,
        published,
        simulated: Some(least).filter(|value| value.is_finite()),
        ci95: None,
        low: Some(1.0),
        high: None,
        required: "strictly falling (quotients above 1)".to_string(),
        holds: values.windows(2).all(|pair| pair[0] > pair[1]),
    }
}
