//! Pinned memory beside the device: a few slots, each with a stream of its own, so that copies overlap.
//!
//! Whoever wants one waits until one is free: that is the bound on pinned memory, and on copies under way.

use super::driver::{CudaError, Device, Pinned, Result, Stream};
use std::num::NonZeroUsize;
use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, PoisonError};

/// A piece of pinned memory and the stream of its copies.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) pinned: Pinned,
    pub(super) stream: Stream,
}

/// All slots.
#[derive(Debug)]
pub(super) struct Staging {
    free: Mutex<Vec<Slot>>,
    returned: Condvar,
}

/// What staging may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StagingSize {
    /// Slots.
    pub slots: NonZeroUsize,
    /// Bytes of each; a multiple of 4.
    pub bytes: NonZeroUsize,
}

impl Default for StagingSize {
    /// Four of 4 MiB: enough to hide the copies' latency, small beside anything else that is pinned.
    fn default() -> Self {
        Self {
            slots: const { NonZeroUsize::new(4).unwrap() },
            bytes: const { NonZeroUsize::new(4 << 20).unwrap() },
        }
    }
}

impl Staging {
    pub(super) fn new(device: &Device, size: StagingSize) -> Result<Self> {
        let bytes = size.bytes.get();
        if !bytes.is_multiple_of(4) {
            let expected = "a multiple of 4".into();
            return Err(CudaError::Setting {
                what: "bytes of a staging slot",
                found: bytes.to_string(),
                expected,
            });
        }
        let slot = |_| {
            Ok(Slot {
                pinned: Pinned::new(device, bytes)?,
                stream: Stream::new(device)?,
            })
        };
        Ok(Self {
            free: Mutex::new((0..size.slots.get()).map(slot).collect::<Result<_>>()?),
            returned: Condvar::new(),
        })
    }

    /// A slot, when one is free.
    pub(super) fn take(&self) -> Lease<'_> {
        // Nothing is left half done by a thread that panicked here.
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let free = self.returned.wait_while(free, |free| free.is_empty());
        let slot = free.unwrap_or_else(PoisonError::into_inner).pop();
        Lease {
            staging: self,
            slot,
        }
    }
}

/// A slot that is given back when dropped.
pub(super) struct Lease<'a> {
    staging: &'a Staging,
    slot: Option<Slot>,
}

impl Deref for Lease<'_> {
    type Target = Slot;

    fn deref(&self) -> &Slot {
        self.slot.as_ref().expect("a slot until it is dropped")
    }
}

impl DerefMut for Lease<'_> {
    fn deref_mut(&mut self) -> &mut Slot {
        self.slot.as_mut().expect("a slot until it is dropped")
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let mut free = self
            .staging
            .free
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        free.extend(self.slot.take());
        self.staging.returned.notify_one();
    }
}
