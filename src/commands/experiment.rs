//! `conductor experiment …`: published and simulated, side by side.

mod account;
mod plot;
mod report;
mod run;
mod table;

pub(crate) use plot::results_folders;

use crate::args::ExperimentCommand;
use crate::failure::Failure;
use crate::render;
use conductor_experiments::{ExperimentError, list};

pub(crate) fn run(command: &ExperimentCommand) -> Result<(), Failure> {
    match command {
        ExperimentCommand::List => {
            let rows = list().into_iter().map(|info| {
                let heavy = if info.heavy { "heavy" } else { "" };
                vec![
                    info.name,
                    info.source,
                    info.runs.to_string(),
                    heavy.to_string(),
                    info.title,
                ]
            });
            Ok(render::print(render::text_table(
                &["name", "source", "runs", "takes", "what"],
                rows,
            ))?)
        }
        ExperimentCommand::Run(args) => run::run(args),
        ExperimentCommand::Plot(args) => plot::plot(args),
        ExperimentCommand::Report(args) => report::report(args),
    }
}

fn failure(error: ExperimentError) -> Failure {
    match error.is_input() {
        true => Failure::input(error),
        false => Failure::Run(error.to_string()),
    }
}
