//! The largest value of a setting at which conditions on metrics hold: the capacity of something.
//!
//! First the values of a grid from below, up to the first that fails, or doubled values where there is none; then
//! bisection, by the quotient, between the last that holds and the first that fails. What holds is not required to be
//! monotone: the answer is the first crossing that these tries see.
//!
//! Not here: running something at a value, which the caller does (`runner`), and answers with a stated
//! confidence ([`crate::capacity`]).

mod line;

pub use line::{Crossing, Line, Seek};

use crate::metric::Metric;
use conductor_sim::RunReport;
use serde::Serialize;

/// Where it is sought.
#[derive(Clone, Debug, PartialEq)]
pub struct Range {
    /// The lowest value that is tried; above 0.
    pub low: f64,
    /// Beyond this nothing is tried.
    pub high: f64,
    /// The answer and a larger value that fails are no further apart than this share of the answer.
    pub tolerance: f64,
    /// Values that are tried first, rising from `low`; may be `low` alone.
    pub grid: Vec<f64>,
}

/// What a metric must be.
#[derive(Clone, Debug, PartialEq)]
pub struct Condition {
    /// The metric.
    pub metric: Metric,
    /// The limit.
    pub limit: f64,
    /// Which side of the limit is good.
    pub bound: Bound,
}

/// Sides of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// At most.
    AtMost,
    /// At least.
    AtLeast,
}

/// One try.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Try {
    /// At which value.
    pub value: f64,
    /// The metric of each condition.
    pub metrics: Vec<f64>,
    /// The metric of each condition over its limit; at least the other way round. Above 1 it does not hold.
    pub normalised: Vec<f64>,
    /// Whether all hold.
    pub holds: bool,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// The largest value that was seen to hold, before the first that fails; 0 if not even the lowest does.
    pub value: f64,
    /// The largest value of the grid below the first of its values that fails; 0 as above.
    pub grid: f64,
    /// The smallest value above the answer that was seen to fail; 0 if nothing up to the highest does.
    pub fails: f64,
    /// All tries, in their order.
    pub tries: Vec<Try>,
}

impl Answer {
    /// Names of its numbers as metrics.
    pub(crate) const NAMES: [&str; 3] = ["search.value", "search.grid", "search.fails"];

    /// Its numbers by name.
    pub(crate) fn numbers(&self) -> [(&'static str, f64); 3] {
        let [value, grid, fails] = Self::NAMES;
        [(value, self.value), (grid, self.grid), (fails, self.fails)]
    }
}

/// A search under way.
struct Search<'a, T, F> {
    conditions: &'a [Condition],
    run: F,
    tries: Vec<Try>,
    /// What came out at the largest value that holds.
    best: Option<T>,
}

impl<T, E, F> Search<'_, T, F>
where
    F: FnMut(f64) -> Result<(RunReport, T), E>,
{
    fn holds(&mut self, value: f64) -> Result<bool, E> {
        let (report, out) = (self.run)(value)?;
        let tried = Try::of(self.conditions, value, &report);
        let holds = tried.holds;
        self.tries.push(tried);
        if holds || self.best.is_none() {
            self.best = Some(out);
        }
        Ok(holds)
    }
}

impl Try {
    /// What the conditions say of a run at `value`.
    #[must_use]
    pub fn of(conditions: &[Condition], value: f64, report: &RunReport) -> Self {
        let metrics = conditions
            .iter()
            .map(|condition| condition.metric.of(report));
        let metrics: Vec<f64> = metrics.collect();
        let normalised = conditions.iter().zip(&metrics);
        let normalised = normalised.map(|(condition, metric)| match condition.bound {
            Bound::AtMost => metric / condition.limit,
            Bound::AtLeast => condition.limit / metric,
        });
        let normalised: Vec<f64> = normalised.collect();
        // What is not a number does not hold.
        let holds = normalised.iter().all(|share| *share <= 1.0);
        Self {
            value,
            metrics,
            normalised,
            holds,
        }
    }
}

