//! The seesaw: loads of the two pools over time, a panel a run, in the manner of Fig 9 of arXiv 2407.00079 v3.
//!
//! Means, standard deviations and the correlation in a panel's caption are of the points that are drawn, of one seed;
//! those in a report are of one sample a second and over all seeds.

use super::failure;
use crate::failure::Failure;
use conductor_experiments::Spec;
use conductor_experiments::spec::{LoadsPlot, Plot};
use conductor_experiments::statistics::correlation;
use conductor_plots::{Reference, Table, TimeChart, TimePanel, TimeSeries};
use conductor_sim::stats::Spread;
use std::path::Path;

/// Loads in percent of their limits: time in s, prefill, decode.
type Point = (f64, f64, f64);

pub(super) fn chart(
    folder: &Path,
    spec: &Spec,
    plot: &Plot,
    kind: &LoadsPlot,
) -> Result<String, Failure> {
    let path = folder.join("loads.csv");
    let table = Table::open(&path).map_err(|error| failure(&error))?;
    let all = points(&table)?;
    let cells = table.column_text("cell").map_err(|error| failure(&error))?;
    let seeds = table.column_text("seed").map_err(|error| failure(&error))?;
    let mut panels = Vec::new();
    for (name, run) in &kind.panels {
        let label = spec.label(*run);
        let is_drawn = |row: usize| {
            let of_seed = kind.seed.is_none_or(|seed| seeds[row] == seed.to_string());
            of_seed && cells[row] == label && (kind.from_s..=kind.to_s).contains(&all[row].0)
        };
        let rows = (0..all.len()).filter(|&row| is_drawn(row));
        let points: Vec<Point> = rows
            .map(|row| (all[row].0 - kind.from_s, all[row].1, all[row].2))
            .collect();
        if points.is_empty() {
            let path = path.display();
            return Err(Failure::Input(format!(
                "{path}: no sample of the run \"{label}\" that {} draws",
                plot.file
            )));
        }
        panels.push((super::name(name), false, points));
    }
    if let Some(published) = &kind.published
        && let Some(table) = super::published(folder, plot)?
    {
        let name = format!("published, {}", published.source);
        panels.push((name, true, points(&table)?));
    }
    let loads = panels.iter().flat_map(|(_, _, points)| points);
    let most = loads.fold(100.0, |most: f64, point| most.max(point.1).max(point.2));
    let y_limits = Some((0.0, (most / 20.0).ceil() * 20.0));
    let seed = kind
        .seed
        .map_or_else(String::new, |seed| format!(" (seed {seed})"));
    let from = kind.from_s;
    let chart = TimeChart {
        title: format!("{}{seed}", plot.title),
        x_label: match from > 0.0 {
            true => format!("time after {from} s of the run"),
            false => "time".to_string(),
        },
        panels: panels
            .into_iter()
            .map(|(name, published, points)| panel(&name, published, &points, y_limits))
            .collect(),
    };
    chart.to_svg().map_err(|error| failure(&error))
}

fn points(table: &Table) -> Result<Vec<Point>, Failure> {
    let column = |name: &str| table.column(name).map_err(|error| failure(&error));
    let times = column("time_s")?.into_iter();
    let loads = column("prefill_load")?
        .into_iter()
        .zip(column("decode_load")?);
    let percent = |(time, (prefill, decode))| (time, 100.0 * prefill, 100.0 * decode);
    Ok(times.zip(loads).map(percent).collect())
}

/// One panel; all have the same y axis, for they are there to be compared.
fn panel(name: &str, published: bool, points: &[Point], y_limits: Option<(f64, f64)>) -> TimePanel {
    let line = |name: &str, value: fn(&Point) -> f64| TimeSeries {
        name: name.to_string(),
        points: points.iter().map(|point| (point.0, value(point))).collect(),
        published,
    };
    let pairs: Vec<_> = points.iter().map(|point| (point.1, point.2)).collect();
    let spread = |value: fn(&(f64, f64)) -> f64| {
        let found = Spread::of(pairs.iter().map(value), 0);
        format!("{:.0} ± {:.0} %", found.mean, found.sd)
    };
    let correlation =
        correlation(&pairs).map_or_else(|| "none".to_string(), |found| format!("{found:.2}"));
    TimePanel {
        title: name.to_string(),
        caption: format!(
            "prefill {}, decode {} (mean ± sd); correlation at lag 0: {correlation}",
            spread(|pair| pair.0),
            spread(|pair| pair.1)
        ),
        y_label: "load (% of limit)".to_string(),
        y_limits,
        series: vec![
            line("prefill pool", |point| point.1),
            line("decode pool", |point| point.2),
        ],
        references: vec![Reference::new(100.0, "limit")],
    }
}
