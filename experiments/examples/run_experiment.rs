//! Runs experiments by name or file and prints their JSON; with `--out DIR` it also writes their files.
//!
//! `cargo run --release -p conductor-experiments --example run_experiment -- NAME… [--out DIR]`

use conductor_experiments::{ExperimentError, RunOptions, Spec, run, write_results};
use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut out = None;
    let mut names = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        if argument == "--out" {
            out = arguments.next().map(PathBuf::from);
        } else {
            names.push(argument);
        }
    }
    for name in names {
        let report = match experiment(&name) {
            Ok(report) => report,
            Err(error) => {
                eprintln!("error: {error}");
                return ExitCode::from(if error.is_input() { 2 } else { 1 });
            }
        };
        if let Some(dir) = &out
            && let Err(error) = write_results(dir, &report)
        {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
        println!(
            "{}",
            serde_json::to_string_pretty(&report).expect("plain data")
        );
    }
    ExitCode::SUCCESS
}

fn experiment(name: &str) -> Result<conductor_experiments::ExperimentReport, ExperimentError> {
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let progress = |progress| eprintln!("{progress:?}");
    let options = RunOptions {
        jobs,
        progress: Some(&progress),
        ..RunOptions::default()
    };
    run(&Spec::load(name)?, &options)
}
