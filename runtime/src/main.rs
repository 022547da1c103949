//! `conductord`, the daemon's command line: parse, call, print.
//!
//! Results go to stdout, progress and warnings to stderr. Exit codes: 0 done, 1 it failed, 2 usage or bad input.

mod cli;

use clap::Parser;
use cli::{Args, Command};
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
    let outcome = match args.command {
        Command::Gateway(args) => cli::gateway::run(&args),
        Command::Node(args) => cli::gateway::node(&args),
        Command::Local(args) => cli::local::run(&args),
        Command::Calibrate(args) => cli::calibrate::run(&args),
        Command::Check(args) => cli::check::run(&args),
        Command::Status(args) => cli::status::run(&args),
        Command::Indexer(args) => cli::indexer::run(&args),
        Command::RecordEvents(args) => cli::record::run(&args),
        Command::Load(args) => cli::load::run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("conductord: {failure}");
            ExitCode::from(failure.code())
        }
    }
}
