//! What keys of a peer open, as far as this link has asked.

use super::message::{Ask, Opened, Tell};
use super::pump::exchange;
use crate::error::Error;
use crate::net::lane::Lane;
use crate::op::Key;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// Keys that are remembered. More are asked for again.
const WINDOWS_MAX: usize = 2048;

/// One connection's: it is forgotten with it.
#[derive(Default)]
pub(crate) struct Windows(Mutex<BTreeMap<Key, Arc<Opened>>>);

impl Windows {
    pub(crate) fn get(&self, key: Key) -> Option<Arc<Opened>> {
        self.lock().get(&key).cloned()
    }

    pub(crate) fn enter(&self, key: Key, opened: Arc<Opened>) {
        let mut windows = self.lock();
        if windows.len() >= WINDOWS_MAX {
            // Most of them are of requests that are long over.
            windows.clear();
        }
        windows.insert(key, opened);
    }

    pub(crate) fn forget(&self, key: Key) {
        self.lock().remove(&key);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Key, Arc<Opened>>> {
        self.0.lock().expect("no panic inside")
    }
}

/// Asks what a key opens at each of the peer's ports.
pub(crate) async fn attach(
    lane: &Lane,
    key: Key,
    ports: usize,
    limits: (Duration, Instant),
) -> Result<Arc<Opened>, Error> {
    match exchange(lane, Ask::Attach { key: key.0 }, limits).await? {
        Tell::Window(opened) if opened.rkeys.len() >= ports => Ok(Arc::new(opened)),
        _ => Err(Error::Unanswered),
    }
}
