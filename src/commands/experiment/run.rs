//! `conductor experiment run`: the runs, their files, and what is printed.
//!
//! Not here: the account of what was done, cached and failed ([`Account`]).

use super::account::Account;
use super::failure;
use super::table::table;
use crate::args::ExperimentRunArgs;
use crate::commands::replay::processors;
use crate::failure::Failure;
use crate::{output, plots, progress, render, report as page};
use conductor_experiments::{
    Ended, ExperimentReport, Progress, RunOptions, Spec, list, run_all, write_results,
};
use serde_json::json;
use std::path::Path;

/// Where runs are kept, below the folder of the results.
const RUNS: &str = ".runs";

pub(super) fn run(args: &ExperimentRunArgs) -> Result<(), Failure> {
    let names = chosen(args);
    // All specifications are read before the first run: a wrong one costs nothing.
    let specs = names
        .iter()
        .map(|name| Spec::load(name))
        .collect::<Result<Vec<_>, _>>()
        .map_err(failure)?;
    args.formats.check()?;
    output::prepare(args.out.as_deref())?;
    let jobs = args.jobs.map_or_else(processors, usize::from);
    let mut account = Account::new(jobs);
    let bar = progress::runs(0, "experiments");
    let advance = |progress: Progress| {
        bar.set_length(progress.total as u64);
        bar.set_position(progress.done as u64);
    };
    let options = RunOptions {
        jobs,
        root: Path::new(".").into(),
        runs: args.out.as_ref().map(|folder| folder.join(RUNS)),
        fresh: args.fresh,
        shard: args.shard,
        progress: Some(&advance),
    };
    let mut reports = Vec::new();
    let all = run_all(&specs, &options, |ended| {
        let Ended {
            place,
            report,
            meter,
        } = ended;
        let report = report.map_err(failure).and_then(|report| match report {
            Some(report) if args.shard.is_none() => bar
                .suspend(|| shown(args, &specs[place], &report))
                .map(|()| Some(report)),
            _ => Ok(None),
        });
        account.add(&specs[place].name, meter, report.as_ref().err());
        reports.extend(report.ok().flatten());
    });
    bar.finish_and_clear();
    all.map_err(|error| Failure::Run(error.to_string()))?;
    if args.json && args.shard.is_none() {
        render::print_json(&account.json(json!({ "experiments": reports })))?;
    }
    // Last, so that what else lies in the folder cannot take away what was printed.
    let written = match args.out.as_deref().filter(|_| !reports.is_empty()) {
        Some(folder) => account
            .write(folder)
            .and_then(|()| page::write(folder).map(Some)),
        None => Ok(None),
    };
    if let Ok(Some(path)) = &written {
        eprintln!("conductor: the report is {}", path.display());
    }
    account.close()?;
    written.map(drop)
}

/// The experiments that were asked for.
fn chosen(args: &ExperimentRunArgs) -> Vec<String> {
    if !args.all {
        return args.names.clone();
    }
    let (heavy, light): (Vec<_>, Vec<_>) = list().into_iter().partition(|info| info.heavy);
    let names = |infos: Vec<conductor_experiments::SpecInfo>| infos.into_iter().map(|i| i.name);
    let light = names(light);
    if args.heavy {
        return light.chain(names(heavy)).collect();
    }
    if !heavy.is_empty() {
        let heavy: Vec<_> = names(heavy).collect();
        let heavy = heavy.join(", ");
        eprintln!("conductor: left out, as they take long (--heavy runs them too): {heavy}");
    }
    light.collect()
}

/// Writes and prints what an experiment found.
fn shown(args: &ExperimentRunArgs, spec: &Spec, report: &ExperimentReport) -> Result<(), Failure> {
    let mut undrawn = Ok(());
    if let Some(folder) = &args.out {
        let written =
            write_results(folder, report).map_err(|error| Failure::Run(error.to_string()))?;
        page::keep(&written, report)?;
        eprintln!("conductor: {} is in {}", report.name, written.display());
        // What was measured is worth more than a picture of it.
        undrawn = plots::draw(&written, spec).map(drop);
        args.formats.write(&written)?;
    }
    if !args.json {
        render::print(table(report))?;
    }
    undrawn
}
