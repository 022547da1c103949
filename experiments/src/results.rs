//! An experiment's files: the specification as run, the JSON, every number of every run, and a table for people.
//!
//! All but one are the same bytes whoever ran it, on however many machines: what runs cost is in a file of its own.

use crate::distributions;
use crate::files::write_whole;
use crate::loads;
use crate::metric::COSTS;
use crate::published;
use crate::report::ExperimentReport;
use crate::spec::Plot;
use crate::verdicts;
use crate::watch;
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The one file of an experiment that is not the same each time.
pub const TIMING_FILE: &str = "timing.csv";

/// A result file could not be written.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {error}")]
pub struct WriteError {
    /// Which.
    pub path: PathBuf,
    /// Why not.
    pub error: io::Error,
}

/// Writes `spec.toml`, `experiment.json`, `raw.csv`, `verdicts.csv`, `table.md` and `timing.csv` into `dir/<name of
/// the experiment>/`, and says where that is. What searches tried is in `search.csv`. With plots of loads or
/// distributions, `loads.csv` and `cdf.csv`,
/// with watched blocks, `replicas.csv`, and published curves are there too: plots are drawn from these files alone.
///
/// # Errors
/// If a file cannot be written.
pub fn write_results(dir: &Path, report: &ExperimentReport) -> Result<PathBuf, WriteError> {
    let folder = dir.join(&report.name);
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |error| WriteError { path, error }
    };
    fs::create_dir_all(&folder).map_err(failed(&folder))?;
    let json = serde_json::to_string_pretty(&without_costs(report)).expect("plain data");
    let mut files = vec![
        ("spec.toml".to_string(), report.spec.text.clone()),
        ("experiment.json".to_string(), json + "\n"),
        ("raw.csv".to_string(), raw(report)),
        ("verdicts.csv".to_string(), verdicts::csv(report)),
        ("table.md".to_string(), table(report)),
    ];
    if !report.runs.is_empty() {
        files.push((TIMING_FILE.to_string(), timing(report)));
    }
    if !report.searches.is_empty() {
        files.push(("search.csv".to_string(), searches(report)));
    }
    if !report.loads.is_empty() {
        files.push(("loads.csv".to_string(), loads_table(report)));
    }
    if !report.distributions.is_empty() {
        files.push(("cdf.csv".to_string(), distributions_table(report)));
    }
    if let Some(watch) = &report.spec.watch {
        let series = report.replicas.iter().map(|series| {
            let cell = report.spec.label(series.run / report.spec.repeats());
            (cell, report.runs[series.run].seed, &series.samples[..])
        });
        files.push(("replicas.csv".to_string(), watch::csv(watch, series)));
    }
    for plot in &report.spec.plots {
        if let Some(text) = plot.published().and_then(published::text) {
            files.push((published_file(plot), text));
        }
    }
    for (name, contents) in files {
        let path = folder.join(name);
        write_whole(&path, contents.as_bytes()).map_err(failed(&path))?;
    }
    Ok(folder)
}

/// The report's JSON without what each run cost.
fn without_costs(report: &ExperimentReport) -> Value {
    let mut json = serde_json::to_value(report).expect("a report is plain data");
    let runs = json.get_mut("runs").and_then(Value::as_array_mut);
    for run in runs.into_iter().flatten().filter_map(Value::as_object_mut) {
        run.retain(|name, _| !COSTS.contains(&name.as_str()));
    }
    json
}

/// What each run cost whoever ran it; of a search, the run at its answer alone.
fn timing(report: &ExperimentReport) -> String {
    let mut text = format!("cell,seed,{}\n", COSTS.join(","));
    for (i, run) in report.runs.iter().enumerate() {
        let label = report.spec.label(i / report.spec.repeats());
        let head = [cell(&label), run.seed.to_string()];
        let costs = [run.wall_s, run.cpu_s, run.peak_rss_mb].map(|cost| format!("{cost:.3}"));
        line(&mut text, head.into_iter().chain(costs));
    }
    text
}

/// The name of the file that holds the published curves of a plot.
#[must_use]
pub fn published_file(plot: &Plot) -> String {
    format!("{}-published.csv", plot.file)
}

fn loads_table(report: &ExperimentReport) -> String {
    loads::csv(report.loads.iter().map(|series| {
        let run = &report.runs[series.run];
        let cell = report.spec.label(series.run / report.spec.repeats());
        (cell, run.policy.as_str(), run.seed, &series.samples[..])
    }))
}

fn distributions_table(report: &ExperimentReport) -> String {
    distributions::csv(report.distributions.iter().map(|quantiles| {
        let cell = report.spec.label(quantiles.run / report.spec.repeats());
        (cell, report.runs[quantiles.run].seed, quantiles)
    }))
}

