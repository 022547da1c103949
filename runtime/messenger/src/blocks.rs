//! Blocks by hash from a peer: prefix fetch, and with it the replication of hot blocks.
//!
//! **The reader pulls.** It asks the owner for a chain of hashes; the owner pins the longest prefix of it that it has
//! and says where it is; the reader reads one-sided and gives the pin back. Replication is the same, started at the
//! node that is to have the copy: only that node knows where it has room, so a push would need a further round trip
//! to ask for it. (From prefill to decode it is the other way round, because there the *sender* knows when a layer is
//! ready: `stream.rs`.)
//!
//! **A reader that dies** leaves a pin, which ends by itself after [`Lender::lease`](Lender::new). To give a pin back
//! is to ask whether it held so long; if not, what was read is thrown away. So a slow reader is an error, never wrong
//! bytes.

mod message;

use crate::convoy::{Care, Convoy};
use crate::error::Error;
use crate::op::{Grant, Op};
use crate::region::{Region, Span};
use crate::transport::{Handler, Link};
use conductor_core::ids::{BlockHash, NodeId};
pub use message::{Ask, HASHES_MAX, Tell};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Bytes of one read: large enough that its costs do not count, small enough that several are under way.
const READ_BYTES: u64 = 4 << 20;

/// The catalogue of a node's blocks, as far as peers are concerned.
pub trait Blocks: Send + Sync {
    /// Pins the longest prefix of `hashes` that is here and complete, and says where each block is. A pinned block is
    /// neither evicted nor changed. Blocks may be pinned several times.
    fn pin(&self, hashes: &[BlockHash]) -> Vec<Span>;

    /// Takes one pin off each of these blocks.
    fn unpin(&self, hashes: &[BlockHash]);
}

/// Lends blocks to peers: the [`Handler`] of a node that has some.
pub struct Lender<B> {
    blocks: B,
    lease: Duration,
    pins_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    grants: BTreeMap<NodeId, Grant>,
    pins: BTreeMap<u64, Pin>,
    last: u64,
}

struct Pin {
    node: NodeId,
    hashes: Vec<BlockHash>,
    ends: Instant,
}

impl<B: Blocks> Lender<B> {
    /// Lends from `blocks`, each chain for `lease` at most, and at most `pins_max` chains at a time.
    #[must_use]
    pub fn new(blocks: B, lease: Duration, pins_max: usize) -> Self {
        Self {
            blocks,
            lease,
            pins_max,
            state: Mutex::default(),
        }
    }

    /// The catalogue.
    #[must_use]
    pub const fn blocks(&self) -> &B {
        &self.blocks
    }

    /// Lets a node fetch; `grant` opens the pool to it, for reading.
    pub fn admit(&self, node: NodeId, grant: Grant) {
        let mut state = self.state.lock().expect("no panic inside");
        state.grants.insert(node, grant);
    }

    /// A node has left: it gets nothing more, and its pins end. Its key has to be revoked *before*, or it may go on
    /// reading.
    pub fn dismiss(&self, node: NodeId) {
        let mut state = self.state.lock().expect("no panic inside");
        state.grants.remove(&node);
        self.end(&mut state, |pin| pin.node == node);
    }

    /// Ends the pins whose time is over. Called at every question; an owner without questions calls it now and then.
    pub fn expire(&self) {
        let mut state = self.state.lock().expect("no panic inside");
        self.expire_in(&mut state);
    }

    /// Chains that are lent.
    #[must_use]
    pub fn pins(&self) -> usize {
        self.state.lock().expect("no panic inside").pins.len()
    }

    fn expire_in(&self, state: &mut State) {
        let now = Instant::now();
        self.end(state, |pin| pin.ends <= now);
    }

    fn end(&self, state: &mut State, over: impl Fn(&Pin) -> bool) {
        state.pins.retain(|_, pin| {
            let keep = !over(pin);
            if !keep {
                self.blocks.unpin(&pin.hashes);
            }
            keep
        });
    }

