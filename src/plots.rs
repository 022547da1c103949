//! The plots of an experiment, from the files of its results folder alone: `spec.toml` says which, `raw.csv`,
//! `loads.csv`, `replicas.csv`, `cdf.csv`, `search.csv` and published curves have the numbers.
//!
//! The specification has resolved which run is where; here its numbers are looked up and put into charts. Nothing is
//! kept from a run in memory, so a plot that is drawn again is the same.

mod boxes;
mod cdf;
mod cells;
mod heat;
mod loads;
mod replicas;
mod search;

use crate::failure::Failure;
use cells::{Cells, Column};
use conductor_experiments::Spec;
use conductor_experiments::results::published_file;
use conductor_experiments::spec::{BarsPlot, LinesPlot, Plot, PlotKind};
use conductor_plots::{BarChart, BarSeries, LinePanel, LinePanels, LineSeries, PlotError, Table};
use std::error::Error as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Draws all plots that `spec` has into the results folder, as far as they can be drawn, and says where they are.
///
/// # Errors
/// The first plot that could not be drawn, when all others have been.
pub(crate) fn draw(folder: &Path, spec: &Spec) -> Result<Vec<PathBuf>, Failure> {
    let mut drawn = Vec::new();
    let mut failed = Ok(());
    for plot in &spec.plots {
        let path = folder.join(format!("{}.svg", plot.file));
        let written = picture(folder, spec, plot)
            .and_then(|svg| fs::write(&path, svg).map_err(|error| Failure::file(&path, error)));
        match written {
            Ok(()) => drawn.push(path),
            Err(error) if failed.is_ok() => failed = Err(error),
            Err(error) => eprintln!("conductor: {}: {error}", plot.file),
        }
    }
    failed.map(|()| drawn)
}

/// One plot, as SVG.
pub(crate) fn picture(folder: &Path, spec: &Spec, plot: &Plot) -> Result<String, Failure> {
    match &plot.kind {
        PlotKind::Lines(kind) => lines(&Cells::open(folder, spec)?, plot, kind),
        PlotKind::Bars(kind) => bars(&Cells::open(folder, spec)?, plot, kind),
        PlotKind::Loads(kind) => loads::chart(folder, spec, plot, kind),
        PlotKind::Replicas(kind) => replicas::chart(folder, spec, plot, kind),
        PlotKind::Search(kind) => search::chart(folder, spec, plot, kind),
        PlotKind::Cdf(kind) => cdf::chart(folder, spec, plot, kind),
        PlotKind::Box(kind) => boxes::chart(folder, spec, plot, kind),
        PlotKind::Heat(kind) => heat::chart(&Cells::open(folder, spec)?, plot, kind),
    }
}

/// The published curves of a plot; a file that is not there is no error, but said.
fn published(folder: &Path, plot: &Plot) -> Result<Option<Table>, Failure> {
    let path = folder.join(published_file(plot));
    if path.is_file() {
        return Table::open(&path)
            .map(Some)
            .map_err(|error| failure(&error));
    }
    let (file, path) = (&plot.file, path.display());
    eprintln!("conductor: {file}: drawn without the published curves: {path} is not there");
    Ok(None)
}

/// What is wrong with a table, or a chart that cannot be drawn.
fn failure(error: &PlotError) -> Failure {
    let cause = error.source().map(|cause| format!(": {cause}"));
    Failure::Input(format!("{error}{}", cause.unwrap_or_default()))
}

/// What has no axis to be named by, and large round numbers, as people write them.
fn name(name: &str) -> String {
    let round = name.parse::<u64>().ok().filter(|number| *number >= 10_000);
    match round {
        _ if name.is_empty() => "simulated".to_string(),
        Some(number) if number % 1_000_000 == 0 => format!("{}M", number / 1_000_000),
        Some(number) if number % 1_000 == 0 => format!("{}k", number / 1_000),
        _ => name.to_string(),
    }
}

