//! Blocks of another node's cache: pinned there, read one-sided, given back.
//!
//! A fetch that fails costs time, not correctness: the prompt is computed instead.

use super::peers::Peers;
use conductor_core::ids::{BlockHash, NodeId};
use conductor_engine::kv::BlockId;
use conductor_messenger::{Error, Grant, Link, Op, Span};
use std::sync::Arc;

/// Bytes of one read: large enough that its costs do not count.
const READ_BYTES: u64 = 4 << 20;

/// Tries of a read.
const TRIES: u32 = 2;

/// Reads the leading ones of `hashes` that `from` has into `into`; how many those are, 0 after any failure. When this
/// returns nothing writes into the blocks any more.
pub(super) async fn fetch(
    peers: &Peers,
    from: NodeId,
    hashes: &[BlockHash],
    into: &[BlockId],
) -> u32 {
    let Ok(pinned) = peers.pin(from, hashes).await else {
        return 0;
    };
    let count = pinned.blocks.len().min(into.len());
    if count == 0 {
        return 0;
    }
    let read = read(
        peers,
        &pinned.transfer,
        &pinned.grant,
        &pinned.blocks,
        &into[..count],
    );
    let read = read.await;
    let held = peers.unpin(from, pinned.pin).await;
    match (read, held) {
        (Ok(()), true) => count as u32,
        (Err(_), _) => {
            peers.forget_link(&pinned.transfer);
            0
        }
        (Ok(()), false) => 0,
    }
}

async fn read(
    peers: &Peers,
    transfer: &str,
    grant: &[u8],
    there: &[u32],
    here: &[BlockId],
) -> Result<(), Error> {
    let grant = grant.try_into().ok().and_then(Grant::of_bytes);
    let grant = grant.ok_or(Error::UnknownKey)?;
    let link = peers.link(transfer).await?;
    let layout = peers.layout();
    let at_a_time = (READ_BYTES / layout.block_bytes()).clamp(1, 1024) as usize;
    for (there, here) in there.chunks(at_a_time).zip(here.chunks(at_a_time)) {
        let remote: Vec<Span> = there.iter().map(|&block| layout.block(block)).collect();
        let local: Vec<Span> = here.iter().map(|block| layout.block(block.0)).collect();
        let op = Op::read(&peers.region, local, grant, remote)?;
        submit(&link, op).await?;
    }
    Ok(())
}

async fn submit(link: &Arc<dyn Link>, op: Op) -> Result<(), Error> {
    let mut tries = TRIES;
    loop {
        tries -= 1;
        let done = match link.submit(op.clone()).await {
            Ok(ticket) => ticket.await,
            Err(error) => Err(error),
        };
        match done {
            Err(error) if tries > 0 && error.is_passing() => {}
            done => return done,
        }
    }
}
