//! The seam between a node agent and what computes.
//!
//! An engine belongs to the region that it was made with, and the trait never shows that memory: blocks are ids, and
//! whether their bytes are in this process, in another or on a GPU is between the engine and the messenger. It blocks,
//! so it runs on a thread of its node's; it is told everything about a sequence with every step, so it has no memory of
//! sequences that could be wrong after a fault.

use crate::kv::{BlockId, KvRegion, KvShape};
use crate::step::{LayerDone, Limits, Step, StepOutput};
use thiserror::Error;

/// Runs steps.
pub trait Engine: Send {
    /// Where KV lies in the engine's region.
    fn shape(&self) -> KvShape;

    /// What steps are checked against.
    fn limits(&self) -> Limits;

    /// The messenger has written the KV of these blocks. An engine that computes elsewhere than in the region's memory
    /// fetches it now; it must be told before a step that reads it.
    fn arrived(&mut self, _blocks: &[BlockId]) -> Result<(), EngineError> {
        Ok(())
    }

    /// Runs one step to its end. `on_layer` is called once for each layer, in order, from this thread; what it does
    /// lengthens the step.
    ///
    /// After an error no token was made. A [`EngineError::BadStep`] has changed nothing; after any other the blocks
    /// that the step was to write hold whatever they hold.
    fn run(
        &mut self,
        step: &Step,
        on_layer: &mut dyn FnMut(LayerDone),
    ) -> Result<StepOutput, EngineError>;
}

/// Why there is no engine, or no token.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EngineError {
    /// The order cannot be right.
    #[error("piece {piece} of the step: {what}")]
    BadStep {
        /// Which one, from 0.
        piece: usize,
        /// What, and what was expected.
        what: String,
    },
    /// Region and engine do not fit.
    #[error("the KV region has {found} bytes, expected at least one block of {block} bytes")]
    Region {
        /// Bytes that there are.
        found: usize,
        /// Bytes of a block.
        block: usize,
    },
    /// The device that the engine computes on refused, or its libraries are missing.
    #[error("the device: {0}")]
    Device(String),
    /// The engine's threads could not be started.
    #[error("cannot start the engine's threads: {0}")]
    Threads(String),
}

/// How many blocks a region has; there must be one, and ids of blocks must reach.
pub(crate) fn blocks(shape: &KvShape, region: &dyn KvRegion) -> Result<usize, EngineError> {
    let blocks = (region.len() / shape.block_bytes()).min(u32::MAX as usize);
    if blocks == 0 {
        return Err(EngineError::Region {
            found: region.len(),
            block: shape.block_bytes(),
        });
    }
    Ok(blocks)
}
