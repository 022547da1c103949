//! What searches tried: metrics over their limits, in the manner of Figs 11 and 12 of arXiv 2407.00079 v3.
//!
//! Values that the searches of all seeds have tried are drawn: those of a grid, up to the first that fails; where
//! bisection went depends on the seed.

use super::failure;
use crate::failure::Failure;
use conductor_experiments::Spec;
use conductor_experiments::spec::{Plot, SearchPlot};
use conductor_experiments::statistics::Estimate;
use conductor_plots::{LinePanel, LinePanels, LineSeries, Table};
use std::path::Path;

pub(super) fn chart(
    folder: &Path,
    spec: &Spec,
    plot: &Plot,
    kind: &SearchPlot,
) -> Result<String, Failure> {
    let path = folder.join("search.csv");
    let table = Table::open(&path).map_err(|error| failure(&error))?;
    let cells = table.column_text("cell").map_err(|error| failure(&error))?;
    let tried = table.column("value").map_err(|error| failure(&error))?;
    let published = match &kind.published {
        Some(_) => published(folder, plot)?,
        None => Vec::new(),
    };
    let mut panels = Vec::new();
    for metric in &kind.panels {
        let column = table.column(&format!("{metric} normalised"));
        let numbers = column.map_err(|error| failure(&error))?;
        let mut series = Vec::new();
        for (name, run) in &kind.series {
            let label = spec.label(*run);
            let rows = (0..table.len()).filter(|&row| cells[row] == label);
            let mut tries: Vec<(f64, f64)> = rows.map(|row| (tried[row], numbers[row])).collect();
            tries.sort_by(|a, b| a.0.total_cmp(&b.0));
            let mut line = LineSeries::simulated(super::name(name), Vec::new());
            for same in tries.chunk_by(|a, b| a.0.to_bits() == b.0.to_bits()) {
                if same.len() == spec.repeats() {
                    let found = Estimate::of(&same.iter().map(|at| at.1).collect::<Vec<_>>());
                    line.points.push((same[0].0, found.mean));
                    line.halves.push(found.ci95.unwrap_or(f64::NAN));
                }
            }
            series.push(line);
        }
        let of_panel = published.iter().filter(|(panel, _)| panel == metric);
        series.extend(of_panel.map(|(_, line)| line.clone()));
        panels.push(LinePanel {
            title: metric.clone(),
            series,
        });
    }
    let note = match spec.repeats() {
        0 | 1 => String::new(),
        seeds => {
            format!("Means over {seeds} seeds; whiskers: 95 % confidence interval of the mean.")
        }
    };
    let chart = LinePanels {
        title: plot.title.clone(),
        x_label: kind.x_label.clone(),
        y_label: "metric over its limit".to_string(),
        log_x: kind.log_x,
        log_y: kind.log_y,
        panels,
        note,
    };
    chart.to_svg().map_err(|error| failure(&error))
}

/// The published lines, by panel; without the file none.
fn published(folder: &Path, plot: &Plot) -> Result<Vec<(String, LineSeries)>, Failure> {
    let Some(table) = super::published(folder, plot)? else {
        return Ok(Vec::new());
    };
    let text = |name: &str| table.column_text(name).map_err(|error| failure(&error));
    let (metrics, names) = (text("metric")?, text("series")?);
    let points = table
        .points("x", "normalised")
        .map_err(|error| failure(&error))?;
    let mut lines: Vec<(String, LineSeries)> = Vec::new();
    for ((metric, name), point) in metrics.into_iter().zip(names).zip(points) {
        let known = lines
            .iter_mut()
            .find(|(of, line)| *of == metric && line.name == name);
        match known {
            Some((_, line)) => line.points.push(point),
            None => lines.push((metric, LineSeries::published(name, vec![point]))),
        }
    }
    Ok(lines)
}
