//! `raw.csv` by the numbers of an experiment's runs: a metric of a run is its mean over the rows, one a seed, whose
//! axes have the run's values.

use super::failure;
use crate::failure::Failure;
use conductor_experiments::Spec;
use conductor_experiments::spec::Measure;
use conductor_experiments::statistics::Estimate;
use conductor_plots::Table;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The rows of all runs.
pub(super) struct Cells<'a> {
    spec: &'a Spec,
    path: PathBuf,
    table: Table,
    /// For each run its rows.
    rows: Vec<Vec<usize>>,
}

impl<'a> Cells<'a> {
    /// Reads `raw.csv` in a results folder.
    pub(super) fn open(folder: &Path, spec: &'a Spec) -> Result<Self, Failure> {
        let path = folder.join("raw.csv");
        let table = Table::open(&path).map_err(|error| failure(&error))?;
        let axes = spec
            .axes
            .iter()
            .map(|axis| table.column_text(&format!("axis {}", axis.name)));
        let axes = axes
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| failure(&error))?;
        let mut by_values: BTreeMap<Vec<&str>, Vec<usize>> = BTreeMap::new();
        for row in 0..table.len() {
            let values = axes.iter().map(|axis| axis[row].as_str()).collect();
            by_values.entry(values).or_default().push(row);
        }
        let rows = (0..spec.run_count()).map(|run| {
            let values: Vec<String> = spec
                .values_of(run)
                .iter()
                .map(|value| value.to_string())
                .collect();
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            by_values.get(&values).cloned().unwrap_or_default()
        });
        Ok(Self {
            rows: rows.collect(),
            spec,
            path,
            table,
        })
    }

    /// The mean of a number of reports over the rows of a run.
    pub(super) fn mean(&self, run: usize, number: &str) -> Result<f64, Failure> {
        let numbers = self.table.column(number).map_err(|error| failure(&error))?;
        let values: Vec<f64> = self.rows_of(run)?.iter().map(|&row| numbers[row]).collect();
        Ok(Estimate::of(&values).mean)
    }

    /// The rows of a run, one a seed.
    fn rows_of(&self, run: usize) -> Result<&[usize], Failure> {
        let rows = &self.rows[run];
        if rows.is_empty() {
            let (path, label) = (self.path.display(), self.spec.label(run));
            return Err(Failure::Input(format!(
                "{path}: no row of the run \"{label}\""
            )));
        }
        Ok(rows)
    }

    /// The numbers of one metric.
    pub(super) fn column(&'a self, measure: &'a Measure) -> Result<Column<'a>, Failure> {
        let column = self.table.column(&measure.metric.to_string());
        Ok(Column {
            cells: self,
            measure,
            numbers: column.map_err(|error| failure(&error))?,
        })
    }
}

/// One metric of all runs.
pub(super) struct Column<'a> {
    cells: &'a Cells<'a>,
    measure: &'a Measure,
    numbers: Vec<f64>,
}

impl Column<'_> {
    /// Its mean in a run, as it is drawn.
    pub(super) fn estimate(&self, run: usize) -> Result<Estimate, Failure> {
        let rows = self.cells.rows_of(run)?;
        let values = rows
            .iter()
            .map(|&row| self.numbers[row] * self.measure.scale);
        Ok(Estimate::of(&values.collect::<Vec<_>>()))
    }

    /// The published value beside it, as it is drawn. What is only published as a multiple of other runs is that
    /// multiple of what is simulated there: such a curve shows a shape, and begins where the simulated one does.
    pub(super) fn published(&self, run: usize) -> Option<f64> {
        let rows = self.cells.spec.published.iter();
        let rows = rows.filter(|row| row.run == run && row.metric == self.measure.metric);
        let row = rows.min_by_key(|row| !row.to.is_empty())?;
        let value = row.value / row.scale;
        if row.to.is_empty() {
            return Some(value * self.measure.scale);
        }
        let mut sum = 0.0;
        for &other in &row.to {
            sum += self.estimate(other).ok()?.mean;
        }
        Some(value * sum / row.to.len() as f64)
    }

    /// Over how many seeds means are, at most.
    pub(super) fn seeds(&self) -> usize {
        self.cells.rows.iter().map(Vec::len).max().unwrap_or(0)
    }
}
