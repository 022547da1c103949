//! `conductor experiment …`: published and simulated, side by side.

use crate::args::{ExperimentCommand, ExperimentPlotArgs, ExperimentRunArgs};
use crate::commands::replay::processors;
use crate::failure::Failure;
use crate::{output, plots, progress, render};
use conductor_experiments::{
    ExperimentError, ExperimentReport, Progress, RunOptions, Spec, Stage, list, run as run_spec,
    write_results,
};
use serde_json::json;
use std::path::{Path, PathBuf};

pub(crate) fn run(command: &ExperimentCommand) -> Result<(), Failure> {
    match command {
        ExperimentCommand::List => {
            let rows = list()
                .into_iter()
                .map(|info| vec![info.name, info.source, info.runs.to_string(), info.title]);
            Ok(render::print(render::text_table(
                &["name", "source", "runs", "what"],
                rows,
            ))?)
        }
        ExperimentCommand::Run(args) => run_some(args),
        ExperimentCommand::Plot(args) => plot(args),
    }
}

fn run_some(args: &ExperimentRunArgs) -> Result<(), Failure> {
    let names = match args.all {
        true => list().into_iter().map(|info| info.name).collect(),
        false => args.names.clone(),
    };
    // All specifications are read before the first run: a wrong one costs nothing.
    let specs = names
        .iter()
        .map(|name| Spec::load(name))
        .collect::<Result<Vec<_>, _>>()
        .map_err(failure)?;
    output::prepare(args.out.as_deref())?;
    let (mut reports, mut undrawn) = (Vec::new(), None);
    for (name, spec) in names.iter().zip(&specs) {
        let report = run_one(name, spec, args.jobs.map_or_else(processors, usize::from))?;
        if let Some(folder) = &args.out {
            let written =
                write_results(folder, &report).map_err(|error| Failure::Run(error.to_string()))?;
            eprintln!("conductor: {} is in {}", report.name, written.display());
            // What was measured is worth more than a picture of it: the other experiments run all the same.
            if let Err(error) = plots::draw(&written, spec) {
                match undrawn {
                    None => undrawn = Some(error),
                    Some(_) => eprintln!("conductor: {}: {error}", report.name),
                }
            }
        }
        if !args.json {
            render::print(table(&report))?;
        }
        reports.push(report);
    }
    if args.json {
        render::print_json(&json!({ "experiments": reports }))?;
    }
    undrawn.map_or(Ok(()), Err)
}

/// Draws the plots of one results folder, or of all below a folder.
fn plot(args: &ExperimentPlotArgs) -> Result<(), Failure> {
    let mut drawn = Vec::new();
    for folder in results(&args.folder)? {
        let own = folder.join("spec.toml").display().to_string();
        let spec = Spec::load(args.spec.as_ref().unwrap_or(&own)).map_err(failure)?;
        if spec.plots.is_empty() {
            let folder = folder.display();
            eprintln!(
                "conductor: {folder}: the experiment {} has no plots",
                spec.name
            );
        }
        drawn.extend(plots::draw(&folder, &spec)?);
    }
    let drawn = drawn.iter().map(|path| path.display().to_string());
    Ok(render::print(drawn.collect::<Vec<_>>().join("\n"))?)
}

/// The folder, if it is one of results; else those in it, in order.
fn results(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let has_spec = |folder: &Path| folder.join("spec.toml").is_file();
    if has_spec(folder) {
        return Ok(vec![folder.to_path_buf()]);
    }
    let expected = |why: String| {
        let folder = folder.display();
        Failure::Input(format!(
            "{folder}: expected a results folder, with a spec.toml{why}"
        ))
    };
    let entries = folder
        .read_dir()
        .map_err(|error| expected(format!(": {error}")))?;
    let entries = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut found: Vec<_> = entries.filter(|folder| has_spec(folder)).collect();
    found.sort();
    if found.is_empty() {
        return Err(expected(", or a folder of such".to_string()));
    }
    Ok(found)
}

fn run_one(name: &str, spec: &Spec, jobs: usize) -> Result<ExperimentReport, Failure> {
    let bar = progress::runs(0, name);
    let advance = |progress: Progress| {
        bar.set_prefix(match progress.stage {
            Stage::Fit => format!("{name}: fit"),
            Stage::Runs => name.to_string(),
        });
        bar.set_length(progress.total as u64);
        bar.set_position(progress.done as u64);
    };
    let options = RunOptions {
        jobs,
        root: Path::new(".").into(),
        progress: Some(&advance),
    };
    let report = run_spec(spec, &options);
    bar.finish_and_clear();
    report.map_err(failure)
}

fn failure(error: ExperimentError) -> Failure {
    match error.is_input() {
        true => Failure::input(error),
        false => Failure::Run(error.to_string()),
    }
}

/// Points and checks of one experiment.
fn table(report: &ExperimentReport) -> String {
    let number =
        |value: Option<f64>| value.map_or_else(|| "-".to_string(), |value| format!("{value:.3}"));
    let interval = |value: f64, half: Option<f64>| {
        half.map_or_else(
            || format!("{value:.3}"),
            |half| format!("{value:.3} ± {half:.3}"),
        )
    };
    let points = report.points.iter().map(|point| {
        let error = point
            .published
            .map(|published| format!("{:+.1} %", (point.simulated / published - 1.0) * 100.0));
        vec![
            point.series.clone(),
            point.x.to_string().trim_matches('"').to_string(),
            number(point.published),
            interval(point.simulated, point.ci95),
            error.unwrap_or_else(|| "-".to_string()),
            point.unit.clone(),
        ]
    });
    let points = render::table(
        &["series", "x", "published", "simulated", "error", "unit"],
        points,
    );
    let checks = report.checks.iter().map(|check| {
        vec![
            check.id.clone(),
            check.what.clone(),
            number(check.published),
            check
                .simulated
                .map_or_else(|| "-".to_string(), |value| interval(value, check.ci95)),
            check.required.clone(),
            if check.holds { "yes" } else { "NO" }.to_string(),
        ]
    });
    let checks = render::text_table(
        &[
            "check",
            "what",
            "published",
            "simulated",
            "expected",
            "holds",
        ],
        checks,
    );
    format!(
        "{} ({})\n{points}\n\n{checks}\n",
        report.name, report.source
    )
}