    fn pin(&self, from: NodeId, hashes: &[BlockHash]) -> Option<Tell> {
        let mut state = self.state.lock().expect("no panic inside");
        self.expire_in(&mut state);
        let grant = *state.grants.get(&from)?;
        if state.pins.len() >= self.pins_max {
            return None;
        }
        let spans = self.blocks.pin(hashes);
        let pinned = &hashes[..spans.len().min(hashes.len())];
        state.last += 1;
        let pin = state.last;
        if !pinned.is_empty() {
            let ends = Instant::now() + self.lease;
            let hashes = pinned.to_vec();
            let node = from;
            state.pins.insert(pin, Pin { node, hashes, ends });
        }
        Some(Tell::Pinned { pin, grant, spans })
    }

    fn unpin(&self, from: NodeId, pin: u64) -> Tell {
        let mut state = self.state.lock().expect("no panic inside");
        self.expire_in(&mut state);
        let his = state.pins.get(&pin).is_some_and(|pin| pin.node == from);
        if his && let Some(pin) = state.pins.remove(&pin) {
            self.blocks.unpin(&pin.hashes);
        }
        Tell::Unpinned { held: his }
    }
}

impl<B: Blocks> Handler for Lender<B> {
    fn call(&self, from: NodeId, message: &[u8]) -> Option<Vec<u8>> {
        let tell = match Ask::parse(message)? {
            Ask::Pin(hashes) => self.pin(from, &hashes)?,
            Ask::Unpin(pin) => self.unpin(from, pin),
        };
        Some(tell.to_bytes())
    }
}

/// What a fetch has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Blocks from the chain's beginning on; the rest the peer does not have.
    pub blocks: usize,
    /// Operations that had to be tried again.
    pub repeats: u64,
}

/// Reads the longest prefix of `hashes` that the peer has, block for block into `into`.
///
/// # Errors
/// If the peer does not lend, its blocks have another size, a read failed for good, or the pin ended too early.
/// Blocks in `into` may then hold anything.
pub async fn fetch(
    link: Arc<dyn Link>,
    region: &Region,
    hashes: &[BlockHash],
    into: &[Span],
    care: Care,
) -> Result<Fetched, Error> {
    let wanted = &hashes[..hashes.len().min(into.len()).min(HASHES_MAX)];
    let ask = Ask::Pin(wanted.to_vec()).to_bytes();
    let Some(Tell::Pinned { pin, grant, spans }) = Tell::parse(&link.call(ask).await?) else {
        return Err(Error::Unanswered);
    };
    if spans.is_empty() || spans.len() > wanted.len() {
        let blocks = 0;
        let repeats = 0;
        return match spans.is_empty() {
            true => Ok(Fetched { blocks, repeats }),
            false => Err(Error::Unanswered),
        };
    }
    let mut convoy = Convoy::new(link.clone(), care);
    let read = read(&mut convoy, region, grant, &spans, into).await;
    // Given back in any case: the blocks are wanted by their owner.
    let told = link.call(Ask::Unpin(pin).to_bytes()).await;
    read?;
    match Tell::parse(&told?) {
        Some(Tell::Unpinned { held: true }) => Ok(Fetched {
            blocks: spans.len(),
            repeats: convoy.repeats,
        }),
        _ => Err(Error::PinEnded),
    }
}

async fn read(
    convoy: &mut Convoy,
    region: &Region,
    grant: Grant,
    from: &[Span],
    into: &[Span],
) -> Result<(), Error> {
    let unlike = from.iter().zip(into).find(|(a, b)| a.bytes != b.bytes);
    if let Some((remote, local)) = unlike {
        return Err(Error::Lengths {
            local: local.bytes,
            remote: remote.bytes,
        });
    }
    let at_a_time = READ_BYTES / from[0].bytes.max(1);
    let at_a_time = usize::try_from(at_a_time).unwrap_or(1).max(1);
    for (from, into) in from.chunks(at_a_time).zip(into.chunks(at_a_time)) {
        let into = &into[..from.len()];
        convoy.push(Op::read(region, into, grant, from)?).await?;
    }
    convoy.finish().await
}
