//! What an engine says of its cache, whatever form it was said in.

use std::ops::{BitAnd, BitOr, Not};

/// An engine's own name of a block. Integers are taken as they are, negative ones by their bits; of bytes the last
/// eight count, big-endian, which is what vLLM itself publishes of a hash where integers are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EngineHash(pub u64);

impl EngineHash {
    /// Of a hash that was said as bytes.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        let last = &bytes[bytes.len().saturating_sub(8)..];
        Self(
            last.iter()
                .fold(0, |hash, &byte| hash << 8 | u64::from(byte)),
        )
    }
}

/// Where a block lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// The memory of the device that computes.
    Gpu,
    /// The host's memory.
    Cpu,
    /// A disk of the host.
    Disk,
    /// Not with this engine (a pool of others, a remote tier), or in a place that is not known here.
    Elsewhere,
}

impl Medium {
    /// By its name in an event.
    #[must_use]
    pub fn named(name: &str) -> Self {
        let is = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
        if is(&["GPU", "DEVICE", "HBM", "NPU", "XPU", "TPU"]) {
            Self::Gpu
        } else if is(&["CPU", "CPU_PINNED", "CPU_TIER1", "HOST", "DRAM"]) {
            Self::Cpu
        } else if is(&["DISK", "STORAGE", "SSD", "CPU_TIER2"]) {
            Self::Disk
        } else {
            Self::Elsewhere
        }
    }

    /// As a set; none for [`Medium::Elsewhere`].
    #[must_use]
    pub const fn tier(self) -> Tiers {
        match self {
            Self::Gpu => Tiers::GPU,
            Self::Cpu => Tiers::CPU,
            Self::Disk => Tiers::DISK,
            Self::Elsewhere => Tiers::NONE,
        }
    }
}

/// A set of an engine's tiers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tiers(u8);

impl Tiers {
    /// None.
    pub const NONE: Self = Self(0);
    /// The device's memory.
    pub const GPU: Self = Self(1);
    /// The host's.
    pub const CPU: Self = Self(2);
    /// A disk of the host.
    pub const DISK: Self = Self(4);
    /// Each of them, the fastest first.
    pub const EACH: [Self; 3] = [Self::GPU, Self::CPU, Self::DISK];

    /// True if there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// True if it has one of `other`.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Where something lies of which one half lies here and the other there: in both places if they share one, else in
    /// the slowest that it takes to have it whole.
    #[must_use]
    pub fn of_both(self, other: Self) -> Self {
        if self.is_empty() || other.is_empty() {
            return Self::NONE;
        }
        match self & other {
            shared if !shared.is_empty() => shared,
            _ => {
                let fastest = |tiers: Self| Self::EACH.into_iter().find(|&tier| tiers.has(tier));
                fastest(self).max(fastest(other)).unwrap_or(Self::NONE)
            }
        }
    }
}

impl BitOr for Tiers {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitAnd for Tiers {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Not for Tiers {
    type Output = Self;

    fn not(self) -> Self {
        Self(!self.0 & 7)
    }
}

/// What a group of layers attends to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Attention {
    /// All that is before, or it is not said.
    #[default]
    Full,
    /// Less: a window, a state. Such a group gives blocks up that a prefix can do without.
    Partial,
}

/// Which blocks an event speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Where they lie.
    pub medium: Medium,
    /// Of which group of layers they are; one model may have several, each with blocks of its own under the same
    /// hashes.
    pub group: u32,
}

impl Default for Place {
    fn default() -> Self {
        Self {
            medium: Medium::Gpu,
            group: 0,
        }
    }
}

/// Blocks have come, one behind the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// Their hashes, front to back.
    pub blocks: Vec<EngineHash>,
    /// The block before the first; none at a prompt's beginning.
    pub parent: Option<EngineHash>,
    /// The tokens of all of them; none if the publisher does not know them.
    pub tokens: Vec<u32>,
    /// Tokens in a block; 0 if it is not said.
    pub block_tokens: u32,
    /// The adapter.
    pub adapter: Option<String>,
    /// What keeps a client's blocks apart from others'; said with a prompt's first block.
    pub salt: Option<String>,
    /// On what else each block depends (images), as a number; 0 for nothing. As many as there are blocks, or none.
    pub others: Vec<u64>,
    /// Where.
    pub place: Place,
    /// What its group attends to.
    pub attention: Attention,
}

/// Blocks have gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    /// Their hashes.
    pub blocks: Vec<EngineHash>,
    /// From where.
    pub place: Place,
}

/// Something that has happened to an engine's cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KvEvent {
    /// Blocks have come, or were there already.
    Stored(Stored),
    /// Blocks have gone.
    Removed(Removed),
    /// All have.
    Cleared,
}

/// What an engine says at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// In order.
    pub events: Vec<KvEvent>,
    /// The data-parallel rank that says it.
    pub rank: Option<u32>,
    /// Events of a kind that is not known here.
    pub unknown_events: u64,
    /// Fields that are not known here.
    pub unknown_fields: u64,
}
