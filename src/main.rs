//! `conductor`, the lab's command line: parse, call, print.
//!
//! Results go to stdout, progress and warnings to stderr. Exit codes: 0 done, 1 the run failed, 2 usage or bad
//! input, 3 divergence, 4 a broken invariant.

mod args;
mod commands;
mod failure;
mod figures;
mod formats;
mod output;
mod plots;
mod progress;
mod render;
mod report;

use args::{Args, Command};
use clap::{CommandFactory, Parser};
use failure::Failure;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            // Help and version are answers, everything else is bad usage: clap exits with 0 and 2.
            let code = if error.use_stderr() { 2 } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    // An assertion that fails is a bug of this program, not of its user: say so, with its own exit code.
    let outcome = std::panic::catch_unwind(|| dispatch(args.command));
    match outcome {
        Ok(Ok(()) | Err(Failure::Closed)) => ExitCode::SUCCESS,
        Ok(Err(failure)) => {
            eprintln!("conductor: {failure}");
            ExitCode::from(failure.code())
        }
        Err(_) => {
            eprintln!(
                "conductor: a broken invariant: this is a bug; run again with --journal FILE and report it"
            );
            ExitCode::from(4)
        }
    }
}

fn dispatch(command: Command) -> Result<(), Failure> {
    match command {
        Command::Replay(args) => commands::replay::replay(&args),
        Command::Compare(args) => commands::replay::compare(&args),
        Command::Trace(command) => commands::trace::run(&command),
        Command::Cost(args) => commands::cost::run(&args),
        Command::Capacity(args) => commands::capacity::run(&args),
        Command::Tune(args) => commands::tune::run(&args),
        Command::Calibrate(args) => commands::calibrate::run(&args),
        Command::Experiment(command) => commands::experiment::run(&command),
        Command::Audit(args) => commands::audit::run(&args),
        Command::Completions { shell } => {
            // Into memory first: writing to a pipe that was closed would panic inside.
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "conductor", &mut script);
            Ok(render::print(String::from_utf8_lossy(&script).trim_end())?)
        }
    }
}
