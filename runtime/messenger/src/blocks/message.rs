//! The questions about blocks and their answers, as bytes. Pure; a message that is not exactly one of these is none.

use crate::op::Grant;
use crate::region::Span;
use crate::wire::Reader;
use conductor_core::ids::BlockHash;

/// The longest chain of one question: its answer fits into a message.
pub const HASHES_MAX: usize = 4096;

/// What a reader asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Pin what you have of this chain.
    Pin(Vec<BlockHash>),
    /// Take this pin off; did it hold?
    Unpin(u64),
}

/// What an owner tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tell {
    /// So much is pinned.
    Pinned {
        /// Names the pin.
        pin: u64,
        /// Opens the pool.
        grant: Grant,
        /// Where the blocks are.
        spans: Vec<Span>,
    },
    /// The pin is off.
    Unpinned {
        /// It held until now.
        held: bool,
    },
}

impl Ask {
    /// For [`Link::call`](crate::Link::call).
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Pin(hashes) => {
                let words = hashes.iter().flat_map(|hash| hash.0.to_le_bytes());
                [1].into_iter().chain(words).collect()
            }
            Self::Unpin(pin) => [2].into_iter().chain(pin.to_le_bytes()).collect(),
        }
    }

    /// `None` if it is not a question.
    #[must_use]
    pub fn parse(message: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(message);
        match reader.u8().ok()? {
            1 if reader.left().is_multiple_of(8) && reader.left() / 8 <= HASHES_MAX => {
                let count = reader.left() / 8;
                let hashes = (0..count).map(|_| reader.u64().ok().map(BlockHash));
                hashes.collect::<Option<_>>().map(Self::Pin)
            }
            2 if reader.left() == 8 => reader.u64().ok().map(Self::Unpin),
            _ => None,
        }
    }
}

impl Tell {
    /// The answer's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Pinned { pin, grant, spans } => {
                let mut bytes = vec![1];
                bytes.extend_from_slice(&pin.to_le_bytes());
                bytes.extend_from_slice(&grant.to_bytes());
                for span in spans {
                    bytes.extend_from_slice(&span.offset.to_le_bytes());
                    bytes.extend_from_slice(&span.bytes.to_le_bytes());
                }
                bytes
            }
            Self::Unpinned { held } => vec![2, u8::from(*held)],
        }
    }

    /// `None` if it is not an answer.
    #[must_use]
    pub fn parse(message: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(message);
        match reader.u8().ok()? {
            1 => {
                let pin = reader.u64().ok()?;
                let grant = Grant::of_bytes(&reader.array().ok()?)?;
                let count = reader.left() / 16;
                if count > HASHES_MAX || !reader.left().is_multiple_of(16) {
                    return None;
                }
                let span = |_| {
                    let span = Span::new(reader.u64().ok()?, reader.u64().ok()?);
                    span.end().map(|_| span)
                };
                let spans = (0..count).map(span).collect::<Option<_>>()?;
                Some(Self::Pinned { pin, grant, spans })
            }
            2 if reader.left() == 1 => {
                let held = reader.u8().ok()?;
                (held < 2).then_some(Self::Unpinned { held: held == 1 })
            }
            _ => None,
        }
    }
}
