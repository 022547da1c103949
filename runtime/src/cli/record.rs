//! `conductord record-events`: an engine's KV events into a file, for tests. See [`conductor_events::recording`].

use super::gateway::shutdown;
use super::{Failure, runtime};
use clap::Args;
use conductor_core::units::Tokens;
use conductor_events::recording;
use conductor_events::source::{self, SourceConfig};
use conductor_events::tree::TreeConfig;
use std::path::PathBuf;
use std::time::Duration;

/// Bytes of a recording at most.
const BYTES_MAX: usize = 1 << 30;

/// Writes every message of an engine's publisher into a file: what it can replay, and what comes until the end.
///
/// Example: conductord record-events --events tcp://127.0.0.1:5557 --replay tcp://127.0.0.1:5558 -o vllm.bin
#[derive(Args)]
pub(crate) struct RecordArgs {
    /// Where it publishes
    #[arg(long, value_name = "tcp://HOST:PORT")]
    events: String,
    /// Where it can be asked for what it has published
    #[arg(long, value_name = "tcp://HOST:PORT")]
    replay: Option<String>,
    /// End after so long, or with SIGINT or SIGTERM
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
    /// The file
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
}

pub(crate) fn run(args: &RecordArgs) -> Result<(), Failure> {
    // What the messages say is of no interest here.
    let tree = TreeConfig::new("", Tokens(1));
    let config = SourceConfig::new(&args.events, args.replay.as_deref(), tree);
    let config = config.map_err(|error| Failure::Input(error.to_string()))?;
    let mut file = recording::header();
    let mut left_out = 0_u64;
    let sink = |message| match file.len() < BYTES_MAX {
        true => recording::append(&mut file, &message),
        false => left_out += 1,
    };
    let runtime = runtime()?;
    let recorded = runtime.block_on(async {
        let time = async {
            match args.seconds {
                Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
                None => std::future::pending().await,
            }
        };
        let enough = async {
            tokio::select! {
                () = time => {}
                () = shutdown(false) => {}
            }
        };
        source::record(&config, sink, enough).await
    });
    recorded.map_err(Failure::Run)?;
    std::fs::write(&args.out, &file)
        .map_err(|why| Failure::Run(format!("{}: {why}", args.out.display())))?;
    if left_out > 0 {
        eprintln!("conductord: {left_out} messages beyond 1 GiB are left out");
    }
    Ok(())
}