/// One row a try: of each condition its metric, and that over its limit.
fn searches(report: &ExperimentReport) -> String {
    let mut text = String::new();
    let conditions = report
        .spec
        .search
        .iter()
        .flat_map(|search| &search.conditions);
    let columns = conditions.flat_map(|condition| {
        let metric = &condition.condition.metric;
        [metric.to_string(), format!("{metric} normalised")]
    });
    let head = ["cell", "seed", "value"].map(str::to_string);
    let columns = head.into_iter().chain(columns);
    line(&mut text, columns.chain(["holds".to_string()]));
    for (i, answer) in report.searches.iter().enumerate() {
        let label = report.spec.label(i / report.spec.repeats());
        for tried in &answer.tries {
            let pairs = tried.metrics.iter().zip(&tried.normalised);
            let pairs = pairs.flat_map(|(metric, share)| [metric.to_string(), share.to_string()]);
            let (seed, value) = (report.runs[i].seed.to_string(), tried.value.to_string());
            let head = [cell(&label), seed, value].into_iter().chain(pairs);
            line(&mut text, head.chain([tried.holds.to_string()]));
        }
    }
    text
}

/// One row a run: the value of each axis, then every number of its report. Axes are marked as such: one may be called
/// what a number is called, as `speed` is.
fn raw(report: &ExperimentReport) -> String {
    let mut text = String::new();
    // Not every run has every number: a capacity may be infinite. What one does not have is empty.
    let mut names: Vec<&str> = Vec::new();
    for numbers in &report.numbers {
        for (place, (name, _)) in numbers.iter().enumerate() {
            if names.get(place) != Some(&name.as_str()) && !names.contains(&name.as_str()) {
                names.insert(place.min(names.len()), name);
            }
        }
    }
    let axes = report.spec.axes.iter();
    let axes = axes.map(|axis| cell(&format!("axis {}", axis.name)));
    line(&mut text, axes.chain(names.iter().map(|name| cell(name))));
    for (i, numbers) in report.numbers.iter().enumerate() {
        let values = report.spec.values_of(i / report.spec.repeats()).into_iter();
        let values = values.map(|value| cell(&value.to_string()));
        let numbers = names.iter().map(|name| {
            let found = numbers.iter().find(|(known, _)| known == name);
            found.map_or_else(String::new, |(_, number)| number.to_string())
        });
        line(&mut text, values.chain(numbers));
    }
    text
}

fn line(text: &mut String, cells: impl Iterator<Item = String>) {
    text.push_str(&cells.collect::<Vec<_>>().join(","));
    text.push('\n');
}

/// RFC 4180: what has a comma, a quote or a line's end is quoted.
pub(crate) fn cell(text: &str) -> String {
    if text.contains([',', '"', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_string()
    }
}

/// Required and measured, published and simulated, in Markdown.
fn table(report: &ExperimentReport) -> String {
    let mut text = format!("# {}\n\n{}.\n", report.spec.title, report.source);
    if !report.checks.is_empty() {
        text.push_str("\n| check | required | measured | holds |\n|---|---|---|---|\n");
    }
    for check in &report.checks {
        let measured = check.simulated.map_or_else(
            || "not a number".to_string(),
            |value| format!("{}{}", short(value), half(check.ci95)),
        );
        let holds = if check.holds { "yes" } else { "**no**" };
        row(&mut text, [&check.what, &check.required, &measured, holds]);
    }
    if !report.points.is_empty() {
        text.push_str(
            "\n| series | x | published | simulated | error | within tolerance |\n|---|---|---|---|---|---|\n",
        );
    }
    for point in &report.points {
        let unit = if point.unit.is_empty() { "" } else { " " };
        let with_unit = |value: f64| format!("{}{unit}{}", short(value), point.unit);
        let published = point.published.map_or_else(|| "-".to_string(), with_unit);
        let verdict = point.verdict.as_ref();
        let error = verdict.and_then(|verdict| verdict.error).map_or_else(
            || "-".to_string(),
            |error| format!("{:+.1} %", error * 100.0),
        );
        let holds = match verdict.map(|verdict| verdict.holds) {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "-",
        };
        let (simulated, half) = (short(point.simulated), half(point.ci95));
        let (x, simulated) = (
            point.x.to_string(),
            format!("{simulated}{half}{unit}{}", point.unit),
        );
        row(
            &mut text,
            [&point.series, &x, &published, &simulated, &error, holds],
        );
    }
    text
}

fn row<const N: usize>(text: &mut String, cells: [&str; N]) {
    writeln!(text, "| {} |", cells.join(" | ")).expect("a string takes everything");
}

/// The half width of an interval, where there is one.
fn half(ci95: Option<f64>) -> String {
    ci95.map_or_else(String::new, |half| format!(" ± {}", short(half)))
}

/// Four significant digits.
pub(crate) fn short(value: f64) -> String {
    let digits = if value.abs() >= 1000.0 {
        0
    } else if value.abs() >= 100.0 {
        1
    } else if value.abs() >= 10.0 {
        2
    } else {
        3
    };
    format!("{value:.digits$}")
}
