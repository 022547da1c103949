//! The passive side: queue pairs of peers that have connected, and the memory that is open to them.
//!
//! A peer asks over its connection for pairs and for what a key opens. Pairs belong to the connection: when it ends,
//! however it does, they are destroyed at once, and nothing of that peer reaches this node's memory any more. Memory is
//! registered at a key's first use, with the key's window and rights and nothing else, and deregistered when the key is
//! taken back: from then on every device refuses its rkeys.
//!
//! All pairs of a device share a protection domain: a peer that guesses the 32 bits of another one's rkey may use it.
//! It
//! has proven the cluster's secret before, and the data path is for a trusted network.

use super::device::{Ended, Memory, Pair};
use super::message::{Ask, End, Opened, Tell};
use super::nics::Nics;
use super::settings::sequence;
use crate::error::Error;
use crate::keys::{Keys, Window};
use crate::net::endpoint::Endpoint;
use crate::net::session::{Session, Sessions};
use crate::op::{Key, Notice};
use crate::region::Region;
use crate::secret::random_u64;
use crate::transport::Later;
use crate::wire::Status;
use conductor_core::ids::NodeId;
use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

/// Queue pairs of one connection.
const PAIRS_MAX: usize = 64;
/// Notices that a pair takes before this node's runtime has looked at the first, if the application's queue is as long.
const RECEIVES_MAX: usize = 64;

/// What is open to peers, by key.
pub(crate) struct Guests {
    nics: Arc<Nics>,
    memory: Mutex<BTreeMap<Key, Arc<Vec<Memory>>>>,
}

impl Guests {
    pub(crate) fn new(nics: Arc<Nics>) -> Self {
        Self {
            nics,
            memory: Mutex::default(),
        }
    }

    /// Deregisters what was open by keys that are not known any more.
    pub(crate) async fn forget(&self, keys: &Keys) {
        let gone: Vec<Arc<Vec<Memory>>> = {
            let mut memory = self.memory.lock().expect("no panic inside");
            let unknown = memory.keys().filter(|&&key| !keys.knows(key));
            let unknown: Vec<Key> = unknown.copied().collect();
            unknown
                .iter()
                .filter_map(|key| memory.remove(key))
                .collect()
        };
        if !gone.is_empty() {
            // Devices may take their time; a panic would be the library's, and is not hidden.
            spawn_blocking(move || drop(gone))
                .await
                .expect("deregistered");
        }
    }

    /// The rkeys of a key's window, which is registered if it is not yet. Blocks.
    fn open(&self, key: Key, window: &Window) -> Result<Vec<u32>, Error> {
        let rkeys = |memory: &Arc<Vec<Memory>>| memory.iter().map(Memory::rkey).collect();
        if let Some(known) = self.memory.lock().expect("no panic inside").get(&key) {
            return Ok(rkeys(known));
        }
        let (region, access): (&Region, _) = (&window.region, window.access);
        let each = self.nics.devices.iter();
        let memory = each.map(|device| device.register(region, access.window, Some(access.rights)));
        let memory = Arc::new(memory.collect::<Result<Vec<_>, _>>()?);
        let mut table = self.memory.lock().expect("no panic inside");
        // Another connection may have been quicker.
        Ok(rkeys(table.entry(key).or_insert(memory)))
    }
}

/// Begins a session for each connection.
pub(crate) struct Reception(pub(crate) Arc<Guests>);

impl Sessions for Reception {
    fn begin(&self, endpoint: &Endpoint, node: NodeId) -> Box<dyn Session> {
        Box::new(Guest {
            guests: self.0.clone(),
            node,
            notices: endpoint.notices.clone(),
            receives: endpoint.options.notices_max.clamp(1, RECEIVES_MAX) as u32,
            pairs: BTreeMap::new(),
        })
    }
}

/// One connection's pairs, by their ports and numbers.
struct Guest {
    guests: Arc<Guests>,
    node: NodeId,
    notices: mpsc::Sender<Notice>,
    receives: u32,
    pairs: BTreeMap<(u8, u32), Hosted>,
}

/// A pair, until it is closed, and the task that hears its notices.
struct Hosted {
    pair: Arc<Mutex<Option<Pair>>>,
    hears: JoinHandle<()>,
}

