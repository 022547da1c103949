//! A prompt's KV on its way to its decode node, layer by layer as they are computed.
//!
//! A block goes when its tokens are complete, not with every chunk that touches it, so each (block, layer) goes once.
//! The word behind all of them says which landing it was and what the answer's first token is: all that the decode node
//! needs to go on.

use super::compute::Progress;
use super::peers::Peers;
use conductor_core::ids::{NodeId, Ticket};
use conductor_engine::kv::BlockId;
use conductor_messenger::{Care, Grant, Stream};
use tokio::sync::watch;

/// What is to be sent.
pub(super) struct Sending {
    pub(super) ticket: Ticket,
    pub(super) to: NodeId,
    pub(super) epoch: u64,
    pub(super) blocks: Vec<BlockId>,
    /// Blocks that are complete before anything is computed.
    pub(super) complete: usize,
    /// How many blocks are complete after each chunk.
    pub(super) chunks: Vec<usize>,
    pub(super) progress: watch::Receiver<Progress>,
}

/// How it ended, if not with all KV there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unsent {
    /// It was not wanted any more.
    Ended,
    /// It could not be done.
    Failed(String),
}

/// Sends it. When this returns nothing reads the blocks any more.
pub(super) async fn send(peers: &Peers, mut sending: Sending) -> Result<(), Unsent> {
    let mut wanted = sending.progress.clone();
    let way = tokio::select! {
        way = peers.way(sending.to, sending.epoch, sending.ticket, sending.blocks.len()) => way,
        _ = wanted.wait_for(|progress| progress.ended) => return Err(Unsent::Ended),
    };
    let (landing, link) = way.map_err(Unsent::Failed)?;
    let grant = landing.grant.as_slice().try_into().ok();
    let grant = grant.and_then(Grant::of_bytes);
    let grant = grant.ok_or_else(|| Unsent::Failed("a landing without a grant".into()))?;
    let pairs: Vec<(u32, u32)> = sending
        .blocks
        .iter()
        .map(|block| block.0)
        .zip(landing.blocks)
        .collect();
    let mut stream = Stream::new(link, &peers.region, grant, Care::default());
    let sent = push_all(peers, &mut sending, &mut stream, &pairs).await;
    match sent {
        Ok(Some(first)) => {
            let word = u64::from(landing.landing) << 32 | u64::from(first);
            match stream.finish(word).await {
                Ok(_) => Ok(()),
                Err(error) => {
                    peers.forget_link(&landing.transfer);
                    Err(Unsent::Failed(error.to_string()))
                }
            }
        }
        Ok(None) => {
            // What is under way still reads the blocks.
            let _ended = stream.flush().await;
            Err(Unsent::Ended)
        }
        Err(why) => {
            peers.forget_link(&landing.transfer);
            Err(Unsent::Failed(why))
        }
    }
}

/// Pushes every layer of every block; gives back the first token, or none if nothing is wanted any more.
async fn push_all(
    peers: &Peers,
    sending: &mut Sending,
    stream: &mut Stream,
    pairs: &[(u32, u32)],
) -> Result<Option<u32>, String> {
    let layout = peers.layout();
    let layers = layout.layers as usize;
    let failed = |error: conductor_messenger::Error| error.to_string();
    let mut from = sending.complete.min(pairs.len());
    for layer in 0..layout.layers {
        let blocks = &pairs[..from];
        stream
            .push_layer((layout, layout), layer, blocks)
            .await
            .map_err(failed)?;
    }
    for (chunk, &to) in sending.chunks.iter().enumerate() {
        let blocks = &pairs[from..to.clamp(from, pairs.len())];
        for layer in 0..layers {
            let done = chunk * layers + layer + 1;
            let wait = sending
                .progress
                .wait_for(|progress| progress.ended || progress.layers >= done);
            // The sender is gone if the node has given the prompt up.
            if wait.await.map_or(true, |progress| progress.ended) {
                return Ok(None);
            }
            stream
                .push_layer((layout, layout), layer as u32, blocks)
                .await
                .map_err(failed)?;
        }
        from = to.clamp(from, pairs.len());
    }
    let wait = sending
        .progress
        .wait_for(|progress| progress.ended || progress.first.is_some());
    match wait.await {
        Ok(progress) if !progress.ended => Ok(progress.first),
        _ => Ok(None),
    }
}
