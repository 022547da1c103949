//! `conductord indexer`: see [`conductor_runtime::indexer`].

use super::gateway::{say_ready, shutdown};
use super::{Failure, runtime};
use clap::Args;
use conductor_runtime::indexer::{self, IndexerConfig};
use std::net::SocketAddr;
use tokio::net::TcpListener;

/// Serves Mooncake's indexer interface (/register, /unregister, /query, /query_by_hash), /health and /metrics.
///
/// Prints `ready http://ADDRESS` when it listens; ends with SIGINT or SIGTERM.
#[derive(Args)]
pub(crate) struct IndexerArgs {
    /// Where routers come
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:13333")]
    listen: SocketAddr,
    /// Publishers that may be registered
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=16_383))]
    publishers_max: u16,
    /// Seed of the rolling hashes that /query_by_hash is asked with
    #[arg(long, value_name = "N", default_value_t = 1337)]
    hash_seed: u64,
}

pub(crate) fn run(args: &IndexerArgs) -> Result<(), Failure> {
    let config = IndexerConfig {
        publishers_max: args.publishers_max,
        seed: args.hash_seed,
        ..IndexerConfig::default()
    };
    let runtime = runtime()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(args.listen).await;
        let failed = |why| Failure::Run(format!("listen {}: {why}", args.listen));
        let listener = listener.map_err(failed)?;
        say_ready(&format!("http://{}", listener.local_addr()?));
        indexer::serve(config, listener, shutdown(false)).await;
        Ok(())
    })
}
