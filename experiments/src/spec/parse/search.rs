//! `[search]`: what is sought, where, and under which conditions.

use super::{Parser, places_of};
use crate::search::{Bound, Condition, Range};
use crate::spec::text::{ConditionText, GridText, SearchText};
use crate::spec::{Search, SearchCondition, SpecError};
use toml::Spanned;

impl Parser<'_> {
    pub(super) fn search(
        &self,
        search: &Spanned<SearchText>,
        fits: bool,
    ) -> Result<Search, SpecError> {
        let (at, search) = (search, search.get_ref());
        if fits {
            return Err(self.error(at, "search", "cannot stand beside [fit]"));
        }
        let key = self.key(&search.key, "search.key")?;
        if let Some(axis) = self.axes.iter().find(|axis| axis.sets(&key)) {
            let message = format!("the axis {} sets it", axis.name);
            return Err(self.error(&search.key, "search.key", message));
        }
        let high = self.above_0(&search.high, "search.high")?;
        let tolerance = self.above_0(&search.tolerance, "search.tolerance")?;
        let conditions = search.conditions.get_ref();
        if conditions.is_empty() {
            let message = "expected at least one";
            return Err(self.error(&search.conditions, "search.conditions", message));
        }
        let conditions = conditions.iter().map(|condition| self.condition(condition));
        let conditions = conditions.collect::<Result<_, _>>()?;
        let runs: usize = self.axes.iter().map(|axis| axis.values.len()).product();
        let mut grids: Vec<Option<Vec<f64>>> = vec![None; runs];
        for grid in &search.grids {
            let values = self.grid(grid, high)?;
            for run in self.select(&[&grid.at])? {
                if grids[run].replace(values.clone()).is_some() {
                    let message = "a run has two grids";
                    return Err(self.error(&grid.values, "search.grids", message));
                }
            }
        }
        let range = |grid: Option<Vec<f64>>| {
            let grid = match (grid, &search.low) {
                (Some(grid), _) => grid,
                (None, Some(low)) => {
                    let value = self.above_0(low, "search.low")?;
                    if value >= high {
                        let message = format!("expected a number below `high` ({high})");
                        return Err(self.error(low, "search.low", message));
                    }
                    vec![value]
                }
                (None, None) => {
                    let message = "needed by runs without a grid";
                    return Err(self.error(at, "search.low", message));
                }
            };
            Ok(Range {
                low: grid[0],
                high,
                tolerance,
                grid,
            })
        };
        Ok(Search {
            key,
            conditions,
            ranges: grids.into_iter().map(range).collect::<Result<_, _>>()?,
        })
    }

    fn condition(&self, condition: &ConditionText) -> Result<SearchCondition, SpecError> {
        let (limit, bound) = match (&condition.at_most, &condition.at_least) {
            (Some(limit), None) => (limit, Bound::AtMost),
            (None, Some(limit)) => (limit, Bound::AtLeast),
            _ => {
                let message = "expected either `at_most` or `at_least`";
                return Err(self.error(&condition.metric, "search.conditions", message));
            }
        };
        let condition_of = Condition {
            metric: self.run_metric(&condition.metric, "search.conditions.metric")?,
            limit: self.above_0(limit, "search.conditions")?,
            bound,
        };
        Ok(SearchCondition {
            condition: condition_of,
            of_first: self.of_first(condition)?,
        })
    }

    /// For each run, whose metric at the lowest value its limit is made of.
    fn of_first(&self, condition: &ConditionText) -> Result<Vec<Vec<usize>>, SpecError> {
        let runs = 0..self.axes.iter().map(|axis| axis.values.len()).product();
        let Some(over) = &condition.over else {
            if let Some(values) = &condition.values {
                let message = "values of what: give `over`";
                return Err(self.error(values, "search.conditions.values", message));
            }
            let own = |run: usize| vec![run];
            return Ok(runs.map(own).filter(|_| condition.of_first).collect());
        };
        if !condition.of_first {
            let message = "has a meaning only with `of_first = true`";
            return Err(self.error(over, "search.conditions.over", message));
        }
        let axis = self.along(over, "search.conditions.over")?;
        let place = self.axes.iter().position(|other| other.name == axis.name);
        let place = place.expect("it is one of them");
        let values = condition.values.as_ref().map(Spanned::get_ref);
        let mut wanted = Vec::new();
        for value in values.unwrap_or(&axis.values) {
            let label = value.to_string();
            let mut known = axis.values.iter();
            let Some(found) = known.position(|known| known.to_string() == label) else {
                let message = format!("the axis has no value {label}");
                let at = condition.values.as_ref();
                return Err(self.error(
                    at.expect("its own values are its own"),
                    "search.conditions.values",
                    message,
                ));
            };
            wanted.push(found);
        }
        let of = |run: usize| {
            let places = places_of(&self.axes, run);
            let alike = |other: &usize| {
                let others = places_of(&self.axes, *other);
                let mut pairs = places.iter().zip(&others).enumerate();
                wanted.contains(&others[place]) && pairs.all(|(i, (a, b))| i == place || a == b)
            };
            runs.clone().filter(alike).collect()
        };
        Ok(runs.clone().map(of).collect())
    }

    fn grid(&self, grid: &GridText, high: f64) -> Result<Vec<f64>, SpecError> {
        let values = grid.values.get_ref();
        let rises = values.windows(2).all(|pair| pair[0] < pair[1]);
        let within = |value: &f64| *value > 0.0 && *value <= high;
        if values.is_empty() || !rises || !values.iter().all(within) {
            let message = format!("expected rising numbers above 0 and up to `high` ({high})");
            return Err(self.error(&grid.values, "search.grids.values", message));
        }
        Ok(values.clone())
    }

    fn above_0(&self, value: &Spanned<f64>, whose: &str) -> Result<f64, SpecError> {
        let number = *value.get_ref();
        if number.is_finite() && number > 0.0 {
            return Ok(number);
        }
        let message = format!("expected a number above 0, found {number}");
        Err(self.error(value, whose, message))
    }
}
