//! `conductord calibrate`: see [`conductor_runtime::measure`].

use super::{Failure, runtime};
use clap::Args;
use conductor_runtime::files;
use conductor_runtime::measure::{self, Plan};
use conductor_runtime::node::{self, NodeConfig, NodeError};
use std::path::PathBuf;

/// Times the engine of a node's configuration and writes the data that `conductor calibrate` fits.
///
/// Nothing else of the node is started. Run it on the machine, and beside the load, that the profile shall describe.
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
    let mut engine = {
        // Some engines start threads that want a runtime.
        let runtime = runtime()?;
        let _entered = runtime.enter();
        let parts = node::NodeParts::read(&config).map_err(NodeError::from)?;
        node::engine_of(&config, &parts)?
    };
    let plan = Plan::up_to(args.longest, args.batch, args.rounds);
    let mut said = 0;
    let rows = measure::run(&mut *engine, &plan, |done, all| {
        let percent = done * 100 / all;
        if percent >= said + 10 {
            said = percent;
            eprintln!("{percent} %");
        }
    });
    let rows = rows.map_err(|error| Failure::Run(error.to_string()))?;
    let head = format!(
        "# engine: conductor-engine {}, {}\n# source: conductord calibrate, {} rounds, on {}\n",
        env!("CARGO_PKG_VERSION"),
        config.engine.name(),
        args.rounds,
        processor()
    );
    std::fs::write(&args.output, head + &rows)
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
