//! Threads that share out a buffer in chunks.
//!
//! A pool of its own, because how many cores an engine may use is the node's setting and not the process's. One thread
//! is no pool at all.

use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;
use std::num::NonZeroUsize;

/// The threads of one engine.
#[derive(Debug)]
pub struct Workers {
    pool: Option<rayon::ThreadPool>,
}

impl Workers {
    /// The caller's thread alone.
    #[must_use]
    pub const fn single() -> Self {
        Self { pool: None }
    }

    /// `threads` threads.
    pub fn new(threads: NonZeroUsize) -> Result<Self, rayon::ThreadPoolBuildError> {
        if threads.get() == 1 {
            return Ok(Self::single());
        }
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.get())
            .thread_name(|index| format!("engine-{index}"))
            .build()?;
        Ok(Self { pool: Some(pool) })
    }

    /// Calls `work` once for each chunk of `size` numbers (the last may be shorter) with its index.
    pub fn each_chunk(
        &self,
        buffer: &mut [f32],
        size: usize,
        work: impl Fn(usize, &mut [f32]) + Send + Sync,
    ) {
        match &self.pool {
            None => {
                for (index, chunk) in buffer.chunks_mut(size).enumerate() {
                    work(index, chunk);
                }
            }
            Some(pool) => pool.install(|| {
                let chunks = buffer.par_chunks_mut(size).enumerate();
                chunks.for_each(|(index, chunk)| work(index, chunk));
            }),
        }
    }
}
