//! `conductord calibrate`: see [`conductor_runtime::measure`].

use super::{Failure, runtime};
use clap::Args;
use conductor_runtime::files;
use conductor_runtime::measure::beside::Beside;
use conductor_runtime::measure::{self, HEADER, Plan, moves};
use conductor_runtime::node::{self, NodeConfig, NodeError};
use std::path::PathBuf;

/// Times the engine of a node's configuration, and KV between two such nodes, and writes the data that `conductor
/// calibrate` fits.
///
/// Nothing else of the node is started. Run it on the machine that the profile shall describe; if several nodes share
/// that machine, tell how many others compute there with --beside.
///
/// Example: conductord calibrate --config node.toml -o engine.csv && conductor calibrate engine.csv -o PROFILE.toml
#[derive(Args)]
pub(crate) struct CalibrateArgs {
    /// A node's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Longest sequence, in tokens
    #[arg(long, value_name = "N", default_value_t = 2048)]
    longest: u32,
    /// Most sequences of a decode step
    #[arg(long, value_name = "N", default_value_t = 16)]
    batch: u32,
    /// How often each setting is timed
    #[arg(long, value_name = "N", default_value_t = 5)]
    rounds: u32,
    /// Keep as many other engines like it busy meanwhile
    #[arg(long, value_name = "N", default_value_t = 0)]
    beside: usize,
    /// The data to write
    #[arg(short, long, value_name = "DATA.csv")]
    output: PathBuf,
}

pub(crate) fn run(args: &CalibrateArgs) -> Result<(), Failure> {
    if args.longest < 32 || args.batch == 0 || args.rounds == 0 {
        return Err(Failure::Input(
            "expected --longest of at least 32, --batch and --rounds of at least 1".into(),
        ));
    }
    let config: NodeConfig =
        files::parse(&args.config).map_err(|error| Failure::Input(error.to_string()))?;
    // Some engines start threads that want a runtime.
    let runtime = runtime()?;
    let _entered = runtime.enter();
    let parts = node::NodeParts::read(&config).map_err(NodeError::from)?;
    let mut engine = node::engine_of(&config, &parts)?;
    let others = (0..args.beside).map(|_| node::engine_of(&config, &parts));
    let others = others.collect::<Result<Vec<_>, _>>()?;
    let plan = Plan::up_to(args.longest, args.batch, args.rounds);
    let beside = Beside::start(others, &plan)?;
    let mut said = 0;
    let rows = measure::run(&mut *engine, &plan, |done, all| {
        let percent = done * 100 / all;
        if percent >= said + 10 {
            said = percent;
            eprintln!("{percent} %");
        }
    });
    let moves = runtime.block_on(moves::run(&config.transfer, args.rounds));
    let moves = moves.map_err(Failure::Run)?;
    let beside = beside.end();
    beside.map_err(|error| Failure::Run(format!("an engine beside: {error}")))?;
    let rows = rows.map_err(|error| Failure::Run(error.to_string()))?;
    let head = format!(
        "# gpu: none, {}\n# model: {}\n# engine: conductor-engine {}\n# source: conductord calibrate, {} rounds, {} \
         engines beside\n",
        processor(),
        config.engine.name(),
        env!("CARGO_PKG_VERSION"),
        args.rounds,
        args.beside,
    );
    std::fs::write(&args.output, head + HEADER + &rows + &moves)
        .map_err(|error| Failure::Run(format!("{}: {error}", args.output.display())))
}

/// What computes, for the data's source.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let name = name
        .and_then(|rest| rest.split_once(':'))
        .map(|(_, name)| name.trim());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    format!("{} ({cores} cores)", name.unwrap_or("an unknown processor"))
}
