//! `conductor experiment run`: the runs, their files, and what is printed.

use super::failure;
use super::table::table;
use crate::args::ExperimentRunArgs;
use crate::commands::replay::processors;
use crate::failure::Failure;
use crate::{output, plots, progress, render, report as page};
use conductor_experiments::{
    ExperimentReport, Progress, RunOptions, Spec, Stage, list, run as run_spec, write_results,
};
use serde_json::json;
use std::path::Path;

pub(super) fn run(args: &ExperimentRunArgs) -> Result<(), Failure> {
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
    args.formats.check()?;
    output::prepare(args.out.as_deref())?;
    let (mut reports, mut undrawn) = (Vec::new(), None);
    for (name, spec) in names.iter().zip(&specs) {
        let report = run_one(name, spec, args.jobs.map_or_else(processors, usize::from))?;
        if let Some(folder) = &args.out {
            let written =
                write_results(folder, &report).map_err(|error| Failure::Run(error.to_string()))?;
            page::keep(&written, &report)?;
            eprintln!("conductor: {} is in {}", report.name, written.display());
            // What was measured is worth more than a picture of it: the other experiments run all the same.
            if let Err(error) = plots::draw(&written, spec) {
                match undrawn {
                    None => undrawn = Some(error),
                    Some(_) => eprintln!("conductor: {}: {error}", report.name),
                }
            }
            args.formats.write(&written)?;
        }
        if !args.json {
            render::print(table(&report))?;
        }
        reports.push(report);
    }
    if args.json {
        render::print_json(&json!({ "experiments": reports }))?;
    }
    // Last, so that what else lies in the folder cannot take away what was printed.
    if let Some(folder) = &args.out {
        let path = page::write(folder)?;
        eprintln!("conductor: the report is {}", path.display());
    }
    undrawn.map_or(Ok(()), Err)
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
