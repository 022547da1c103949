//! `report.html` of experiments: what was run, what was published, what came out, with every plot.
//!
//! It is made of the files of results folders alone: `spec.toml`, `experiment.json`, `raw.csv` and what plots are drawn
//! from. [`keep`] writes, beside them, what only a run knows: the build, and policies and clusters as resolved.
//!
//! Not here: how a page looks (`conductor-plots`), and the plots themselves ([`crate::plots`]).

mod found;
mod results;

use crate::commands::experiment::results_folders;
use crate::failure::Failure;
use crate::plots;
use conductor_experiments::{ExperimentReport, list, resolved, verdicts};
use conductor_plots::{Figure, Report};
use found::Found;
use std::fs;
use std::path::{Path, PathBuf};

/// Runs that a resolved file names; of the others it says how many there are.
const RUNS_NAMED: usize = 8;

/// Writes what a report needs and only a run knows into its results folder: `build.txt`, and the policies and clusters
/// as resolved into `resolved/`.
pub(crate) fn keep(folder: &Path, report: &ExperimentReport) -> Result<(), Failure> {
    let fitted = report.fitted.as_ref().map(|fitted| fitted.value);
    let all = resolved(&report.spec, fitted, Path::new(".")).map_err(Failure::input)?;
    let into = folder.join("resolved");
    if into.is_dir() {
        // Those of an earlier run are not this one's.
        fs::remove_dir_all(&into).map_err(|error| Failure::file(&into, error))?;
    }
    let mut files = vec![(folder.join("build.txt"), build() + "\n")];
    if !all.is_empty() {
        fs::create_dir_all(&into).map_err(|error| Failure::file(&into, error))?;
    }
    for one in all {
        let named = one.runs.len().min(RUNS_NAMED);
        let mut text = String::from("# As resolved for the runs\n");
        for run in &one.runs[..named] {
            text.push_str(&format!("#   {}\n", run.replace('\n', " ")));
        }
        if one.runs.len() > named {
            text.push_str(&format!("# and {} more\n", one.runs.len() - named));
        }
        text.push('\n');
        files.push((into.join(format!("{}.toml", one.name)), text + &one.text));
    }
    for (path, text) in files {
        fs::write(&path, text).map_err(|error| Failure::file(&path, error))?;
    }
    Ok(())
}

/// Version and commit of this program.
fn build() -> String {
    let (version, commit) = (env!("CARGO_PKG_VERSION"), env!("CONDUCTOR_COMMIT"));
    format!("conductor {version}, commit {commit}")
}

/// Writes `report.html` over all experiments whose results are in `folder`, or over the one that `folder` is, and says
/// where it is. Over several, `verdicts.csv` and `verdicts.md` too.
pub(crate) fn write(folder: &Path) -> Result<PathBuf, Failure> {
    let mut all = results_folders(folder)?
        .iter()
        .map(|folder| Found::read(folder))
        .collect::<Result<Vec<_>, _>>()?;
    // In the order of `experiment list`, which is the papers'; then what is not built in.
    let known: Vec<String> = list().into_iter().map(|info| info.name).collect();
    all.sort_by_key(|found| {
        let name = &found.spec.name;
        let place = known.iter().position(|known| known == name);
        (place.unwrap_or(known.len()), name.clone())
    });
    if !all.iter().any(|found| found.folder == folder) {
        let folders: Vec<_> = all.iter().map(|found| found.folder.clone()).collect();
        verdicts::collect(folder, &folders).map_err(|error| Failure::Run(error.to_string()))?;
    }
    let path = folder.join("report.html");
    fs::write(&path, page(&all)?.to_html()).map_err(|error| Failure::file(&path, error))?;
    Ok(path)
}

fn page(all: &[Found]) -> Result<Report, Failure> {
    let title = match all {
        [only] => only.spec.title.clone(),
        _ => "Experiments: published and simulated".to_string(),
    };
    let runs: usize = all.iter().map(|found| found.digests.len()).sum();
    let verdicts: Vec<_> = all.iter().flat_map(Found::verdicts).collect();
    let held = |is_check: bool| {
        let all = all.iter().map(|found| found.held(is_check));
        let (held, total) = all.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        format!("{held} of {total}")
    };
    let facts = [
        ("Experiments", all.len().to_string()),
        ("Simulated runs", runs.to_string()),
        ("Published values within their tolerance", held(false)),
        ("Requirements that hold", held(true)),
    ];
    let mut report = Report::new(title)
        .summary(
            "Every published value and every requirement stands in the table, also where it does not hold. The tables sort by \
             a click on a head; line plots say the values under the pointer, and a drag zooms.",
        )
        .facts(facts.map(|(name, value)| (name.to_string(), value)).to_vec());
    if all.len() > 1 {
        report = report.contents();
    }
    report = report.heading("Published and simulated").verdicts(verdicts);
    for found in all {
        report = section(report, found)?;
    }
    Ok(report.footer(format!("Written by {}", build())))
}

/// One experiment: facts, plots, results by run, files.
fn section(report: Report, found: &Found) -> Result<Report, Failure> {
    let spec = &found.spec;
    let mut report = report
        .section(&spec.name, format!("{}: {}", spec.name, spec.title))
        .facts(found.facts());
    for paragraph in spec.description.trim().split("\n\n") {
        report = report.text(paragraph.replace('\n', " "));
    }
    for plot in &spec.plots {
        report = match plots::picture(&found.folder, spec, plot) {
            Ok(svg) => report.figure(Figure {
                title: plot.title.clone(),
                svg,
                caption: plot.caption.clone(),
            }),
            // What was measured is worth reading without the picture of it.
            Err(error) => report.text(format!("{} could not be drawn: {error}", plot.file)),
        };
    }
    if let Some(table) = results::table(found)? {
        report = report.results(table);
    }
    report = report.details(format!("{}: specification", spec.name), &spec.text);
    for (name, text) in &found.resolved {
        report = report.details(format!("{}: {name}, as resolved", spec.name), text);
    }
    Ok(report)
}
