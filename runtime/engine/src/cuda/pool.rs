//! The paged KV pool in device memory.
//!
//! One allocation of `cuMemAlloc`, a multiple of 2 MiB, so that the whole pool can be exported as a dma-buf and
//! registered once. To everybody else it is a [`KvRegion`]: bytes are copied in and out through pinned memory. What the
//! device refuses there has nobody to be told: reads give numbers that are none, so that whoever uses them fails on its
//! own, and the engine's next step reports the error ([`DevicePool::failed`]).
//!
//! Not here: who may touch what ([`crate::kv`]); bringing a network card's writes before the device's eyes
//! (`cuFlushGPUDirectRDMAWrites`), which belongs to whoever learns of them.

use super::direct::{self, Choice, Facts};
use super::driver::{Attribute, Buffer, CudaError, Device, Result};
use super::kernels::View;
use super::staging::{Staging, StagingSize};
use crate::kv::{KvRegion, KvShape};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

/// Sizes of large pages of devices.
const PAGE: usize = 2 << 20;

/// A pool of blocks on a device.
#[derive(Debug)]
pub struct DevicePool {
    // First, so that its streams are gone before the memory that they copy.
    staging: Staging,
    memory: Buffer,
    shape: KvShape,
    bytes: usize,
    failed: Mutex<Option<CudaError>>,
}

/// The pool as a dma-buf.
#[derive(Debug)]
pub struct Exported {
    /// To be registered with offset 0, `bytes` and the pool's address as its virtual one; can be closed then.
    pub handle: OwnedFd,
    /// The pool's address.
    pub address: u64,
    /// Its size, a multiple of 2 MiB.
    pub bytes: usize,
}

impl DevicePool {
    /// A pool of `blocks` blocks.
    pub fn new(device: &Device, shape: KvShape, blocks: u32, staging: StagingSize) -> Result<Self> {
        let bytes = shape.region_bytes(blocks);
        // Slots of tokens are numbered with 32 bits, the last number being none.
        if blocks as usize * shape.block_tokens() >= u32::MAX as usize || blocks == 0 {
            let expected = format!(
                "1 to {} (of {} tokens)",
                u32::MAX as usize / shape.block_tokens(),
                shape.block_tokens()
            );
            return Err(CudaError::Setting {
                what: "blocks of the pool",
                found: blocks.to_string(),
                expected,
            });
        }
        Ok(Self {
            staging: Staging::new(device, staging)?,
            memory: Buffer::new(device, bytes.next_multiple_of(PAGE), "the KV pool")?,
            shape,
            bytes,
            failed: Mutex::new(None),
        })
    }

    /// The device.
    #[must_use]
    pub const fn device(&self) -> &Device {
        self.memory.device()
    }

    /// Where KV lies in it.
    #[must_use]
    pub const fn shape(&self) -> KvShape {
        self.shape
    }

    /// For kernels.
    #[must_use]
    pub fn view(&self) -> View<'_> {
        View::new(&self.memory, 0)
    }

    /// Where it is for the device, and for who registers it.
    #[must_use]
    pub const fn address(&self) -> u64 {
        self.memory.address()
    }

    /// The first error of a copy in or out, once.
    pub fn failed(&self) -> Option<CudaError> {
        self.failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }

    /// The pool as a dma-buf, where the device can do it.
    pub fn export(&self) -> Result<Exported> {
        let (address, bytes) = (self.memory.address(), self.memory.bytes());
        Ok(Exported {
            handle: self.device().export(address, bytes)?,
            address,
            bytes,
        })
    }

    /// The way of its KV to a network card, by what is known without registering; the dma-buf if that is the way.
    pub fn way(&self, card: bool, card_dma_buf: bool) -> Result<(Choice, Option<Exported>)> {
        let device = self.device();
        let facts = Facts {
            card,
            gpu_direct: device.attribute(Attribute::GpuDirect)? != 0,
            dma_buf: device.attribute(Attribute::DmaBuf)? != 0,
            card_dma_buf,
            peer_memory: direct::peer_memory_loaded(),
        };
        let choice = direct::choose(facts);
        if choice.way != direct::Way::DmaBuf {
            return Ok((choice, None));
        }
        Ok(match self.export() {
            Ok(exported) => (choice, Some(exported)),
            Err(_) => (direct::choose(facts.without(direct::Way::DmaBuf)), None),
        })
    }

    fn copy_out(&self, at: usize, into: &mut [u8]) -> Result<()> {
        let mut slot = self.staging.take();
        let slot = &mut *slot;
        let portion = slot.pinned.bytes();
        for (index, into) in into.chunks_mut(portion).enumerate() {
            let from = at + index * portion;
            slot.stream
                .download(&self.memory, from..from + into.len(), &mut slot.pinned, 0)?;
            slot.stream.synchronize()?;
            into.copy_from_slice(&slot.pinned.read()[..into.len()]);
        }
        Ok(())
    }

    fn copy_in(&self, at: usize, from: &[u8]) -> Result<()> {
        let mut slot = self.staging.take();
        let slot = &mut *slot;
        let portion = slot.pinned.bytes();
        for (index, from) in from.chunks(portion).enumerate() {
            slot.pinned.write()[..from.len()].copy_from_slice(from);
            slot.stream.upload(
                &slot.pinned,
                0..from.len(),
                &self.memory,
                at + index * portion,
            )?;
            slot.stream.synchronize()?;
        }
        Ok(())
    }

    fn inside(&self, at: usize, len: usize) {
        assert!(
            at.is_multiple_of(4) && len.is_multiple_of(4),
            "offsets and lengths are multiples of 4"
        );
        assert!(
            len <= self.bytes && at <= self.bytes - len,
            "inside of the pool"
        );
    }

    fn note(&self, error: CudaError) {
        self.failed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert(error);
    }
}

impl KvRegion for DevicePool {
    fn len(&self) -> usize {
        self.bytes
    }

    fn read(&self, at: usize, into: &mut [u8]) {
        self.inside(at, into.len());
        if let Err(error) = self.copy_out(at, into) {
            self.note(error);
            into.fill(0xff);
        }
    }

    fn write(&self, at: usize, from: &[u8]) {
        self.inside(at, from.len());
        if let Err(error) = self.copy_in(at, from) {
            self.note(error);
        }
    }
}
