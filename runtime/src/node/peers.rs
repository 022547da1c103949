//! The ways to other nodes: what is asked of them, and the messenger's links.

use super::compute::Memory;
use crate::wire::messages::{Landing, Pin, Pinned, Reserve, Unpin, Unpinned};
use crate::wire::{PeerClient, Secret, Tls, convert, endpoint};
use conductor_core::ids::{BlockHash, NodeId, Ticket};
use conductor_engine::kv::KvShape;
use conductor_messenger::{Address, Error, Layout, Link, Region, Transport};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Code, Request};

/// How long a peer may take to answer at once.
const ANSWER: Duration = Duration::from_secs(2);

/// Between two tries to reach a peer.
const AGAIN: Duration = Duration::from_millis(50);

/// What was asked of a peer is not done.
enum Undone {
    /// It was not reached, or the connection broke: that may pass.
    Unreached(String),
    /// It will not do it.
    Refused(String),
}

/// See the module; shared by all transfers of a node.
pub(super) struct Peers {
    pub(super) node: NodeId,
    pub(super) secret: Secret,
    tls: Option<Tls>,
    pub(super) transport: Arc<dyn Transport>,
    /// Where other nodes find it.
    pub(super) seen_at: String,
    pub(super) region: Region,
    pub(super) shape: KvShape,
    /// How long a reservation may wait for room.
    reserve: Duration,
    /// How long it is tried to reach a node that must be reached.
    patience: Duration,
    /// Where each node listens, as the gateway said.
    addresses: Mutex<Vec<String>>,
    channels: Mutex<BTreeMap<String, Channel>>,
    links: Mutex<BTreeMap<String, Arc<dyn Link>>>,
}

impl Peers {
    pub(super) fn new(
        node: NodeId,
        (secret, tls): (Secret, Option<Tls>),
        (transport, seen_at): (Arc<dyn Transport>, String),
        memory: &Memory,
        shape: KvShape,
        (reserve, patience): (Duration, Duration),
    ) -> Self {
        Self {
            node,
            secret,
            tls,
            transport,
            seen_at,
            region: memory.0.clone(),
            shape,
            reserve,
            patience,
            addresses: Mutex::default(),
            channels: Mutex::default(),
            links: Mutex::default(),
        }
    }

    /// Where blocks and their layers are, on every node that keeps KV as this one does.
    pub(super) fn layout(&self) -> Layout {
        Layout {
            base: 0,
            layers: self.shape.layers() as u32,
            slice_bytes: self.shape.slice_bytes() as u64,
        }
    }

    /// The gateway says where nodes are.
    pub(super) fn set_addresses(&self, addresses: Vec<String>) {
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        channels.retain(|address, _| addresses.contains(address));
        let mut known = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *known = addresses;
    }

    fn client(&self, node: NodeId) -> Result<PeerClient<Channel>, String> {
        let addresses = self
            .addresses
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let known = addresses
            .get(node.index())
            .filter(|known| !known.is_empty());
        let Some(address) = known.cloned() else {
            return Err(format!("{node} has no address"));
        };
        drop(addresses);
        let mut channels = self.channels.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = channels.get(&address) {
            return Ok(PeerClient::new(channel.clone()));
        }
        let endpoint = endpoint(&address, self.tls.as_ref());
        let endpoint = endpoint.map_err(|_| format!("node address \"{address}\""))?;
        let channel = endpoint.connect_timeout(ANSWER).connect_lazy();
        channels.insert(address, channel.clone());
        Ok(PeerClient::new(channel))
    }

    fn request<T>(&self, message: T, within: Duration) -> Request<T> {
        let mut request = self.secret.shown(message);
        request.set_timeout(within);
        request
    }

