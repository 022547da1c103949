//! A region of host memory beside the device's pool, for messengers that cannot reach the device.
//!
//! What a step stores is gathered layer by layer on the device and copied to pinned memory while the next layers are
//! computed; then it is written to the region, before the layer is told of. What came to the region from elsewhere is
//! brought to the device when the engine is told of it. Two layers are on their way at a time.
//!
//! Not here: pinning the region itself, which would save the copy from pinned memory to it.

use super::driver::{Buffer, Device, Event, Pinned, Result, Stream};
use super::kernels::{Kernels, Move, View};
use super::pool::DevicePool;
use crate::kv::{BlockId, KvRegion, KvShape};
use std::sync::Arc;

/// Bytes of blocks that are brought to the device at once, or one block.
const PORTION: usize = 16 << 20;

/// The host's side.
pub(super) struct Mirror {
    region: Arc<dyn KvRegion>,
    stream: Stream,
    ways: [Way; 2],
    blocks: Pair,
}

/// Room of one layer on its way.
struct Way {
    room: Pair,
    copied: Event,
}

/// Device memory and the same of the host; both grow.
struct Pair {
    buffer: Buffer,
    pinned: Pinned,
}

impl Pair {
    fn new(device: &Device, bytes: usize) -> Result<Self> {
        Ok(Self {
            buffer: Buffer::new(device, bytes, "staging of KV")?,
            pinned: Pinned::new(device, bytes)?,
        })
    }

    fn fit(&mut self, bytes: usize) -> Result<()> {
        if self.buffer.bytes() < bytes {
            let device = self.buffer.device().clone();
            *self = Self::new(&device, bytes.next_power_of_two())?;
        }
        Ok(())
    }
}

impl Mirror {
    pub(super) fn new(device: &Device, region: Arc<dyn KvRegion>) -> Result<Self> {
        let way = || {
            Ok(Way {
                room: Pair::new(device, 4)?,
                copied: Event::new(device)?,
            })
        };
        Ok(Self {
            region,
            stream: Stream::new(device)?,
            ways: [way()?, way()?],
            blocks: Pair::new(device, 4)?,
        })
    }

    /// Starts copying a layer's slices of `count` blocks, once `stored` has come.
    pub(super) fn start(
        &mut self,
        kernels: &Kernels,
        pool: &DevicePool,
        stored: &Event,
        layer: usize,
        (blocks, count): (View<'_>, usize),
    ) -> Result<()> {
        let shape = pool.shape();
        let bytes = count * shape.slice_bytes();
        let way = &mut self.ways[layer % 2];
        way.room.fit(bytes)?;
        self.stream.wait(stored)?;
        kernels.gather(
            &self.stream,
            &Move {
                pool: pool.view(),
                contiguous: View::new(&way.room.buffer, 0),
                blocks,
                count,
                block_numbers: shape.block_bytes() / 4,
                within: layer * shape.slice_bytes() / 4,
                numbers: shape.slice_bytes() / 4,
            },
        )?;
        self.stream
            .download(&way.room.buffer, 0..bytes, &mut way.room.pinned, 0)?;
        way.copied.record(&self.stream)
    }

    /// Waits for a layer that was started, and writes it to the region.
    pub(super) fn finish(&mut self, shape: &KvShape, layer: usize, blocks: &[u32]) -> Result<()> {
        let way = &self.ways[layer % 2];
        way.copied.synchronize()?;
        for (&block, slice) in blocks
            .iter()
            .zip(way.room.pinned.read().chunks_exact(shape.slice_bytes()))
        {
            self.region
                .write(shape.slice(BlockId(block), layer).start, slice);
        }
        Ok(())
    }

    /// Brings blocks from the region to the device.
    pub(super) fn fetch(
        &mut self,
        kernels: &Kernels,
        pool: &DevicePool,
        blocks: &[BlockId],
    ) -> Result<()> {
        let shape = pool.shape();
        let size = shape.block_bytes();
        for blocks in blocks.chunks((PORTION / size).max(1)) {
            let count = blocks.len();
            let [way, _] = &mut self.ways;
            way.room.fit(count * size)?;
            self.blocks.fit(count * 4)?;
            for (&block, into) in blocks
                .iter()
                .zip(way.room.pinned.write().chunks_exact_mut(size))
            {
                self.region.read(shape.block(block).start, into);
            }
            for (block, into) in blocks
                .iter()
                .zip(self.blocks.pinned.write().chunks_exact_mut(4))
            {
                into.copy_from_slice(&block.0.to_ne_bytes());
            }
            self.stream
                .upload(&way.room.pinned, 0..count * size, &way.room.buffer, 0)?;
            self.stream
                .upload(&self.blocks.pinned, 0..count * 4, &self.blocks.buffer, 0)?;
            kernels.scatter(
                &self.stream,
                &Move {
                    pool: pool.view(),
                    contiguous: View::new(&way.room.buffer, 0),
                    blocks: View::new(&self.blocks.buffer, 0),
                    count,
                    block_numbers: size / 4,
                    within: 0,
                    numbers: size / 4,
                },
            )?;
            self.stream.synchronize()?;
        }
        Ok(())
    }
}
