//! What tuning makes better: a metric of the requests, and which side of it is good.

use crate::metric::Metric;
use conductor_sim::RunReport;
use std::fmt;
use std::str::FromStr;

/// A metric that follows from the requests alone, so that it can be said of any part of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Objective {
    metric: Metric,
    minimise: bool,
}

/// Paths, or what is before their first dot, and whether less is better.
const KNOWN: [(&str, bool); 18] = [
    ("effective_ratio", false),
    ("goodput_rps", false),
    ("goodput_tokens_per_s", false),
    ("ttft_ratio", false),
    ("tbt_ratio", false),
    ("tbt_within", false),
    ("first_try_ratio", false),
    ("eventual_ratio", false),
    ("completed", false),
    ("hit_ratio_tokens", false),
    ("hit_ratio_blocks", false),
    ("ttft_s", true),
    ("tbt_s", true),
    ("tpot_s", true),
    ("e2e_s", true),
    ("rejected", true),
    ("rejected_after_prefill", true),
    ("wasted_prefill_s", true),
];

impl Objective {
    /// Its value in a report.
    #[must_use]
    pub fn of(&self, report: &RunReport) -> f64 {
        self.metric.of(report)
    }

    /// True if less is better.
    #[must_use]
    pub const fn is_minimised(&self) -> bool {
        self.minimise
    }

    /// A difference of two of its values, so that above 0 is better.
    #[must_use]
    pub fn better_by(&self, tuned: f64, baseline: f64) -> f64 {
        if self.minimise {
            baseline - tuned
        } else {
            tuned - baseline
        }
    }
}

impl FromStr for Objective {
    type Err = String;

    fn from_str(path: &str) -> Result<Self, String> {
        let head = path.split('.').next().unwrap_or(path);
        let known = KNOWN.iter().find(|(name, _)| *name == head);
        let metric = Metric::of_runs(path).ok();
        match (known, metric) {
            (Some(&(_, minimise)), Some(metric)) => Ok(Self { metric, minimise }),
            _ => {
                let known: Vec<_> = KNOWN.iter().map(|(name, _)| *name).collect();
                Err(format!(
                    "expected a metric of requests (one of: {}; with .mean, .p50, .p90, .p95, .p99 or .max behind those in \
                     seconds), found \"{path}\"",
                    known.join(", ")
                ))
            }
        }
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.metric.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directions_are_known() {
        for (path, minimise) in [
            ("effective_ratio", false),
            ("ttft_s.p90", true),
            ("rejected", true),
        ] {
            let found: Objective = path.parse().expect("known");
            assert_eq!(found.is_minimised(), minimise, "{path}");
        }
        let objective: Objective = "ttft_s.p90".parse().expect("known");
        assert!((objective.better_by(2.0, 3.0) - 1.0).abs() < 1e-12);
        for path in ["events", "ttft_s", "prefill_load.mean", "x"] {
            let error = path.parse::<Objective>().expect_err(path);
            assert!(
                error.starts_with("expected a metric of requests"),
                "{error}"
            );
        }
    }
}
