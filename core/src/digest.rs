//! The running digest of a journal: equal inputs give equal digests on every machine.
//!
//! Two 64-bit lanes of multiply-and-mix over words, so that a digest costs about a nanosecond a word and can be
//! kept in
//! every run. It finds divergence, not forgery: it is not cryptographic.

use crate::ids::{BlockHash, Ticket};
use core::fmt;

/// A digest of everything mixed in so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    low: u64,
    high: u64,
}

impl Default for Digest {
    /// Of nothing. The constants are the first fractional digits of pi in binary.
    fn default() -> Self {
        Self {
            low: 0x243F_6A88_85A3_08D3,
            high: 0x1319_8A2E_0370_7344,
        }
    }
}

impl Digest {
    /// Mixes in one word.
    pub fn word(&mut self, word: u64) -> &mut Self {
        let product = u128::from(self.low ^ word) * 0xA409_3822_299F_31D1 + u128::from(self.high);
        self.low = (product as u64) ^ self.high.rotate_left(29);
        self.high = ((product >> 64) as u64)
            .wrapping_add(word)
            .wrapping_mul(0x4528_21E6_38D0_1377)
            ^ self.low;
        self
    }

    /// Mixes in a word that may be absent.
    pub fn option(&mut self, word: Option<u64>) -> &mut Self {
        match word {
            None => self.word(0),
            Some(word) => self.word(1).word(word),
        }
    }

    /// Mixes in a ticket.
    pub fn ticket(&mut self, ticket: Ticket) -> &mut Self {
        self.word(ticket.request.0).word(u64::from(ticket.attempt))
    }

    /// Mixes in a list of blocks, with its length.
    pub fn blocks(&mut self, blocks: &[BlockHash]) -> &mut Self {
        self.word(blocks.len() as u64);
        for block in blocks {
            self.word(block.0);
        }
        self
    }

    /// Mixes in text, with its length.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.word(text.len() as u64);
        for chunk in text.as_bytes().chunks(8) {
            let mut bytes = [0; 8];
            bytes[..chunk.len()].copy_from_slice(chunk);
            self.word(u64::from_le_bytes(bytes));
        }
        self
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.high, self.low)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use alloc::string::ToString;

    #[test]
    fn order_length_and_every_bit_count() {
        let of = |words: &[u64]| {
            let mut digest = Digest::default();
            for &word in words {
                digest.word(word);
            }
            digest.to_string()
        };
        let mut seen = BTreeSet::new();
        for words in [&[][..], &[0], &[0, 0], &[1, 2], &[2, 1], &[1, 2, 3]] {
            assert!(seen.insert(of(words)), "{words:?}");
        }
        for bit in 0..64 {
            assert!(seen.insert(of(&[1 << bit, 7])) || bit == 0, "bit {bit}");
        }
    }
}
