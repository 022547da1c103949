//! What an experiment found: published beside simulated values, checks, and the report of every run.

use crate::fit::Fitted;
use crate::spec::{CheckKind, Limits, Spec, Value};
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
    /// All runs, in the order of the axes.
    pub runs: Vec<RunReport>,
    /// The specification, for names of runs and for result folders.
    #[serde(skip)]
    pub spec: Spec,
    /// What was fitted.
    #[serde(skip)]
    pub fitted: Option<Fitted>,
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
    /// As simulated.
    pub simulated: f64,
    /// Unit of both.
    pub unit: String,
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
    /// The simulated value; of an order, the smallest quotient of neighbours. None if it is not a number.
    pub simulated: Option<f64>,
    /// Smallest allowed value; of an order, 1, which itself is not allowed.
    pub low: Option<f64>,
    /// Largest allowed value.
    pub high: Option<f64>,
    /// Whether it holds.
    pub holds: bool,
}

impl ExperimentReport {
    /// Compares runs with what was published.
    pub(crate) fn new(spec: &Spec, fitted: Option<Fitted>, runs: Vec<RunReport>) -> Self {
        let mut points = Vec::new();
        let mut checks = Vec::new();
        if let (Some(fit), Some(fitted)) = (&spec.fit, fitted) {
            points.push(Point {
                series: Value::FITTED.to_string(),
                x: Value::Text(fit.key.to_string()),
                published: None,
                simulated: fitted.value,
                unit: String::new(),
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
            checks.push(within(id, what, target, fitted.metric, limits));
        }
        points.extend(spec.published.iter().map(|row| Point {
            series: row.series.clone(),
            x: row.x.clone(),
            published: Some(row.value),
            simulated: row.metric.of(&runs[row.run]) * row.scale,
            unit: row.unit.clone(),
        }));
        checks.extend(spec.checks.iter().map(|check| {
            let (id, what) = (check.id.clone(), check.what.clone());
            let value = |run: usize| check.metric.of(&runs[run]);
            match &check.kind {
                CheckKind::Order { runs } => {
                    let values: Vec<f64> = runs.iter().map(|&run| value(run)).collect();
                    descending(id, what, check.published, &values)
                }
                &CheckKind::Band { run, scale, limits } => {
                    within(id, what, check.published, value(run) * scale, limits)
                }
                &CheckKind::Ratio { of, to, limits } => {
                    within(id, what, check.published, value(of) / value(to), limits)
                }
            }
        }));
        Self {
            name: spec.name.clone(),
            source: spec.source.clone(),
            points,
            checks,
            runs,
            spec: spec.clone(),
            fitted,
        }
    }
}

fn within(
    id: String,
    what: String,
    published: Option<f64>,
    simulated: f64,
    limits: Limits,
) -> CheckReport {
    CheckReport {
        id,
        what,
        published,
        simulated: Some(simulated).filter(|value| value.is_finite()),
        low: Some(limits.low),
        high: Some(limits.high),
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
        low: Some(1.0),
        high: None,
        holds: values.windows(2).all(|pair| pair[0] > pair[1]),
    }
}
