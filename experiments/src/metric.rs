//! Metrics by dotted path into a run's report: `ttft_s.mean`, `hit_ratio_tokens`, and by index into its lists:
//! `accepted_by_prompt_quartile.3`. Runs of kind `pool` have another report; copies of watched blocks are in it only if
//! any are watched.

use crate::nearest::hint;
use crate::outcome::Simulated;
use crate::pool::PoolReport;
use crate::search::Answer;
use crate::spec::{Distribution, RunKind};
use conductor_core::config::{ClusterConfig, PolicyConfig};
use conductor_core::ids::BlockHash;
use conductor_core::units::Nanos;
use conductor_sim::replicas::Replicas;
use conductor_sim::report::RunLabels;
use conductor_sim::{FaultPlan, Mode, RetryConfig, RunConfig, RunReport, RunResult};
use serde::Serialize;
use serde_json::Value;
use std::fmt;

/// The path of a number that every report has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric(String);

impl Metric {
    /// Checks a path; `watched` blocks are.
    ///
    /// # Errors
    /// If reports have no number there; the message lists what there is.
    pub(crate) fn parse(path: &str, kind: RunKind, watched: usize) -> Result<Self, String> {
        let known = names(kind, watched);
        if known.iter().any(|name| name == path) {
            return Ok(Self(path.to_string()));
        }
        Err(format!(
            "unknown metric \"{path}\"{}, expected one of: {}",
            hint(path, known.iter().map(String::as_str)),
            known.join(", ")
        ))
    }

    /// A number that a search has found, if it is one.
    pub(crate) fn of_search(path: &str) -> Option<Self> {
        let known = Answer::NAMES.contains(&path);
        known.then(|| Self(path.to_string()))
    }

    /// A quartile or whisker of a distribution over requests, if it is one.
    pub(crate) fn of_quartiles(path: &str) -> Option<Self> {
        let (of, quartile) = path.split_once('.')?;
        let known = Distribution::ALL.iter().any(|known| known.name() == of)
            && Simulated::QUARTILES.contains(&quartile);
        known.then(|| Self(path.to_string()))
    }

    /// A metric of simulations by its path.
    ///
    /// # Errors
    /// If reports have no number there; the message lists what there is.
    pub fn of_runs(path: &str) -> Result<Self, String> {
        Self::parse(path, RunKind::Simulation, 0)
    }

    /// Its value in a report.
    #[must_use]
    pub fn of(&self, report: &RunReport) -> f64 {
        self.among(&numbers(report))
    }

    /// Its value among all numbers of a report.
    pub(crate) fn among(&self, numbers: &[(String, f64)]) -> f64 {
        let found = numbers.iter().find(|(name, _)| *name == self.0);
        found.expect("parsing found it in the same form").1
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a run cost the machine is no result: it is another one each time.
pub(crate) const COSTS: [&str; 3] = ["wall_s", "cpu_s", "peak_rss_mb"];

/// Every number of a report, by path, but what the run cost.
pub(crate) fn numbers(report: &impl Serialize) -> Vec<(String, f64)> {
    let mut numbers = Vec::new();
    let value = serde_json::to_value(report).expect("a report is plain numbers and strings");
    collect("", &value, &mut numbers);
    numbers.retain(|(name, _)| !COSTS.contains(&name.as_str()));
    numbers
}

fn collect(path: &str, value: &Value, numbers: &mut Vec<(String, f64)>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                collect(&path, value, numbers);
            }
        }
        Value::Array(values) => {
            for (i, value) in values.iter().enumerate() {
                collect(&format!("{path}.{i}"), value, numbers);
            }
        }
        Value::Number(number) => {
            numbers.push((path.to_string(), number.as_f64().unwrap_or(f64::NAN)));
        }
        _ => {}
    }
}

/// The metrics there are: the numbers in the report of a run without requests.
fn names(kind: RunKind, watched: usize) -> Vec<String> {
    let named = |numbers: Vec<(String, f64)>| numbers.into_iter().map(|(name, _)| name).collect();
    if kind == RunKind::Pool {
        return named(numbers(&PoolReport::default()));
    }
    let config = RunConfig {
        cluster: ClusterConfig::built_in("1p1d").expect("built in"),
        policy: PolicyConfig::built_in("random").expect("built in"),
        retry: RetryConfig::default(),
        closed_loop: None,
        faults: FaultPlan::default(),
        seed: 1,
        mode: Mode::FastForward,
        node_samples: false,
    };
    let result = RunResult::default();
    let mut report = RunReport::new(&config, &result, RunLabels::default());
    report.replicas = Replicas::new(vec![BlockHash(0); watched], Nanos::SECOND).reports();
    named(numbers(&report))
}
