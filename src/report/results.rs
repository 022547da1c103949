//! The numbers of every run, one row a run, that a reader sorts.
//!
//! Columns are the axes, what the experiment draws or compares, and what any reader asks first. All other numbers are
//! in `raw.csv`.

use super::found::Found;
use crate::failure::Failure;
use conductor_experiments::spec::PlotKind;
use conductor_plots::{Cell, Column, ResultTable, Table};
use std::collections::BTreeMap;

/// What any reader asks first, as far as there is room.
const USUAL: [&str; 9] = [
    "ttft_s.mean",
    "ttft_s.p90",
    "tbt_s.p90",
    "effective_ratio",
    "goodput_rps",
    "hit_ratio_tokens",
    "rejected",
    "transfer.gb",
    "replications",
];
/// More columns than this are not read.
const COLUMNS_MAX: usize = 12;

/// The table; none if there are no runs.
pub(super) fn table(found: &Found) -> Result<Option<ResultTable>, Failure> {
    let path = found.folder.join("raw.csv");
    let table = Table::open(&path).map_err(Failure::input)?;
    let spec = &found.spec;
    let mut axes = Vec::new();
    for axis in &spec.axes {
        axes.push(
            table
                .column_text(&format!("axis {}", axis.name))
                .map_err(Failure::input)?,
        );
    }
    // The rows of all seeds of a run, in the order of the runs.
    let mut runs: Vec<(Vec<&str>, Vec<usize>)> = Vec::new();
    let mut places = BTreeMap::new();
    for row in 0..table.len() {
        let values: Vec<&str> = axes.iter().map(|axis| axis[row].as_str()).collect();
        let place = *places.entry(values.clone()).or_insert_with(|| {
            runs.push((values, Vec::new()));
            runs.len() - 1
        });
        runs[place].1.push(row);
    }
    if runs.is_empty() {
        return Ok(None);
    }
    let names = metrics(found, &table);
    let mut columns: Vec<Column> = spec
        .axes
        .iter()
        .map(|axis| Column::text(&axis.name))
        .collect();
    if columns.is_empty() {
        columns.push(Column::text("run"));
    }
    columns.extend(names.iter().map(|name| column(name)));
    let numbers = names
        .iter()
        .map(|name| table.column(name).map_err(Failure::input));
    let numbers = numbers.collect::<Result<Vec<_>, _>>()?;
    let rows = runs.iter().map(|(values, rows)| {
        let mut cells: Vec<Cell> = values.iter().map(|value| axis_cell(value)).collect();
        if cells.is_empty() {
            cells.push(Cell::from("the only run"));
        }
        let mean = |numbers: &Vec<f64>| {
            let sum: f64 = rows.iter().map(|&row| numbers[row]).sum();
            Cell::from(sum / rows.len() as f64)
        };
        cells.extend(numbers.iter().map(mean));
        cells
    });
    let seeds = match spec.repeats() {
        1 => String::new(),
        seeds => format!(", means over {seeds} seeds"),
    };
    Ok(Some(ResultTable {
        caption: format!(
            "{}: one row a run{seeds}; every number is in raw.csv.",
            spec.name
        ),
        rows: rows.collect(),
        columns,
    }))
}

/// Values of axes sort as numbers where they are.
fn axis_cell(value: &str) -> Cell {
    match value.parse::<f64>() {
        Ok(number) => Cell::from(number),
        Err(_) => Cell::from(value),
    }
}

/// The metrics that are shown: what was sought, what is drawn and compared, then the usual ones.
fn metrics(found: &Found, table: &Table) -> Vec<String> {
    let spec = &found.spec;
    let mut wanted: Vec<String> = Vec::new();
    if spec.search.is_some() {
        wanted.push("search.value".to_string());
    }
    for plot in &spec.plots {
        wanted.extend(match &plot.kind {
            PlotKind::Lines(plot) => Some(plot.y.metric.to_string()),
            PlotKind::Bars(plot) => Some(plot.y.metric.to_string()),
            PlotKind::Heat(plot) => Some(plot.of.metric.to_string()),
            PlotKind::Cdf(plot) => Some(format!("{}.mean", plot.of.name())),
            PlotKind::Box(plot) => Some(format!("{}.mean", plot.of.name())),
            PlotKind::Loads(_) | PlotKind::Replicas(_) | PlotKind::Search(_) => None,
        });
    }
    wanted.extend(spec.published.iter().map(|row| row.metric.to_string()));
    wanted.extend(spec.checks.iter().map(|check| check.metric.to_string()));
    wanted.extend(USUAL.map(str::to_string));
    let mut names: Vec<String> = Vec::new();
    let room = COLUMNS_MAX.saturating_sub(spec.axes.len());
    for name in wanted {
        if names.len() < room && !names.contains(&name) && table.header().contains(&name) {
            names.push(name);
        }
    }
    names
}

/// How a metric is written: its unit follows from its name.
fn column(name: &str) -> Column {
    let first = name.split('.').next().unwrap_or(name);
    let is_share = ["ratio", "tbt_within", "accepted_by"]
        .iter()
        .any(|part| first.contains(part));
    if is_share {
        return Column::share(name, 1);
    }
    let (unit, digits) = match first {
        _ if name.ends_with(".gb") => ("GB", 0),
        _ if first.ends_with("_per_s") => ("tokens/s", 0),
        _ if first.ends_with("_rps") => ("requests/s", 3),
        _ if first.ends_with("_s") || first == "prefill_gpu_s_mean" => ("s", 3),
        "rejected" | "rejected_after_prefill" | "replications" | "completed" | "requests" => {
            ("", 0)
        }
        _ => ("", 3),
    };
    Column::number(name, unit, digits)
}
