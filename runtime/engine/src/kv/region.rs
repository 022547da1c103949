//! The bytes of the pool.
//!
//! A region is memory that others know by its offsets: a network card, another process, the messenger's threads. So no
//! reference into it is ever handed out; bytes are copied in and out. An engine copies a sequence's keys and values of
//! one layer next to each other before it uses them, which it would want to do anyway, and copying is what keeps this
//! crate without unsafe code. The messenger's registered memory implements the trait with its own protocol; the rule of
//! who touches which block when is in [`super`].
//!
//! [`HeapRegion`] is plain memory in 32-bit atomics: sound whatever its users do, for tests and for nodes that move
//! nothing.

use std::sync::atomic::{AtomicU32, Ordering};

/// Memory for KV. Offsets and lengths are multiples of 4 and inside of `0..len`; else it panics, for a step has been
/// checked before anything is touched.
///
/// Concurrent calls on different blocks are the normal case. On the same bytes, one of them a write, they are a breach
/// of the protocol: what is read then is unspecified, but it is only bytes.
pub trait KvRegion: Send + Sync {
    /// Bytes.
    fn len(&self) -> usize;

    /// True if there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies the bytes from `at` on.
    fn read(&self, at: usize, into: &mut [u8]);

    /// Overwrites the bytes from `at` on.
    fn write(&self, at: usize, from: &[u8]);
}

/// A region of this process alone.
#[derive(Debug)]
pub struct HeapRegion {
    words: Box<[AtomicU32]>,
}

impl HeapRegion {
    /// Zeros; `bytes` is rounded up to a multiple of 4.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        Self {
            words: (0..bytes.div_ceil(4)).map(|_| AtomicU32::new(0)).collect(),
        }
    }

    fn words(&self, at: usize, len: usize) -> &[AtomicU32] {
        assert!(
            at.is_multiple_of(4) && len.is_multiple_of(4),
            "offsets and lengths are multiples of 4"
        );
        &self.words[at / 4..][..len / 4]
    }
}

impl KvRegion for HeapRegion {
    fn len(&self) -> usize {
        self.words.len() * 4
    }

    fn read(&self, at: usize, into: &mut [u8]) {
        let words = self.words(at, into.len());
        let (into, _) = into.as_chunks_mut::<4>();
        for (into, word) in into.iter_mut().zip(words) {
            // Relaxed: whoever says that a block is complete also makes it visible.
            *into = word.load(Ordering::Relaxed).to_ne_bytes();
        }
    }

    fn write(&self, at: usize, from: &[u8]) {
        let words = self.words(at, from.len());
        let (from, _) = from.as_chunks::<4>();
        for (from, word) in from.iter().zip(words) {
            word.store(u32::from_ne_bytes(*from), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else_changes() {
        let region = HeapRegion::new(30);
        assert_eq!(region.len(), 32);
        region.write(8, &[1, 2, 3, 4, 5, 6, 7, 8]);
        let mut all = [9; 32];
        region.read(0, &mut all);
        assert_eq!(&all[8..16], &[1, 2, 3, 4, 5, 6, 7, 8]);
        assert!(all[..8].iter().chain(&all[16..]).all(|&byte| byte == 0));
    }

    #[test]
    #[should_panic = "multiples of 4"]
    fn crooked_offsets_are_a_bug() {
        HeapRegion::new(32).write(2, &[0; 4]);
    }
}
