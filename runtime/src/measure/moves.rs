//! Times how long KV takes from one node's memory to another's, by the messenger that the nodes use.
//!
//! Both ends are in this process, on this machine: over TCP that is the loopback, and what a network adds must be
//! measured on one. Sizes are those of the KV of whole prompts, since a profile knows a rate and no latency.

use conductor_core::ids::NodeId;
use conductor_messenger::{
    Access, Address, NoCalls, Notices, Op, Options, Pages, Region, Rights, Secret, Shm, Span, Tcp,
    Transport,
};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// Bytes that go as one operation: a few hundred slices of blocks.
const PIECE: u64 = 1 << 20;

/// Operations under way at once.
const UNDER_WAY: usize = 8;

/// Bytes that are timed, doubling: 4 to 64 MiB.
const SIZES: [u64; 5] = [4 << 20, 8 << 20, 16 << 20, 32 << 20, 64 << 20];

/// Rows of [`super::HEADER`].
///
/// # Errors
/// If the address is none, or a transfer fails: in one line.
pub async fn run(transfer: &str, rounds: u32) -> Result<String, String> {
    let expected =
        || format!("transfer: \"{transfer}\", expected tcp://ADDRESS:PORT or shm:///PATH");
    let address: Address = transfer.parse().map_err(|_| expected())?;
    let ((here, _a), (there, _b)) = match &address {
        Address::Tcp(address) => {
            let any = std::net::SocketAddr::new(address.ip(), 0);
            (tcp(any, 0).await?, tcp(any, 1).await?)
        }
        Address::Shm(path) => (shm(path, 0)?, shm(path, 1)?),
        _ => return Err(expected()),
    };
    let said = |error: conductor_messenger::Error| format!("transfer: {error}");
    let largest = SIZES[SIZES.len() - 1];
    let region = || {
        let region = Region::allocate(largest, Pages::default());
        region.map_err(|error| format!("transfer: memory: {error}"))
    };
    let (from, to) = (region()?, region()?);
    let access = Access {
        window: to.whole(),
        rights: Rights::BOTH,
        node: None,
    };
    let grant = there.register(&to, access).map_err(said)?;
    let link = here.connect(there.address()).await.map_err(said)?;
    let mut rows = String::new();
    // The first round warms pages and connections.
    for round in 0..=rounds {
        for bytes in SIZES {
            let (mut under_way, started) = (VecDeque::new(), Instant::now());
            for offset in (0..bytes).step_by(PIECE as usize) {
                let spans: Arc<[Span]> = [Span::new(offset, PIECE)].into();
                let op = Op::write(&from, Arc::clone(&spans), grant, spans).map_err(said)?;
                under_way.push_back(link.submit(op).await.map_err(said)?);
                if under_way.len() == UNDER_WAY
                    && let Some(first) = under_way.pop_front()
                {
                    first.await.map_err(said)?;
                }
            }
            for ticket in under_way {
                ticket.await.map_err(said)?;
            }
            if round > 0 {
                let seconds = started.elapsed().as_secs_f64();
                let _ = writeln!(rows, "transfer,,,,,,,{bytes},{seconds:.9}");
            }
        }
    }
    Ok(rows)
}

type End = (Arc<dyn Transport>, Notices);

fn options(node: u16) -> Options {
    Options::new(NodeId(node), Secret::new(b"one process has both ends"))
}

async fn tcp(any: std::net::SocketAddr, node: u16) -> Result<End, String> {
    let bound = Tcp::bind(any, options(node), Arc::new(NoCalls)).await;
    let (tcp, notices) = bound.map_err(|error| format!("transfer: {any}: {error}"))?;
    Ok((Arc::new(tcp), notices))
}

fn shm(path: &std::path::Path, node: u16) -> Result<End, String> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}-{node}", std::process::id()));
    let path = PathBuf::from(name);
    let bound = Shm::bind(&path, options(node), Arc::new(NoCalls));
    let (shm, notices) = bound.map_err(|error| format!("transfer: {}: {error}", path.display()))?;
    Ok((Arc::new(shm), notices))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_size_is_timed_in_every_round_over_both_transports() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let shm = format!("shm://{}/kv", folder.path().display());
        for transfer in ["tcp://127.0.0.1:7000", &shm] {
            let rows = run(transfer, 2).await.expect("it moves");
            assert_eq!(rows.lines().count(), 2 * SIZES.len());
            for (line, bytes) in rows.lines().zip(SIZES.iter().cycle()) {
                assert!(
                    line.starts_with(&format!("transfer,,,,,,,{bytes},0.")),
                    "{line}"
                );
            }
        }
        let error = run("udp://nowhere", 1)
            .await
            .expect_err("no such transport");
        assert!(error.contains("expected tcp://"), "{error}");
    }
}
