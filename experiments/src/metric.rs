//! Metrics by dotted path into a run's report: `ttft_s.mean`, `hit_ratio_tokens`, and by index into its lists:
//! `accepted_by_prompt_quartile.3`.

use crate::search::Answer;
use conductor_core::config::{ClusterConfig, PolicyConfig};
use conductor_sim::report::RunLabels;
use conductor_sim::{Mode, RetryConfig, RunConfig, RunReport, RunResult};
use serde_json::Value;
use std::fmt;

/// The path of a number that every report has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric(String);

impl Metric {
    /// Checks a path.
    ///
    /// # Errors
    /// If reports have no number there; the message lists what there is.
    pub(crate) fn parse(path: &str) -> Result<Self, String> {
        let known = names();
        if known.iter().any(|name| name == path) {
            return Ok(Self(path.to_string()));
        }
        Err(format!(
            "unknown metric \"{path}\", expected one of: {}",
            known.join(", ")
        ))
    }

    /// A number that a search has found, if it is one.
    pub(crate) fn of_search(path: &str) -> Option<Self> {
        let known = Answer::NAMES.contains(&path);
        known.then(|| Self(path.to_string()))
    }

    /// Its value in a run, or in what a search has found.
    pub(crate) fn found(&self, report: &RunReport, answer: Option<&Answer>) -> f64 {
        let numbers = answer.map(Answer::numbers);
        let found = numbers.iter().flatten().find(|(name, _)| *name == self.0);
        found.map_or_else(|| self.of(report), |(_, number)| *number)
    }

    /// Its value in a report.
    #[must_use]
    pub fn of(&self, report: &RunReport) -> f64 {
        let numbers = numbers(report);
        let found = numbers.iter().find(|(name, _)| *name == self.0);
        found.expect("parsing found it in the same form").1
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Every number of a report, by path.
pub(crate) fn numbers(report: &RunReport) -> Vec<(String, f64)> {
    let mut numbers = Vec::new();
    let value = serde_json::to_value(report).expect("a report is plain numbers and strings");
    collect("", &value, &mut numbers);
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
fn names() -> Vec<String> {
    let config = RunConfig {
        cluster: ClusterConfig::built_in("1p1d").expect("built in"),
        policy: PolicyConfig::built_in("random").expect("built in"),
        retry: RetryConfig::default(),
        closed_loop: None,
        seed: 1,
        mode: Mode::FastForward,
        node_samples: false,
    };
    let result = RunResult::default();
    let report = RunReport::new(&config, &result, RunLabels::default());
    numbers(&report).into_iter().map(|(name, _)| name).collect()
}
