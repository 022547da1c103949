//! What a person types: the commands, their arguments, how they fail.

pub(crate) mod calibrate;
pub(crate) mod check;
pub(crate) mod gateway;
pub(crate) mod indexer;
pub(crate) mod load;
pub(crate) mod local;
pub(crate) mod record;
pub(crate) mod status;

use clap::{Parser, Subcommand};
use std::fmt;
use std::io;

/// The Conductor in front of real nodes.
#[derive(Parser)]
#[command(name = "conductord", version, about, max_term_width = 100)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Serve OpenAI's interface in front of nodes that run
    Gateway(gateway::DaemonArgs),
    /// Run a node: prefill, decode or coupled, as the cluster says
    Node(gateway::DaemonArgs),
    /// Gateway and nodes on this machine, with a built-in model: the demo
    Local(local::LocalArgs),
    /// Say what is wrong with a configuration and what hardware is found; start nothing
    Check(check::CheckArgs),
    /// Say how the nodes of a gateway stand
    Status(status::StatusArgs),
    /// Time an engine, for `conductor calibrate`
    Calibrate(calibrate::CalibrateArgs),
    /// Serve Mooncake's indexer interface over the KV events of engines
    Indexer(indexer::IndexerArgs),
    /// Write the KV events of an engine into a file, as they come
    RecordEvents(record::RecordArgs),
    /// Replay a trace as real requests against an OpenAI-compatible server
    Load(load::LoadArgs),
}

/// A failed command.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It failed: exit 1.
    Run(String),
    /// Usage or bad input: exit 2.
    Input(String),
    /// Whoever reads our output has gone: success.
    Closed,
}

impl Failure {
    pub(crate) const fn code(&self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::Run(_) => 1,
            Self::Input(_) => 2,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(message) | Self::Input(message) => f.write_str(message),
            Self::Closed => f.write_str("the output was closed"),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Run(error.to_string()),
        }
    }
}

/// The runtime of all asynchronous commands.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::from)
}