/// Seeks the largest value at which all conditions hold, and gives what came out there; where nothing holds, what came
/// out at the lowest.
///
/// # Errors
/// If `run` fails.
pub fn largest<T, E>(
    range: &Range,
    conditions: &[Condition],
    run: impl FnMut(f64) -> Result<(RunReport, T), E>,
) -> Result<(Answer, T), E> {
    let mut search = Search {
        conditions,
        run,
        tries: Vec::new(),
        best: None,
    };
    let (mut value, mut fails) = (0.0, None);
    for &next in &range.grid {
        if !search.holds(next)? {
            fails = Some(next);
            break;
        }
        value = next;
    }
    let grid = value;
    let line = Line {
        low: range.low,
        high: range.high,
        whole: false,
        tolerance: range.tolerance,
    };
    while fails.is_none() && value < range.high {
        let next = line.further(value);
        match search.holds(next)? {
            true => value = next,
            false => fails = Some(next),
        }
    }
    if value > 0.0
        && let Some(fails) = &mut fails
    {
        (value, *fails) = line.narrowed(value, *fails, |middle| search.holds(middle))?;
    }
    let answer = Answer {
        value,
        grid,
        fails: fails.unwrap_or(0.0),
        tries: search.tries,
    };
    let best = search.best.expect("a grid has its lowest value at least");
    Ok((answer, best))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::RunKind;
    use conductor_core::config::{ClusterConfig, PolicyConfig};
    use conductor_sim::report::RunLabels;
    use conductor_sim::{FaultPlan, Mode, RetryConfig, RunConfig, RunResult};

    /// A run whose TTFT and goodput are what a test says.
    fn report(ttft: f64, goodput: f64) -> RunReport {
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
        let mut report = RunReport::new(&config, &RunResult::default(), RunLabels::default());
        (report.ttft_s.p90, report.goodput_rps) = (ttft, goodput);
        report
    }

    fn condition(metric: &str, bound: Bound, limit: f64) -> Condition {
        Condition {
            metric: Metric::parse(metric, RunKind::Simulation, 0).expect("every report has it"),
            limit,
            bound,
        }
    }

    fn range(grid: &[f64]) -> Range {
        Range {
            low: grid[0],
            high: 64.0,
            tolerance: 0.02,
            grid: grid.to_vec(),
        }
    }

    /// The answer where TTFT is the value's square, and what came out at it.
    fn below(limit: f64, grid: &[f64]) -> (Answer, f64) {
        let conditions = [condition("ttft_s.p90", Bound::AtMost, limit)];
        let square = |value: f64| Ok::<_, ()>((report(value * value, 0.0), value));
        largest(&range(grid), &conditions, square).expect("runs")
    }

    #[test]
    fn the_answer_holds_and_what_is_a_little_larger_fails() {
        let (answer, at) = below(10.0, &[1.0]);
        let root = 10.0_f64.sqrt();
        assert!(answer.value <= root && root < answer.fails, "{answer:?}");
        assert!(answer.fails <= answer.value * 1.02);
        assert!((answer.grid - 1.0).abs() < 1e-12 && (at - answer.value).abs() < 1e-12);
        // 1 and 2 hold and 4 does not; a factor of 2 is halved six times to within 2 %.
        assert_eq!(answer.tries.len(), 3 + 6);
    }

    #[test]
    fn a_grid_is_tried_up_to_the_first_that_fails() {
        let (answer, _) = below(10.0, &[1.0, 3.0, 5.0, 6.0]);
        assert!((answer.grid - 3.0).abs() < 1e-12);
        let tried: Vec<f64> = answer.tries.iter().map(|tried| tried.value).collect();
        assert_eq!(tried[..3], [1.0, 3.0, 5.0]);
        assert!((answer.tries[1].normalised[0] - 0.9).abs() < 1e-12);
        assert!(tried[3..].iter().all(|value| (3.0..5.0).contains(value)));
    }

    #[test]
    fn what_never_holds_is_0_and_what_never_fails_is_the_highest() {
        let (answer, at) = below(0.5, &[1.0, 2.0]);
        assert_eq!(
            (answer.value, answer.grid, answer.tries.len()),
            (0.0, 0.0, 1)
        );
        assert!((answer.fails - 1.0).abs() < 1e-12 && (at - 1.0).abs() < 1e-12);
        let (answer, at) = below(1e9, &[3.0]);
        assert!((answer.value - 64.0).abs() < 1e-12 && (at - 64.0).abs() < 1e-12);
        assert!(answer.fails.abs() < 1e-12);
    }

    #[test]
    fn all_conditions_count_and_what_is_no_number_does_not_hold() {
        let conditions = [
            condition("ttft_s.p90", Bound::AtMost, 5.0),
            condition("goodput_rps", Bound::AtLeast, 0.25),
        ];
        let run = |value: f64| Ok::<_, ()>((report(0.0, 1.0 / value), ()));
        let (answer, ()) = largest(&range(&[1.0]), &conditions, run).expect("runs");
        assert!((answer.value - 4.0).abs() < 1e-12, "{answer:?}");
        // A limit that is so many times nothing.
        let conditions = [condition("ttft_s.p90", Bound::AtMost, 0.0)];
        let (answer, ()) = largest(&range(&[1.0]), &conditions, run).expect("runs");
        assert!(answer.value.abs() < 1e-12);
    }
}