fn lines(cells: &Cells<'_>, plot: &Plot, kind: &LinesPlot) -> Result<String, Failure> {
    let column = cells.column(&kind.y)?;
    let mut panels = Vec::new();
    for panel in &kind.panels {
        let mut series = Vec::new();
        let mut compared: Vec<LineSeries> = Vec::new();
        for line in &panel.lines {
            let mut simulated = LineSeries::simulated(name(&line.name), Vec::new());
            let mut published = LineSeries::published(name(&line.name), Vec::new());
            for &(x, run) in &line.points {
                let found = column.estimate(run)?;
                simulated.points.push((x, found.mean));
                simulated.halves.push(found.ci95.unwrap_or(f64::NAN));
                published
                    .points
                    .extend(column.published(run).map(|value| (x, value)));
            }
            series.push(simulated);
            compared.extend(Some(published).filter(|line| !line.points.is_empty()));
        }
        series.extend(once(compared));
        panels.push(LinePanel {
            title: panel.title.clone(),
            series,
        });
    }
    let several = kind.panels.iter().any(|panel| panel.lines.len() > 1);
    let aside = match several {
        true => "Points of different lines at one place are drawn a little apart.",
        false => "",
    };
    let chart = LinePanels {
        title: plot.title.clone(),
        x_label: kind.x_label.clone(),
        y_label: kind.y.label.clone(),
        log_x: kind.log_x,
        log_y: kind.log_y,
        panels,
        note: note(&column) + aside,
    };
    chart.to_svg().map_err(|error| failure(&error))
}

/// One published line where all are the same: it belongs to none of the lines, which are all compared with it.
fn once(lines: Vec<LineSeries>) -> Vec<LineSeries> {
    let bits = |line: &LineSeries| -> Vec<(u64, u64)> {
        let points = line.points.iter();
        points.map(|(x, y)| (x.to_bits(), y.to_bits())).collect()
    };
    match lines.as_slice() {
        [first, _, ..] if lines.iter().all(|line| bits(line) == bits(first)) => {
            vec![LineSeries::published("published", first.points.clone())]
        }
        _ => lines,
    }
}

fn bars(cells: &Cells<'_>, plot: &Plot, kind: &BarsPlot) -> Result<String, Failure> {
    let column = cells.column(&kind.y)?;
    let mut series = Vec::new();
    for (called, runs) in &kind.series {
        let found = runs.iter().map(|&run| column.estimate(run));
        let found = found.collect::<Result<Vec<_>, _>>()?;
        let published: Vec<_> = runs.iter().map(|&run| column.published(run)).collect();
        let has_published = published.iter().any(Option::is_some);
        let published = published.into_iter().map(|value| value.unwrap_or(f64::NAN));
        series.push(BarSeries {
            name: name(called),
            values: found.iter().map(|found| found.mean).collect(),
            halves: found
                .iter()
                .map(|found| found.ci95.unwrap_or(f64::NAN))
                .collect(),
            published: published.filter(|_| has_published).collect(),
        });
    }
    let chart = BarChart {
        title: plot.title.clone(),
        y_label: kind.y.label.clone(),
        groups: kind.groups.iter().map(|group| name(group)).collect(),
        series,
        note: note(&column),
        ..BarChart::default()
    };
    chart.to_svg().map_err(|error| failure(&error))
}

/// What whiskers are, where there are any.
fn note(column: &Column<'_>) -> String {
    match column.seeds() {
        0 | 1 => String::new(),
        seeds => {
            format!("Means over {seeds} seeds; whiskers: 95 % confidence interval of the mean. ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_lines_are_compared_with_is_one_line() {
        let line = |name: &str, y: f64| LineSeries::published(name, vec![(1.0, y), (2.0, 3.0)]);
        let names = |lines: Vec<LineSeries>| -> Vec<String> {
            once(lines).into_iter().map(|line| line.name).collect()
        };
        assert_eq!(names(vec![line("a", 1.0), line("b", 1.0)]), ["published"]);
        assert_eq!(names(vec![line("a", 1.0), line("b", 2.0)]), ["a", "b"]);
        assert_eq!(names(vec![line("a", 1.0)]), ["a"]);
    }

    #[test]
    fn large_round_names_are_short() {
        let written = ["", "10000", "3000000", "3000001", "0.5", "8p8d", "512"].map(name);
        assert_eq!(
            written,
            ["simulated", "10k", "3M", "3000001", "0.5", "8p8d", "512"]
        );
    }
}
