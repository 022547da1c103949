//! The two forms a cost can have, fitted, predicted, and tried on what they have not seen.
//!
//! The polynomials are those of `core::cost::Polynomial`, the tables those of `core::cost::Table`. A table has its
//! points exactly, so only points that it was made without say how good it is: each row and each column in turn is
//! left out as a whole and read from its neighbours (at an end, continued). A polynomial is fitted again without each
//! setting in turn.

use super::data::Work;
use super::errors::Errors;
use super::fit::{dot, relative};
use super::grid::{Grid, line};
use std::collections::BTreeSet;

/// Which half of a cost model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Half {
    Prefill,
    Decode,
}

/// A cost in one of its forms.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Form {
    /// Coefficients in the order of [`features`], in seconds.
    Polynomial(Vec<f64>),
    /// Prefill: one row for prompts of which nothing is cached, by prompt length. Decode: batch by context.
    Table(Grid),
}

/// Timings of one half: what was timed, each once, and seconds.
pub(super) type Timings = [(Work, f64)];

/// What the coefficients multiply.
///
/// Prefill: 1, n - p, n^2 - p^2, [p > 0], p. Decode: 1, batch, KV tokens.
pub(super) fn features(work: Work) -> Vec<f64> {
    match work {
        Work::Prefill { prompt, cached } => {
            let (n, p) = (prompt as f64, cached as f64);
            let hit = if cached > 0 { 1.0 } else { 0.0 };
            vec![1.0, n - p, n * n - p * p, hit, p]
        }
        Work::Decode { batch, context } => {
            vec![1.0, batch as f64, batch as f64 * context as f64]
        }
        Work::Mixed { .. } | Work::Move { .. } => unreachable!("fitted by their own equations"),
    }
}

/// The place of a setting on the axes of a table: row and column.
fn place(work: Work) -> (u64, u64) {
    match work {
        Work::Prefill { prompt, cached } => (cached, prompt - cached),
        Work::Decode { batch, context } => (batch, context),
        Work::Mixed { .. } | Work::Move { .. } => unreachable!("they have no table"),
    }
}

impl Form {
    /// The polynomial that fits best. A decode step takes time even with nothing to do: no fit without a base.
    pub(super) fn polynomial(timings: &Timings) -> Option<Self> {
        let rows: Vec<Vec<f64>> = timings.iter().map(|(work, _)| features(*work)).collect();
        let targets: Vec<f64> = timings.iter().map(|(_, seconds)| *seconds).collect();
        relative(&rows, &targets).map(Self::Polynomial)
    }

    /// The table of all timings, if there are enough for a grid. Prompts with a cached part have no common lengths of
    /// what is computed, so they make none.
    pub(super) fn table(timings: &Timings) -> Option<Self> {
        let hit = |(work, _): &(Work, f64)| matches!(work, Work::Prefill { cached: 1.., .. });
        if timings.iter().any(hit) {
            return None;
        }
        let cell = |(work, seconds): &(Work, f64)| {
            let (row, column) = place(*work);
            (row, column, *seconds)
        };
        let cells: Vec<_> = timings.iter().map(cell).collect();
        Grid::of(&cells).map(Self::Table)
    }

    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Polynomial(_) => "polynomial",
            Self::Table(_) => "table",
        }
    }

    /// Seconds.
    pub(super) fn predict(&self, work: Work) -> f64 {
        match (self, work) {
            (Self::Polynomial(weights), _) => dot(&features(work), weights),
            (Self::Table(grid), Work::Prefill { prompt, cached }) => {
                cached_cost(grid, cached, prompt - cached)
            }
            (Self::Table(grid), _) => {
                let (row, column) = place(work);
                grid.at(row, column)
            }
        }
    }

    pub(super) fn errors(&self, timings: &Timings) -> Errors {
        let pairs: Vec<(f64, f64)> = timings
            .iter()
            .map(|(work, seconds)| (self.predict(*work), *seconds))
            .collect();
        Errors::of(&pairs)
    }
}

/// A prompt's part behind `cached` tokens, by the table of whole prompts: the difference of two prompts and, since
/// every prefill has it, the fixed part (the table continued to 0 tokens).
pub(super) fn cached_cost(grid: &Grid, cached: u64, computed: u64) -> f64 {
    if cached == 0 {
        return grid.at(0, computed);
    }
    let whole: Vec<(u64, f64)> = grid
        .columns
        .iter()
        .copied()
        .zip(grid.seconds[0].iter().copied())
        .collect();
    let fixed = line(&whole, 0).max(0.0);
    fixed + line(&whole, cached + computed) - line(&whole, cached).max(fixed)
}

/// Polynomials fitted without each setting in turn, on that setting.
pub(super) fn polynomial_held_out(timings: &Timings) -> Errors {
    let mut pairs = Vec::new();
    for (i, (work, seconds)) in timings.iter().enumerate() {
        let kept = [&timings[..i], &timings[i + 1..]].concat();
        if let Some(form) = Form::polynomial(&kept) {
            pairs.push((form.predict(*work), *seconds));
        }
    }
    Errors::of(&pairs)
}

/// Tables made without each row and each column in turn, on that row or column. `None` if what is left makes no table.
pub(super) fn table_held_out(timings: &Timings) -> Option<Errors> {
    let mut pairs = Vec::new();
    let parts: [fn(Work) -> u64; 2] = [|work| place(work).0, |work| place(work).1];
    for part in parts {
        let lines: BTreeSet<u64> = timings.iter().map(|(work, _)| part(*work)).collect();
        if lines.len() < 3 {
            continue;
        }
        for at in lines {
            let (out, kept): (Vec<_>, Vec<_>) =
                timings.iter().partition(|(work, _)| part(*work) == at);
            let form = Form::table(&kept)?;
            pairs.extend(
                out.iter()
                    .map(|(work, seconds)| (form.predict(*work), *seconds)),
            );
        }
    }
    (!pairs.is_empty()).then(|| Errors::of(&pairs))
}
