//! A node without a scheduler: an engine, its region and its pool, and sequences that a test moves about.

use conductor_core::ids::{BlockHash, RequestId, Ticket};
use conductor_core::rng::Stream;
use conductor_engine::kv::{BlockId, BlockPool, HeapRegion, KvRegion, KvShape, Shared};
use conductor_engine::model::Model;
use conductor_engine::sampling::Sampling;
use conductor_engine::{CpuEngine, Engine, Phase, Piece, Step};
use std::num::NonZeroUsize;
use std::sync::Arc;

/// One request on its way.
#[derive(Clone, Debug)]
pub(crate) struct Sequence {
    pub(crate) ticket: Ticket,
    /// The prompt, and the answer as far as it is there.
    pub(crate) tokens: Vec<u32>,
    pub(crate) prompt: usize,
    /// Tokens whose KV is in the blocks.
    pub(crate) stored: usize,
    pub(crate) blocks: Vec<BlockId>,
    /// How many of the blocks are shared.
    pub(crate) shared: usize,
    pub(crate) sampling: Sampling,
}

impl Sequence {
    pub(crate) fn new(id: u64, prompt: &[u32], sampling: Sampling) -> Self {
        Self {
            ticket: Ticket {
                request: RequestId(id),
                attempt: 0,
            },
            tokens: prompt.to_vec(),
            prompt: prompt.len(),
            stored: 0,
            blocks: Vec::new(),
            shared: 0,
            sampling,
        }
    }

    pub(crate) fn answered(&self) -> usize {
        self.tokens.len() - self.prompt
    }

    /// Chained hashes of the whole blocks of the prompt.
    fn hashes(&self, block: usize) -> Vec<BlockHash> {
        let mut hash = 0;
        let of = |tokens: &[u32]| {
            for &token in tokens {
                hash = Stream::new(hash, "block").draw(u64::from(token));
            }
            BlockHash(hash)
        };
        self.tokens[..self.prompt]
            .chunks_exact(block)
            .map(of)
            .collect()
    }
}

/// An engine with its memory.
pub(crate) struct Node {
    pub(crate) shape: KvShape,
    pub(crate) region: Arc<dyn KvRegion>,
    pub(crate) pool: BlockPool,
    pub(crate) engine: Box<dyn Engine>,
}

impl Node {
    pub(crate) fn new(model: &Arc<Model>, block: u32, blocks: u32, threads: usize) -> Self {
        let shape = model.config().kv_shape(block).expect("a shape");
        Self::with(shape, blocks, |region| {
            let threads = NonZeroUsize::new(threads).expect("a thread");
            let engine = CpuEngine::new(Arc::clone(model), shape, region, threads);
            Box::new(engine.expect("an engine"))
        })
    }

    pub(crate) fn with(
        shape: KvShape,
        blocks: u32,
        engine: impl FnOnce(Arc<HeapRegion>) -> Box<dyn Engine>,
    ) -> Self {
        let region = Arc::new(HeapRegion::new(shape.region_bytes(blocks)));
        let engine = engine(Arc::clone(&region));
        Self::over(shape, blocks, region, engine)
    }

    /// Of an engine and the region that it belongs to.
    pub(crate) fn over(
        shape: KvShape,
        blocks: u32,
        region: Arc<dyn KvRegion>,
        engine: Box<dyn Engine>,
    ) -> Self {
        // What was never written must not matter: numbers that would be seen.
        let noise = vec![0xff; region.len()];
        region.write(0, &noise);
        Self {
            shape,
            pool: BlockPool::new(blocks),
            engine,
            region,
        }
    }

    /// Takes the leading blocks of the prompt that are here; at least one token stays to be computed.
    pub(crate) fn reuse(&mut self, sequence: &mut Sequence) {
        assert!(sequence.blocks.is_empty(), "at its beginning");
        for hash in sequence.hashes(self.shape.block_tokens()) {
            let Some(block) = self.pool.pin(hash) else {
                break;
            };
            sequence.blocks.push(block);
        }
        sequence.shared = sequence.blocks.len();
        sequence.stored = sequence.shared * self.shape.block_tokens();
    }