    /// Finds a way for a prompt's KV: where it shall go, once there is room, and a link to there. A broken connection
    /// is waited for.
    pub(super) async fn way(
        &self,
        to: NodeId,
        epoch: u64,
        ticket: Ticket,
        blocks: usize,
    ) -> Result<(Landing, Arc<dyn Link>), String> {
        let reserve = Reserve {
            from: u32::from(self.node.0),
            attempt: Some(convert::attempt(ticket)),
            blocks: blocks as u32,
            slice_bytes: self.shape.slice_bytes() as u64,
            layers: self.shape.layers() as u32,
            epoch,
        };
        let landing = self.patiently(|| self.reserve(to, reserve.clone()));
        let landing = landing.await?;
        let link = self.patiently(|| self.reach(&landing.transfer)).await?;
        Ok((landing, link))
    }

    async fn reserve(&self, to: NodeId, reserve: Reserve) -> Result<Landing, Undone> {
        let blocks = reserve.blocks as usize;
        let mut client = self.client(to).map_err(Undone::Refused)?;
        let request = self.request(reserve, self.reserve + ANSWER);
        let landing = match client.reserve(request).await {
            Ok(landing) => landing.into_inner(),
            Err(status) => {
                let why = format!("{to}: {}", status.message());
                return Err(match status.code() {
                    // The first before there is a connection, the others when it breaks.
                    Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled => {
                        Undone::Unreached(why)
                    }
                    _ => Undone::Refused(why),
                });
            }
        };
        match landing.refused.is_empty() && landing.blocks.len() == blocks {
            true => Ok(landing),
            false => Err(Undone::Refused(format!("{to}: {}", landing.refused))),
        }
    }

    async fn reach(&self, transfer: &str) -> Result<Arc<dyn Link>, Undone> {
        let link = self.link(transfer).await;
        link.map_err(|error| match error.is_passing() {
            true => Undone::Unreached(error.to_string()),
            false => Undone::Refused(error.to_string()),
        })
    }

    /// Tries again what a broken connection has stopped.
    async fn patiently<T, F>(&self, attempt: impl Fn() -> F) -> Result<T, String>
    where
        F: Future<Output = Result<T, Undone>>,
    {
        let until = Instant::now() + self.patience;
        loop {
            match attempt().await {
                Ok(done) => return Ok(done),
                Err(Undone::Refused(why)) => return Err(why),
                Err(Undone::Unreached(why)) if Instant::now() >= until => return Err(why),
                Err(Undone::Unreached(_)) => tokio::time::sleep(AGAIN).await,
            }
        }
    }

    /// Asks for blocks of a cache.
    pub(super) async fn pin(&self, from: NodeId, hashes: &[BlockHash]) -> Result<Pinned, String> {
        let pin = Pin {
            from: u32::from(self.node.0),
            hashes: convert::words(hashes),
        };
        let answer = self.client(from)?.pin(self.request(pin, ANSWER)).await;
        let pinned = answer.map_err(|status| format!("{from}: {}", status.message()))?;
        Ok(pinned.into_inner())
    }

    /// Gives them back; true if they stayed until now.
    pub(super) async fn unpin(&self, from: NodeId, pin: u64) -> bool {
        let unpin = Unpin {
            from: u32::from(self.node.0),
            pin,
        };
        let Ok(mut client) = self.client(from) else {
            return false;
        };
        let answer = client.unpin(self.request(unpin, ANSWER)).await;
        answer.is_ok_and(|answer| {
            let Unpinned { held } = answer.into_inner();
            held
        })
    }

    /// The messenger's link to where a peer's messenger listens.
    pub(super) async fn link(&self, address: &str) -> Result<Arc<dyn Link>, Error> {
        if let Some(link) = self.links().get(address) {
            return Ok(Arc::clone(link));
        }
        let parsed: Address = address.parse()?;
        // Two may connect at the same time: the later link stays, the other ends with its transfer.
        let link = self.transport.connect(&parsed).await?;
        self.links().insert(address.into(), Arc::clone(&link));
        Ok(link)
    }

    fn links(&self) -> MutexGuard<'_, BTreeMap<String, Arc<dyn Link>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The link has failed for good: the next one to need it opens another.
    pub(super) fn forget_link(&self, address: &str) {
        self.links().remove(address);
    }
}
