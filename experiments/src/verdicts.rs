//! Verdicts: every published value beside the simulated one, every requirement with what came out, and whether they
//! hold; of one experiment, and of all in a folder.
//!
//! A value holds if it is within the tolerance that its specification states ([`Spec::TOLERANCE`] where it states
//! none). What does not hold stands in the same table as what does. The tables of a folder are made of its experiments'
//! own, so that experiments may be run one by one.

use crate::files::write_whole;
use crate::report::{CheckReport, ExperimentReport, Point, PointVerdict};
use crate::results::{WriteError, cell};
use crate::spec::{Published, Spec};
use serde::Deserialize;
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

/// The table's name, in the folder of an experiment and in that of all.
pub const FILE: &str = "verdicts.csv";
/// The table for people.
const PAGE: &str = "verdicts.md";

const HEAD: &str = "experiment,kind,what,x,unit,published,simulated,ci95,error_percent,tolerance_percent,low,high,holds,source\n";

/// The verdicts of an experiment as a table.
pub(crate) fn csv(report: &ExperimentReport) -> String {
    let mut text = HEAD.to_string();
    // Published values stand among the points in their order.
    let judged = report.points.iter();
    let judged = judged.filter_map(|point| Some((point, point.verdict.as_ref()?)));
    for ((point, verdict), row) in judged.zip(&report.spec.published) {
        value(&mut text, &report.name, point, verdict, row);
    }
    for check in &report.checks {
        requirement(&mut text, &report.name, check);
    }
    text
}

fn value(
    text: &mut String,
    experiment: &str,
    point: &Point,
    verdict: &PointVerdict,
    row: &Published,
) {
    let percent = |share: f64| format!("{:.2}", share * 100.0);
    put(
        text,
        [
            experiment.to_string(),
            "value".to_string(),
            point.series.clone(),
            point.x.to_string(),
            point.unit.clone(),
            row.value.to_string(),
            number(Some(point.simulated).filter(|value| value.is_finite())),
            number(point.ci95),
            verdict.error.map_or_else(String::new, percent),
            percent(verdict.tolerance),
            String::new(),
            String::new(),
            verdict.holds.to_string(),
            row.source.clone(),
        ],
    );
}

fn requirement(text: &mut String, experiment: &str, check: &CheckReport) {
    put(
        text,
        [
            experiment.to_string(),
            "requirement".to_string(),
            check.what.clone(),
            check.id.clone(),
            String::new(),
            number(check.published),
            number(check.simulated),
            number(check.ci95),
            String::new(),
            String::new(),
            number(check.low),
            number(check.high),
            check.holds.to_string(),
            String::new(),
        ],
    );
}

fn put(text: &mut String, cells: [String; 14]) {
    let cells = cells.map(|text| cell(&text));
    writeln!(text, "{}", cells.join(",")).expect("a string takes everything");
}

fn number(value: Option<f64>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

/// One row of the table, as far as people read it.
#[derive(Debug, Deserialize)]
struct Row {
    experiment: String,
    kind: String,
    what: String,
    x: String,
    unit: String,
    published: Option<f64>,
    simulated: Option<f64>,
    ci95: Option<f64>,
    error_percent: Option<f64>,
    tolerance_percent: Option<f64>,
    low: Option<f64>,
    high: Option<f64>,
    holds: bool,
}

/// Writes the verdicts of all experiments whose folders are given, in this order, into a folder.
///
/// # Errors
/// If a file cannot be read or written. Folders without a table, of an older program, are passed over.
pub fn collect(into: &Path, folders: &[PathBuf]) -> Result<(), WriteError> {
    let (mut all, mut rows) = (HEAD.to_string(), Vec::new());
    for folder in folders {
        let path = folder.join(FILE);
        let failed = |error| WriteError {
            path: path.clone(),
            error,
        };
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(failed(error)),
        };
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        for row in reader.deserialize() {
            rows.push(row.map_err(|error| failed(io::Error::other(error)))?);
        }
        all += text.split_once('\n').map_or("", |(_, rows)| rows);
    }
    for (name, text) in [(FILE, all), (PAGE, page(&rows))] {
        let path = into.join(name);
        let written = write_whole(&path, text.as_bytes());
        written.map_err(|error| WriteError { path, error })?;
    }
    Ok(())
}

/// A table of experiments with how much holds, then every verdict.
fn page(rows: &[Row]) -> String {
    let mut text = String::from("# Published and simulated\n\n");
    let default = Spec::TOLERANCE * 100.0;
    writeln!(
        text,
        "A published value holds if the simulated one is within the tolerance that the experiment's specification states, \
         {default} % where it states none. Every value and every requirement is here, whether it holds or not.\n\n\
         | experiment | published values that hold | requirements that hold |\n|---|---|---|"
    )
    .expect("a string takes everything");
    let mut names: Vec<&str> = Vec::new();
    for row in rows {
        if names.last() != Some(&row.experiment.as_str()) {
            names.push(&row.experiment);
        }
    }
    let held = |name: Option<&str>, kind: &str| {
        let mine = rows
            .iter()
            .filter(|row| row.kind == kind && name.is_none_or(|name| row.experiment == name));
        let total = mine.clone().count();
        match total {
            0 => "-".to_string(),
            _ => format!("{} of {total}", mine.filter(|row| row.holds).count()),
        }
    };
    for name in names.iter().map(|name| Some(*name)).chain([None]) {
        let (values, requirements) = (held(name, "value"), held(name, "requirement"));
        let name = name.unwrap_or("**all**");
        writeln!(text, "| {name} | {values} | {requirements} |").expect("a string");
    }
    for name in names {
        writeln!(
            text,
            "\n## {name}\n\n| what | at | published | simulated | error | required | holds |\n|---|---|---|---|---|---|---|"
        )
        .expect("a string takes everything");
        for row in rows.iter().filter(|row| row.experiment == name) {
            line(&mut text, row);
        }
    }
    text
}

fn line(text: &mut String, row: &Row) {
    let unit = match row.unit.as_str() {
        "" => String::new(),
        unit => format!(" {unit}"),
    };
    let short = |value: Option<f64>| {
        value.map_or_else(
            || "-".to_string(),
            |value| format!("{}{unit}", crate::results::short(value)),
        )
    };
    let half = row.ci95.map_or_else(String::new, |half| {
        format!(" ± {}", crate::results::short(half))
    });
    let error = row
        .error_percent
        .map_or_else(|| "-".to_string(), |error| format!("{error:+.1} %"));
    let required = match (row.tolerance_percent, row.low, row.high) {
        (Some(tolerance), ..) => format!("within {tolerance} %"),
        (None, Some(low), Some(high)) => format!("{low} to {high}"),
        (None, Some(low), None) => format!("above {low}"),
        (None, None, Some(high)) => format!("below {high}"),
        (None, None, None) => "-".to_string(),
    };
    let holds = if row.holds { "yes" } else { "**no**" };
    let clean = |text: &str| text.replace('|', "\\|");
    writeln!(
        text,
        "| {} | {} | {} | {}{half} | {error} | {required} | {holds} |",
        clean(&row.what),
        clean(&row.x),
        short(row.published),
        short(row.simulated),
    )
    .expect("a string takes everything");
}