impl Drop for Hosted {
    fn drop(&mut self) {
        // Destroyed here and now; the task would only find that out later.
        let pair = self.pair.lock().expect("no panic inside").take();
        drop(pair);
        self.hears.abort();
    }
}

impl Session for Guest {
    fn exchange<'a>(
        &'a mut self,
        endpoint: &'a Endpoint,
        message: Vec<u8>,
    ) -> Later<'a, Result<Vec<u8>, Status>> {
        Box::pin(async move {
            let ask = Ask::parse(&message).ok_or(Status::Unanswered)?;
            let tell = match ask {
                Ask::Ports => Tell::Ports(self.guests.nics.ports()),
                Ask::Pair { port, end } => Tell::Pair(self.pair(port, end).await?),
                Ask::Close { port, number } => {
                    if let Some(hosted) = self.pairs.remove(&(port, number)) {
                        // A device may take seconds for it when its wire is gone.
                        let dropped = spawn_blocking(move || drop(hosted)).await;
                        dropped.map_err(|_| Status::Failed)?;
                    }
                    Tell::Closed
                }
                Ask::Attach { key } => Tell::Window(self.attach(endpoint, Key(key)).await?),
            };
            Ok(tell.to_bytes())
        })
    }
}

impl Guest {
    async fn pair(&mut self, port: u8, other: End) -> Result<End, Status> {
        if self.pairs.len() == PAIRS_MAX {
            return Err(Status::TooMany);
        }
        let (nics, receives) = (self.guests.nics.clone(), self.receives);
        let make = move || {
            let device = nics.devices.get(usize::from(port)).ok_or(Status::Failed)?;
            let pair = device.pair(sequence(random_u64()), receives);
            let mut pair = pair.map_err(|_| Status::Failed)?;
            device
                .connect(&mut pair, &other)
                .map_err(|_| Status::Failed)?;
            Ok(pair)
        };
        let pair = spawn_blocking(make).await.map_err(|_| Status::Failed)??;
        let ready = pair.ready().map_err(|_| Status::Failed)?;
        let end = pair.end();
        let pair = Arc::new(Mutex::new(Some(pair)));
        let hear = hear(pair.clone(), ready, self.node, self.notices.clone());
        let hears = tokio::spawn(hear);
        self.pairs
            .insert((port, end.number), Hosted { pair, hears });
        Ok(end)
    }

    async fn attach(&self, endpoint: &Endpoint, key: Key) -> Result<Opened, Status> {
        let window = endpoint.keys.window(key, self.node)?;
        let opened = {
            let (guests, window) = (self.guests.clone(), window.clone());
            spawn_blocking(move || guests.open(key, &window)).await
        };
        let rkeys = opened
            .map_err(|_| Status::Failed)?
            .map_err(|_| Status::Failed)?;
        if !endpoint.keys.knows(key) {
            // Taken back meanwhile, and who did that may not have found the registration.
            self.guests.forget(&endpoint.keys).await;
            return Err(Status::UnknownKey);
        }
        Ok(Opened {
            base: window.region.base().as_ptr() as u64,
            window: window.access.window,
            rights: window.access.rights,
            rkeys,
        })
    }
}

/// Passes notices on until the pair is closed or broken. A pair gets room for the next notice when the application has
/// room for this one: who is not heard makes its peers wait.
async fn hear(
    pair: Arc<Mutex<Option<Pair>>>,
    ready: AsyncFd<OwnedFd>,
    node: NodeId,
    notices: mpsc::Sender<Notice>,
) {
    let mut seen = Vec::new();
    loop {
        let Ok(mut readable) = ready.readable().await else {
            return;
        };
        readable.clear_ready();
        {
            let pair = pair.lock().expect("no panic inside");
            let Some(pair) = pair.as_ref() else { return };
            // Armed before the queue is emptied: what completes in between wakes again.
            if pair.events().is_err() || pair.arm().is_err() {
                return;
            }
            while pair.poll(&mut seen).is_ok_and(|more| more) {}
        }
        for (_, ended) in seen.drain(..) {
            let Ended::Notice(word) = ended else {
                // The pair is broken; its owner closes it.
                return;
            };
            let immediate = u64::from(word);
            if notices.send(Notice { node, immediate }).await.is_err() {
                return;
            }
            let mut pair = pair.lock().expect("no panic inside");
            if pair.as_mut().is_none_or(|pair| pair.receive(1).is_err()) {
                return;
            }
        }
    }
}
