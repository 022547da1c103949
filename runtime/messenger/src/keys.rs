//! The keys that a node has given out: what each opens, for whom, and how it is taken back.
//!
//! A window counts who is inside of it: a task of this process for the length of one system call, a process on the same
//! machine (through a shared word, its [`Slot`]) for the length of one copy. To revoke is to close all words and wait.

use crate::error::Error;
use crate::guard::{self, Inside};
use crate::op::{Access, Direction, Grant, Key};
use crate::region::raw::Mapping;
use crate::region::{Region, Span};
use crate::secret::random_u64;
use crate::wire::Status;
use conductor_core::ids::NodeId;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const PAUSE_MIN: Duration = Duration::from_micros(50);
const PAUSE_MAX: Duration = Duration::from_millis(5);

/// A registered window.
#[derive(Debug)]
pub(crate) struct Window {
    pub(crate) region: Region,
    pub(crate) access: Access,
    word: AtomicU64,
    slots: Mutex<Vec<Arc<Slot>>>,
}

/// The word through which a process on this machine enters a window.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) page: Arc<Mapping>,
    pub(crate) index: usize,
    pub(crate) generation: u32,
    pub(crate) node: NodeId,
    pub(crate) process: Option<Arc<OwnedFd>>,
}

impl Slot {
    fn word(&self) -> &AtomicU64 {
        self.page.word(self.index)
    }

    pub(crate) fn close(&self) {
        guard::close(self.word());
    }

    /// Nobody is inside: the word says so, or its process is no more.
    pub(crate) fn is_empty(&self) -> bool {
        guard::is_empty(self.word(), self.generation)
            || self.process.as_ref().is_some_and(|p| has_ended(p))
    }

    pub(crate) fn is_open(&self) -> bool {
        guard::is_open(self.word(), self.generation)
    }
}

impl Window {
    /// Enters for a moment, unless the key has been revoked.
    pub(crate) fn enter(&self) -> Option<Inside<'_>> {
        guard::enter(&self.word, 0)
    }

    /// Gives a neighbour process a way in, unless the key has been revoked.
    pub(crate) fn attach(&self, slot: Arc<Slot>) -> bool {
        let mut slots = self.slots.lock().expect("no panic inside");
        // Whoever revokes closes the window's word first and then, with this lock, all slots: none is missed.
        if !guard::is_open(&self.word, 0) {
            return false;
        }
        slots.retain(|slot| slot.is_open() || !slot.is_empty());
        guard::open(slot.word(), slot.generation);
        slots.push(slot);
        true
    }

    fn close(&self) {
        guard::close(&self.word);
        let slots = self.slots.lock().expect("no panic inside");
        slots.iter().for_each(|slot| slot.close());
    }

    fn is_empty(&self, of: impl Fn(&Slot) -> bool) -> bool {
        let slots = self.slots.lock().expect("no panic inside");
        slots.iter().all(|slot| !of(slot) || slot.is_empty())
    }
}

/// All keys of a transport.
#[derive(Debug, Default)]
pub(crate) struct Keys(Mutex<BTreeMap<Key, Arc<Window>>>);

impl Keys {
    pub(crate) fn register(&self, region: &Region, access: Access) -> Result<Grant, Error> {
        if !access.window.is_within(region.whole()) {
            let bytes = region.bytes();
            return Err(Error::Local {
                span: access.window,
                bytes,
            });
        }
        let window = Window {
            region: region.clone(),
            access,
            word: AtomicU64::new(0),
            slots: Mutex::default(),
        };
        guard::open(&window.word, 0);
        let mut table = self.0.lock().expect("no panic inside");
        let mut key = Key(random_u64());
        // Zero stands for no key; and a number that is drawn twice would be a stranger's way in.
        while key.0 == 0 || table.contains_key(&key) {
            key = Key(random_u64());
        }
        table.insert(key, Arc::new(window));
        Ok(Grant {
            key,
            window: access.window,
            rights: access.rights,
        })
    }

    /// The window that a key opens for a node. A key of somebody else is as unknown as one that never was.
    pub(crate) fn window(&self, key: Key, node: NodeId) -> Result<Arc<Window>, Status> {
        let table = self.0.lock().expect("no panic inside");
        let window = table.get(&key).filter(|window| {
            let his = window.access.node.is_none_or(|only| only == node);
            his && guard::is_open(&window.word, 0)
        });
        window.cloned().ok_or(Status::UnknownKey)
    }

    /// Whether a key has been given out and not been taken back.
    #[cfg(feature = "rdma")]
    pub(crate) fn knows(&self, key: Key) -> bool {
        let table = self.0.lock().expect("no panic inside");
        table.get(&key).is_some_and(|w| guard::is_open(&w.word, 0))
    }

    /// The same, if it may be used for `spans` in this direction.
    pub(crate) fn check(
        &self,
        key: Key,
        node: NodeId,
        direction: Direction,
        spans: &[Span],
    ) -> Result<Arc<Window>, Status> {
        let window = self.window(key, node)?;
        allowed(window.access, direction, spans)?;
        Ok(window)
    }

    pub(crate) async fn revoke(&self, key: Key, within: Duration) -> Result<(), Error> {
        let window = {
            let table = self.0.lock().expect("no panic inside");
            table.get(&key).cloned().ok_or(Error::UnknownKey)?
        };
        window.close();
        let is_empty = || guard::is_empty(&window.word, 0) && window.is_empty(|_| true);
        until(is_empty, within).await?;
        // Kept until now, so that a revocation that did not succeed can be repeated.
        self.0.lock().expect("no panic inside").remove(&key);
        Ok(())
    }

    /// Revokes what is only a node's, and waits until it has left what is everybody's. Its connections are closed
    /// already.
    pub(crate) async fn leave(&self, node: NodeId, within: Duration) -> Result<(), Error> {
        let (his, others): (Vec<_>, Vec<_>) = {
            let table = self.0.lock().expect("no panic inside");
            let all = table.iter().map(|(&key, window)| (key, window.clone()));
            all.partition(|(_, window)| window.access.node == Some(node))
        };
        his.iter().for_each(|(_, window)| window.close());
        for (key, _) in his {
            self.revoke(key, within).await?;
        }
        let is_empty = || {
            let mut windows = others.iter().map(|(_, window)| window);
            windows.all(|window| window.is_empty(|slot| slot.node == node))
        };
        until(is_empty, within).await
    }
}

/// Whether an access allows this.
pub(crate) fn allowed(access: Access, direction: Direction, spans: &[Span]) -> Result<(), Status> {
    if !access.rights.allow(direction) {
        return Err(Status::Rights);
    }
    match spans.iter().all(|span| span.is_within(access.window)) {
        true => Ok(()),
        false => Err(Status::OutOfBounds),
    }
}

/// A process's descriptor is readable when it has ended, reaped or not.
fn has_ended(process: &OwnedFd) -> bool {
    let mut polled = [PollFd::new(process, PollFlags::IN)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut polled, Some(&now)).is_ok_and(|ready| ready > 0)
}

async fn until(is_empty: impl Fn() -> bool, within: Duration) -> Result<(), Error> {
    let (begun, mut pause) = (Instant::now(), PAUSE_MIN);
    while !is_empty() {
        if begun.elapsed() > within {
            return Err(Error::StillInside(within));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
    Ok(())
}
