//! Cumulative distributions over requests, beside published ones, in the manner of FAST'25 Fig 1.

use super::failure;
use crate::failure::Failure;
use conductor_experiments::Spec;
use conductor_experiments::spec::{CdfPlot, Distribution, Plot};
use conductor_plots::{CdfChart, CdfSeries, Reference, Table};
use std::path::{Path, PathBuf};

/// `cdf.csv`: quantiles of distributions, by run.
pub(super) struct Quantiles {
    path: PathBuf,
    cells: Vec<String>,
    of: Vec<String>,
    values: Vec<f64>,
}

impl Quantiles {
    /// Reads those in a results folder.
    pub(super) fn open(folder: &Path) -> Result<Self, Failure> {
        let path = folder.join("cdf.csv");
        let table = Table::open(&path).map_err(|error| failure(&error))?;
        let text = |name: &str| table.column_text(name).map_err(|error| failure(&error));
        Ok(Self {
            cells: text("cell")?,
            of: text("of")?,
            values: table.column("value").map_err(|error| failure(&error))?,
            path,
        })
    }

    /// The quantiles of one run, of all its seeds, times `scale`.
    pub(super) fn of(
        &self,
        spec: &Spec,
        plot: &Plot,
        run: usize,
        of: Distribution,
        scale: f64,
    ) -> Result<Vec<f64>, Failure> {
        let label = spec.label(run);
        let is_drawn = |row: &usize| self.cells[*row] == label && self.of[*row] == of.name();
        let rows = (0..self.values.len()).filter(is_drawn);
        let values: Vec<f64> = rows.map(|row| self.values[row] * scale).collect();
        if values.is_empty() {
            let (path, file, of) = (self.path.display(), &plot.file, of.name());
            return Err(Failure::Input(format!(
                "{path}: no {of} of the run \"{label}\" that {file} draws"
            )));
        }
        Ok(values)
    }
}

pub(super) fn chart(
    folder: &Path,
    spec: &Spec,
    plot: &Plot,
    kind: &CdfPlot,
) -> Result<String, Failure> {
    let quantiles = Quantiles::open(folder)?;
    let mut series = Vec::new();
    for (name, run) in &kind.series {
        let values = quantiles.of(spec, plot, *run, kind.of, kind.scale)?;
        series.push(CdfSeries::simulated(super::name(name), values));
    }
    if kind.published.is_some() {
        series.extend(published(folder, plot)?);
    }
    let marks = kind.marks.iter();
    let chart = CdfChart {
        title: plot.title.clone(),
        x_label: kind.x_label.clone(),
        of: "requests".to_string(),
        log_x: kind.log_x,
        x_max: kind.x_max,
        series,
        markers: marks
            .map(|&at| Reference::new(at, at.to_string()))
            .collect(),
    };
    chart.to_svg().map_err(|error| failure(&error))
}

/// The published curves, in the order in which the file has them; without the file none.
fn published(folder: &Path, plot: &Plot) -> Result<Vec<CdfSeries>, Failure> {
    let Some(table) = super::published(folder, plot)? else {
        return Ok(Vec::new());
    };
    let names = table
        .column_text("series")
        .map_err(|error| failure(&error))?;
    let points = table
        .points("x", "share_percent")
        .map_err(|error| failure(&error))?;
    let mut series: Vec<(&str, Vec<(f64, f64)>)> = Vec::new();
    for (name, &(x, percent)) in names.iter().zip(&points) {
        if series.last().is_none_or(|(last, _)| last != name) {
            series.push((name, Vec::new()));
        }
        if let Some((_, points)) = series.last_mut() {
            points.push((x, percent / 100.0));
        }
    }
    let series = series.into_iter();
    Ok(series
        .map(|(name, points)| CdfSeries::published(name, points))
        .collect())
}