    /// A piece of up to `tokens` tokens of the prompt, or of the answer's last token, with blocks for it.
    pub(crate) fn piece(&mut self, sequence: &mut Sequence, tokens: usize) -> Piece {
        // With the whole prompt reused its last token is computed again.
        let start = sequence.stored.min(sequence.tokens.len() - 1);
        let end = sequence.tokens.len().min(start + tokens);
        while sequence.blocks.len() < self.shape.blocks_for(end) {
            let block = self.pool.take().expect("a block is free");
            sequence.blocks.push(block);
        }
        let whole = end == sequence.tokens.len();
        Piece {
            ticket: sequence.ticket,
            phase: match end > sequence.prompt {
                true => Phase::Decode,
                false => Phase::Prefill,
            },
            start: start as u32,
            tokens: sequence.tokens[start..end].to_vec(),
            stored: sequence.stored as u32,
            blocks: sequence.blocks.clone(),
            sample: whole.then_some(sequence.sampling),
        }
    }

    /// Runs a step of these sequences with up to so many tokens each.
    pub(crate) fn run(&mut self, batch: &mut [(&mut Sequence, usize)]) {
        let pieces = batch
            .iter_mut()
            .map(|(sequence, tokens)| self.piece(sequence, *tokens))
            .collect();
        let step = Step { pieces };
        let mut layers = Vec::new();
        let output = self
            .engine
            .run(&step, &mut |done| layers.push(done.layer))
            .expect("a valid step");
        assert!(
            layers.into_iter().eq(0..self.shape.layers()),
            "each layer is told of"
        );
        assert_eq!(output.failed, []);
        let mut sampled = output.sampled.iter();
        for ((sequence, _), piece) in batch.iter_mut().zip(&step.pieces) {
            sequence.stored = sequence.stored.max(piece.end());
            self.publish(sequence);
            if piece.sample.is_some() {
                let made = sampled.next().expect("a token");
                assert_eq!(made.ticket, sequence.ticket);
                assert_eq!(made.position as usize, sequence.tokens.len());
                sequence.tokens.push(made.token);
            }
        }
        assert_eq!(sampled.next(), None);
    }

    /// Shares the blocks of the prompt that are whole.
    fn publish(&mut self, sequence: &mut Sequence) {
        let block = self.shape.block_tokens();
        let hashes = sequence.hashes(block);
        let whole = hashes.len().min(sequence.stored / block);
        for (index, &hash) in hashes[..whole].iter().enumerate().skip(sequence.shared) {
            let own = sequence.blocks[index];
            if let Shared::Already(other) = self.pool.share(own, hash) {
                assert_eq!(self.pool.pin(hash), Some(other));
                assert_eq!(
                    self.bytes(own),
                    self.bytes(other),
                    "equal content, equal bytes"
                );
                self.pool.release(own);
                sequence.blocks[index] = other;
            }
        }
        sequence.shared = sequence.shared.max(whole);
    }

    pub(crate) fn bytes(&self, block: BlockId) -> Vec<u8> {
        let place = self.shape.block(block);
        let mut bytes = vec![0; place.len()];
        self.region.read(place.start, &mut bytes);
        bytes
    }

    /// Lets go of a sequence's blocks.
    pub(crate) fn release(&mut self, sequence: &mut Sequence) {
        for block in sequence.blocks.drain(..) {
            self.pool.release(block);
        }
        sequence.shared = 0;
    }

    /// Brings a sequence to another node, layer by layer of each block, as a messenger does.
    pub(crate) fn send(&mut self, sequence: &mut Sequence, to: &mut Self) {
        let blocks: Vec<BlockId> = sequence
            .blocks
            .iter()
            .map(|_| to.pool.take().expect("a block is free"))
            .collect();
        for layer in 0..self.shape.layers() {
            for (&from, &block) in sequence.blocks.iter().zip(&blocks) {
                let place = self.shape.slice(from, layer);
                let mut bytes = vec![0; place.len()];
                self.region.read(place.start, &mut bytes);
                to.region.write(to.shape.slice(block, layer).start, &bytes);
            }
        }
        to.engine.arrived(&blocks).expect("blocks of the region");
        self.release(sequence);
        sequence.blocks = blocks;
        to.publish(sequence);
    }

    /// Evicts everything that nobody holds.
    pub(crate) fn evict(&mut self) {
        let contents: Vec<BlockHash> = self.pool.contents().collect();
        for hash in contents {
            assert!(self.pool.evict(hash));
        }
    }
}
