//! `conductord gateway` and `conductord node`: run until SIGTERM or SIGINT.

use super::{Failure, runtime};
use clap::Args;
use conductor_runtime::daemon::{self, DaemonError, GatewayParts};
use conductor_runtime::files;
use conductor_runtime::node::{self, NodeConfig, NodeError};
use std::io::Write;
use std::path::PathBuf;
use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};

/// A process with a configuration file.
#[derive(Args)]
pub(crate) struct DaemonArgs {
    /// Its configuration
    #[arg(long, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// End when standard input does: whoever started it has gone
    #[arg(long, hide = true)]
    pub(crate) with_parent: bool,
}

/// Until a signal says that it is enough, or the parent has gone.
pub(crate) async fn shutdown(with_parent: bool) {
    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    );
    let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
        return std::future::pending().await;
    };
    let parent = async {
        match with_parent {
            true => {
                let mut input = tokio::io::stdin();
                let mut bytes = [0; 64];
                while input.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
            }
            false => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        () = parent => {}
    }
}

impl From<DaemonError> for Failure {
    fn from(error: DaemonError) -> Self {
        match error.is_input() {
            true => Self::Input(error.to_string()),
            false => Self::Run(error.to_string()),
        }
    }
}

impl From<NodeError> for Failure {
    fn from(error: NodeError) -> Self {
        match error {
            NodeError::Parts(_) | NodeError::Config { .. } => Self::Input(error.to_string()),
            error => Self::Run(error.to_string()),
        }
    }
}

pub(crate) fn run(args: &DaemonArgs) -> Result<(), Failure> {
    let parts = GatewayParts::read(&args.config)?;
    let ready = |address| say_ready(&format!("http://{address}"));
    let runtime = runtime()?;
    let done = runtime.block_on(daemon::run(parts, ready, shutdown(args.with_parent)));
    // Reading standard input cannot be ended: the process does.
    runtime.shutdown_background();
    Ok(done?)
}

/// The one line on stdout that a script waits for.
pub(crate) fn say_ready(address: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "ready {address}").and_then(|()| out.flush());
}

pub(crate) fn node(args: &DaemonArgs) -> Result<(), Failure> {
    let config: NodeConfig =
        files::parse(&args.config).map_err(|error| Failure::Input(error.to_string()))?;
    let parts = node::NodeParts::read(&config).map_err(NodeError::from)?;
    let runtime = runtime()?;
    let with_parent = args.with_parent;
    let done = runtime.block_on(async {
        let running = node::start(config, parts).await?;
        say_ready(&running.address().to_string());
        node::until(running, shutdown(with_parent)).await
    });
    runtime.shutdown_background();
    Ok(done?)
}
