//! What is asked of a peer: grants, operations and their completion.

use crate::error::Error;
use crate::region::{Region, Span};
use crate::wire::SPANS_MAX;
use conductor_core::ids::NodeId;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::oneshot;

/// What a peer may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// It may read.
    pub read: bool,
    /// It may write.
    pub write: bool,
}

impl Rights {
    /// Reading only.
    pub const READ: Self = Self {
        read: true,
        write: false,
    };
    /// Writing only.
    pub const WRITE: Self = Self {
        read: false,
        write: true,
    };
    /// Both.
    pub const BOTH: Self = Self {
        read: true,
        write: true,
    };

    pub(crate) const fn bits(self) -> u8 {
        self.read as u8 | (self.write as u8) << 1
    }

    pub(crate) const fn of_bits(bits: u8) -> Self {
        Self {
            read: bits & 1 != 0,
            write: bits & 2 != 0,
        }
    }

    pub(crate) const fn allow(self, direction: Direction) -> bool {
        match direction {
            Direction::Read => self.read,
            Direction::Write => self.write,
        }
    }
}

/// What a registration opens, for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// The part of the region.
    pub window: Span,
    /// What may be done there.
    pub rights: Rights,
    /// By whom; `None`: by every node that knows the secret.
    pub node: Option<NodeId>,
}

/// A random number that opens a window; whoever has it and is the right node may go in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub u64);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(..)")
    }
}

/// What an owner tells a peer, over the control plane, so that it can read or write: a key and what it opens.
///
/// A key names a registration, not a NIC's rkey: a transport whose hardware has keys of its own (one for each NIC)
/// asks the owner for them at the key's first use on a link, as `shm` asks for a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Opens the window.
    pub key: Key,
    /// The window. Offsets of remote spans count from the region's beginning, not from the window's.
    pub window: Span,
    /// What may be done there.
    pub rights: Rights,
}

impl Grant {
    /// Bytes of [`Grant::to_bytes`].
    pub const BYTES: usize = 25;

    /// For the control plane.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.key.0.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.window.offset.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.window.bytes.to_le_bytes());
        bytes[24] = self.rights.bits();
        bytes
    }

    /// What [`Grant::to_bytes`] made; `None` for what it cannot have made.
    #[must_use]
    pub fn of_bytes(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let word = |at: usize| {
            let field = bytes[at..at + 8].try_into().expect("eight bytes");
            u64::from_le_bytes(field)
        };
        let window = Span::new(word(8), word(16));
        window.end()?;
        (bytes[24] < 4).then(|| Self {
            key: Key(word(0)),
            window,
            rights: Rights::of_bits(bytes[24]),
        })
    }
}

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the peer's region into ours.
    Read,
    /// From our region into the peer's.
    Write,
}

/// One read or write: a list of spans here, a list of spans there, cut as each side likes, equally long in all.
#[derive(Clone, Debug)]
pub struct Op {
    pub(crate) direction: Direction,
    pub(crate) region: Region,
    pub(crate) local: Arc<[Span]>,
    pub(crate) grant: Grant,
    pub(crate) remote: Arc<[Span]>,
    pub(crate) bytes: u64,
    pub(crate) immediate: Option<u64>,
    pub(crate) within: Option<Duration>,
    pub(crate) checked: bool,
}

impl Op {
    /// Writes the local spans, one behind the other, over the remote spans.
    ///
    /// # Errors
    /// If spans are outside of `region`, too many, or not equally long.
    pub fn write(
        region: &Region,
        local: impl Into<Arc<[Span]>>,
        grant: Grant,
        remote: impl Into<Arc<[Span]>>,
    ) -> Result<Self, Error> {
        Self::new(Direction::Write, region, local.into(), grant, remote.into())
    }

    /// Reads the remote spans, one behind the other, into the local spans.
    ///
    /// # Errors
    /// If spans are outside of `region`, too many, or not equally long.
    pub fn read(
        region: &Region,
        local: impl Into<Arc<[Span]>>,
        grant: Grant,
        remote: impl Into<Arc<[Span]>>,
    ) -> Result<Self, Error> {
        Self::new(Direction::Read, region, local.into(), grant, remote.into())
    }

    fn new(
        direction: Direction,
        region: &Region,
        local: Arc<[Span]>,
        grant: Grant,
        remote: Arc<[Span]>,
    ) -> Result<Self, Error> {
        for spans in [&local, &remote] {
            if spans.len() > SPANS_MAX {
                return Err(Error::TooLarge {
                    what: "spans of one operation",
                    is: spans.len() as u64,
                    most: SPANS_MAX as u64,
                });
            }
        }
        if let Some(&span) = local.iter().find(|span| !span.is_within(region.whole())) {
            let bytes = region.bytes();
            return Err(Error::Local { span, bytes });
        }
        if remote.iter().any(|span| span.end().is_none()) {
            return Err(Error::OutOfBounds);
        }
        let sum = |spans: &[Span]| Span::total(spans).unwrap_or(u64::MAX);
        let (bytes, other) = (sum(&local), sum(&remote));
        if bytes != other {
            return Err(Error::Lengths {
                local: bytes,
                remote: other,
            });
        }
        Ok(Self {
            direction,
            region: region.clone(),
            local,
            grant,
            remote,
            bytes,
            immediate: None,
            within: None,
            checked: false,
        })
    }

    /// The peer's application gets `(this node, immediate)` as a notice once the bytes are visible to it. A read, which
    /// changes nothing there, gives none.
    #[must_use]
    pub fn with_immediate(mut self, immediate: u64) -> Self {
        self.immediate = Some(immediate);
        self
    }

    /// Another limit of time than the link's, counted from its submission.
    #[must_use]
    pub fn within(mut self, limit: Duration) -> Self {
        self.within = Some(limit);
        self
    }

    /// A CRC-32C goes with the bytes and is checked where they arrive, whatever
    /// [`Options::checksum`](crate::Options::checksum) says.
    #[must_use]
    pub fn checked(mut self) -> Self {
        self.checked = true;
        self
    }

    /// How many bytes it moves.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// An operation that has been taken in. Resolves when its bytes are visible at the target (write) or here (read), or
/// when it has failed and nothing of it will be done any more from this side.
///
/// Dropping it does not stop the operation: its memory stays in use until it ends by itself or by its deadline.
#[derive(Debug)]
#[must_use = "an operation is done when its ticket resolves"]
pub struct Ticket(pub(crate) oneshot::Receiver<Result<(), Error>>);

impl Future for Ticket {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0)
            .poll(context)
            .map(|answer| answer.unwrap_or(Err(Error::Closed)))
    }
}

/// What a write with an immediate leaves at its target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Who wrote.
    pub node: NodeId,
    /// What it said.
    pub immediate: u64,
}
