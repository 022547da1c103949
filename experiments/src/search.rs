//! The largest value of a setting at which conditions on metrics hold: the capacity of something.
//!
//! First the values of a grid from below, up to the first that fails, or doubled values where there is none; then
//! bisection, by the quotient, between the last that holds and the first that fails. What holds is not required to be
//! monotone: the answer is the first crossing that these tries see.
//!
//! Not here: running something at a value, which the caller does ([`crate::runner`]).

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
        let metrics = self
            .conditions
            .iter()
            .map(|condition| condition.metric.of(&report));
        let metrics: Vec<f64> = metrics.collect();
        let normalised = self.conditions.iter().zip(&metrics);
        let normalised = normalised.map(|(condition, metric)| match condition.bound {
            Bound::AtMost => metric / condition.limit,
            Bound::AtLeast => condition.limit / metric,
        });
        let normalised: Vec<f64> = normalised.collect();
        // What is not a number does not hold.
        let holds = normalised.iter().all(|share| *share <= 1.0);
        self.tries.push(Try {
            value,
            metrics,
            normalised,
            holds,
        });
        if holds || self.best.is_none() {
            self.best = Some(out);
        }
        Ok(holds)
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
    while fails.is_none() && value < range.high {
        let next = (2.0 * value).min(range.high);
        match search.holds(next)? {
            true => value = next,
            false => fails = Some(next),
        }
    }
    if value > 0.0
        && let Some(fails) = &mut fails
    {
        while *fails > value * (1.0 + range.tolerance) {
            let middle = (value * *fails).sqrt();
            match search.holds(middle)? {
                true => value = middle,
                false => *fails = middle,
            }
        }
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
