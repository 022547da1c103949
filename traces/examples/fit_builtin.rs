//! Writes the built-in workloads that are fitted to a real trace anew. Needs the traces: see `fetch.sh`.

use conductor_core::units::Tokens;
use conductor_traces::formats::{ReadOptions, locate, read_all};
use conductor_traces::generate::fit;
use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let trace = locate("conversation", root)
        .ok_or("the conversation trace is absent: run traces/fetch.sh")?;
    let workload = fit(
        "kimi-conversation",
        read_all(trace, &ReadOptions::default())?,
        Tokens(512),
    )?;
    std::fs::write(
        root.join("workloads/kimi-conversation.toml"),
        workload.to_toml(),
    )?;
    Ok(())
}
