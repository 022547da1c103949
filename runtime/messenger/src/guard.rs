//! A word that says whether memory is open and how many are inside: in this process, or shared with others.
//!
//! `generation << 32 | open << 31 | inside`. Whoever copies enters first and leaves after; whoever closes waits until
//! nobody is inside. The generation fences those who knew an earlier use of the same word.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

const OPEN: u64 = 1 << 31;
const INSIDE: u64 = OPEN - 1;

fn generation(word: u64) -> u32 {
    (word >> 32) as u32
}

/// Opens a word for a generation. Nobody is inside.
pub(crate) fn open(word: &AtomicU64, generation: u32) {
    word.store(u64::from(generation) << 32 | OPEN, Release);
}

/// Lets nobody in any more.
pub(crate) fn close(word: &AtomicU64) {
    word.fetch_and(!OPEN, AcqRel);
}

pub(crate) fn is_open(word: &AtomicU64, of: u32) -> bool {
    let now = word.load(Acquire);
    generation(now) == of && now & OPEN != 0
}

/// Nobody of this generation is inside.
pub(crate) fn is_empty(word: &AtomicU64, of: u32) -> bool {
    let now = word.load(Acquire);
    generation(now) != of || now & INSIDE == 0
}

/// Inside until it is dropped.
#[must_use]
pub(crate) struct Inside<'a>(&'a AtomicU64);

/// Enters, if the word is open for this generation.
pub(crate) fn enter(word: &AtomicU64, of: u32) -> Option<Inside<'_>> {
    let may = |now: u64| {
        let room = now & INSIDE != INSIDE;
        (generation(now) == of && now & OPEN != 0 && room).then(|| now + 1)
    };
    word.fetch_update(Acquire, Relaxed, may).ok()?;
    Some(Inside(word))
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_inside_is_waited_for_and_nobody_enters_what_is_closed() {
        let word = AtomicU64::new(0);
        assert!(enter(&word, 0).is_none(), "a new word is closed");
        open(&word, 7);
        assert!(enter(&word, 6).is_none(), "an earlier use is over");
        let inside = enter(&word, 7).expect("open");
        let also = enter(&word, 7).expect("open to many");
        close(&word);
        assert!(enter(&word, 7).is_none() && !is_open(&word, 7));
        drop(inside);
        assert!(!is_empty(&word, 7));
        assert!(is_empty(&word, 6), "an earlier use is over");
        drop(also);
        assert!(is_empty(&word, 7));
    }
}
