//! Layer by layer to the decode node, while prefill runs.
//!
//! The decode node has set blocks aside and told where (a [`Grant`] and block numbers, over the control plane); the
//! prefill node pushes each layer's slices when the layer is computed, and says once, behind all of them, that the
//! whole is there. Whoever computes must not overwrite a slice before its push is settled; [`Stream::flush`] waits
//! for that.

use crate::convoy::{Care, Convoy};
use crate::error::Error;
use crate::op::{Grant, Op};
use crate::region::{Region, Span};
use crate::transport::Link;
use crate::wire::SPANS_MAX;
use std::sync::Arc;

/// Where blocks and their layers are in a region: block after block, each with its layers one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Where block 0 begins.
    pub base: u64,
    /// Layers of a block.
    pub layers: u32,
    /// Bytes of one layer of one block.
    pub slice_bytes: u64,
}

impl Layout {
    /// Bytes of a block.
    #[must_use]
    pub const fn block_bytes(&self) -> u64 {
        self.slice_bytes * self.layers as u64
    }

    /// A whole block. One that is far outside gives a span that no region has.
    #[must_use]
    pub const fn block(&self, block: u32) -> Span {
        let offset = (block as u64).saturating_mul(self.block_bytes());
        Span::new(self.base.saturating_add(offset), self.block_bytes())
    }

    /// One layer of a block.
    #[must_use]
    pub const fn slice(&self, block: u32, layer: u32) -> Span {
        let within = (layer as u64).saturating_mul(self.slice_bytes);
        let offset = self.block(block).offset.saturating_add(within);
        Span::new(offset, self.slice_bytes)
    }
}

/// What a stream has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Bytes, each counted once.
    pub bytes: u64,
    /// Operations that had to be tried again.
    pub repeats: u64,
}

/// A transfer whose parts become ready one after the other.
pub struct Stream {
    convoy: Convoy,
    region: Region,
    grant: Grant,
    bytes: u64,
}

impl Stream {
    /// From `region` to what `grant` opens at the link's peer.
    #[must_use]
    pub fn new(link: Arc<dyn Link>, region: &Region, grant: Grant, care: Care) -> Self {
        Self {
            convoy: Convoy::new(link, care),
            region: region.clone(),
            grant,
            bytes: 0,
        }
    }

    /// Sends one layer of some blocks: `(block here, block there)`. Waits only if the window is full.
    ///
    /// # Errors
    /// If this or an earlier part has failed for good; the transfer is then lost.
    pub async fn push_layer(
        &mut self,
        (here, there): (Layout, Layout),
        layer: u32,
        blocks: &[(u32, u32)],
    ) -> Result<(), Error> {
        for some in blocks.chunks(SPANS_MAX) {
            let local = some.iter().map(|&(block, _)| here.slice(block, layer));
            let remote = some.iter().map(|&(_, block)| there.slice(block, layer));
            self.push(local.collect(), remote.collect()).await?;
        }
        Ok(())
    }

    /// Sends any spans to any spans.
    ///
    /// # Errors
    /// As [`Stream::push_layer`].
    pub async fn push(&mut self, local: Arc<[Span]>, remote: Arc<[Span]>) -> Result<(), Error> {
        let op = Op::write(&self.region, local, self.grant, remote)?;
        self.bytes += op.bytes();
        self.convoy.push(op).await
    }

    /// Waits until everything that was pushed is visible at the peer.
    ///
    /// # Errors
    /// As [`Stream::push_layer`].
    pub async fn flush(&mut self) -> Result<(), Error> {
        self.convoy.finish().await
    }

    /// Waits until all is visible, then gives the peer the one notice `immediate`, and waits until it has that.
    ///
    /// # Errors
    /// As [`Stream::push_layer`]. The notice has then not been given, or has been but its answer was lost.
    pub async fn finish(mut self, immediate: u64) -> Result<Sent, Error> {
        self.flush().await?;
        let nothing: Arc<[Span]> = Arc::new([]);
        let last = Op::write(&self.region, nothing.clone(), self.grant, nothing)?;
        self.convoy.push(last.with_immediate(immediate)).await?;
        self.flush().await?;
        Ok(Sent {
            bytes: self.bytes,
            repeats: self.convoy.repeats,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_tile_their_block_and_blocks_tile_the_pool() {
        let layout = Layout {
            base: 4096,
            layers: 3,
            slice_bytes: 100,
        };
        let mut at = 4096;
        for block in 0..4 {
            assert_eq!(layout.block(block), Span::new(at, 300));
            for layer in 0..3 {
                assert_eq!(layout.slice(block, layer), Span::new(at, 100));
                at += 100;
            }
        }
        let huge = Layout {
            slice_bytes: 1 << 60,
            ..layout
        };
        assert_eq!(
            huge.slice(u32::MAX, 2).end(),
            None,
            "far outside is nowhere, not here again"
        );
    }
}
