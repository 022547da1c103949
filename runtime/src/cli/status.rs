//! `conductord status`: how the nodes of a gateway's file stand, by their own word.

use super::{Failure, runtime};
use clap::Args;
use conductor_runtime::daemon::GatewayParts;
use conductor_runtime::node::NodeStatus;
use std::io::Write;
use std::path::PathBuf;

/// Asks every node of a gateway's list, whether the gateway runs or not.
///
/// A line each; exit code 1 if one does not answer. A node without work holds no block but those of its cache.
#[derive(Args)]
pub(crate) struct StatusArgs {
    /// The gateway's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

pub(crate) fn run(args: &StatusArgs) -> Result<(), Failure> {
    let parts = GatewayParts::read(&args.config)?;
    let standings = runtime()?.block_on(parts.standings())?;
    let mut out = std::io::stdout().lock();
    let mut silent = 0;
    for (node, standing) in &standings {
        match standing {
            Ok(status) => writeln!(out, "{node}: {}", line(status))?,
            Err(error) => {
                silent += 1;
                writeln!(out, "{node}: does not answer: {error}")?;
            }
        }
    }
    match silent {
        0 => Ok(()),
        _ => Err(Failure::Run(format!(
            "{silent} of {} nodes do not answer",
            standings.len()
        ))),
    }
}

fn line(status: &NodeStatus) -> String {
    let work = match (status.idle, status.computing) {
        (true, _) => "idle",
        (false, true) => "computing",
        (false, false) => "waiting",
    };
    let session = match status.in_session {
        true => "with a gateway",
        false => "without a gateway",
    };
    format!(
        "{work}, {session}, {} blocks cached, {} for requests ({} tables); {} prompts sent, {} unsent, {} blocks \
         fetched, {} attempts failed",
        status.blocks_cached,
        status.blocks_used.saturating_sub(status.blocks_cached),
        status.tables_held,
        status.sent,
        status.unsent,
        status.fetched,
        status.failed
    )
}
