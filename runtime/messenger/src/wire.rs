//! What goes over a connection: frames, as bytes and back. Pure: no socket, no time; the fuzz target feeds it anything.
//!
//! A frame is a head of 8 bytes (kind, flags, zero, length of the body), a body, and behind writes and data the bytes
//! of the blocks, which are no part of this module. All integers are little-endian. What is parsed is valid: lengths
//! are within the limits below, sums do not overflow, flags and statuses are known. Anything else ends the
//! connection.
//!
//! | kind | body | answered by |
//! |---|---|---|
//! | hello, proof | version, node, session, lane, nonce; then the proof | challenge, then welcome or refused |
//! | write | id, key, bytes, immediate, checksum, spans; then the bytes | ack |
//! | read | id, key, spans | data (and the bytes) or ack with an error |
//! | call | id, any small message | reply, or ack with an error |
//! | attach | id, key | attached and two descriptors (Unix sockets), or ack with an error |
//! | exchange | id, a message of the transport itself (verbs) | reply, or ack with an error |
//! | ping | id | ack |
//! | bye | | the connection ends |

mod codec;
mod cursor;

use crate::region::Span;
pub(crate) use cursor::Reader;

/// The version of everything below.
pub const VERSION: u16 = 1;
/// Bytes of a head.
pub const HEAD_BYTES: usize = 8;
/// The most spans of one operation.
pub const SPANS_MAX: usize = 4096;
/// The longest message of a call or a reply.
pub const MESSAGE_MAX: usize = 128 * 1024;
/// The longest message of an exchange.
pub const EXCHANGE_MAX: usize = 512;
/// The longest body of a frame that may come before both sides know each other.
pub const GREETING_MAX: usize = 64;

/// The head says how long the body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    kind: u8,
    flags: u8,
    /// Bytes of the body.
    pub body: usize,
}

/// Opens a connection: who, and which of the link's lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The version that the caller speaks.
    pub version: u16,
    /// The lane: the place of this connection among those of one link.
    pub lane: u16,
    /// The caller's node.
    pub node: u16,
    /// Random, one per link.
    pub session: u64,
    /// Random, for this connection.
    pub nonce: [u8; 16],
}

/// What the caller has to prove that it knows the secret for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// The version that the listener speaks.
    pub version: u16,
    /// The listener's node.
    pub node: u16,
    /// Random, for this connection.
    pub nonce: [u8; 16],
}

/// Why a caller is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Refusal {
    /// The proof does not fit: another secret.
    Secret = 1,
    /// Another version.
    Version = 2,
    /// As many connections as the listener takes.
    Full = 3,
    /// The listener is leaving.
    Leaving = 4,
}

/// How an operation ended at the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// Done and visible.
    Done = 0,
    /// No such key for this peer: never given, revoked, or given to another.
    UnknownKey = 1,
    /// The key does not allow it.
    Rights = 2,
    /// Not within what the key opens.
    OutOfBounds = 3,
    /// The bytes that came are not those that were sent.
    Checksum = 4,
    /// Nobody answers calls here, or the message was not understood.
    Unanswered = 5,
    /// More keys than a connection can have.
    TooMany = 6,
    /// The target could not do it: a device of its own refused.
    Failed = 7,
}

/// What a shared-memory peer needs to reach a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The region; equal for all keys of one region.
    pub region: u64,
    /// The region's bytes.
    pub region_bytes: u64,
    /// What the key opens.
    pub window: Span,
    /// Bits: 1 read, 2 write.
    pub rights: u8,
    /// The word that guards it, in the page of words.
    pub slot: u32,
    /// The word's generation.
    pub generation: u32,
}

/// A write; its bytes follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Names the operation in its answer.
    pub id: u64,
    /// What opens the window.
    pub key: u64,
    /// The sum of the spans.
    pub bytes: u64,
    /// The notice to give when the bytes are visible.
    pub immediate: Option<u64>,
    /// CRC-32C of the bytes.
    pub checksum: Option<u32>,
    /// Where the bytes go. None: only the notice is wanted.
    pub spans: Vec<Span>,
}

/// A read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Names the operation in its answer.
    pub id: u64,
    /// What opens the window.
    pub key: u64,
    /// The sum of the spans.
    pub bytes: u64,
    /// Whether a checksum is wanted.
    pub checksum: bool,
    /// Where the bytes are.
    pub spans: Vec<Span>,
}

/// Everything that can be said.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the module's table says what each is")]
pub enum Frame {
    Hello(Hello),
    Challenge(Challenge),
    Proof([u8; 32]),
    Welcome([u8; 32]),
    Refused(Refusal),
    Write(Write),
    Read(Read),
    Ack {
        id: u64,
        status: Status,
    },
    Data {
        id: u64,
        bytes: u64,
        checksum: Option<u32>,
    },
    Call {
        id: u64,
        message: Vec<u8>,
    },
    Reply {
        id: u64,
        message: Vec<u8>,
    },
    Ping {
        id: u64,
    },
    Bye,
    Attach {
        id: u64,
        key: u64,
    },
    Attached {
        id: u64,
        attached: Attached,
    },
    Exchange {
        id: u64,
        message: Vec<u8>,
    },
}

/// Why bytes are not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A kind that this version does not know.
    #[error("unknown kind of frame {0}")]
    Kind(u8),
    /// Flags that the kind does not have, or bytes that must be zero.
    #[error("unknown flags")]
    Flags,
    /// A body that is too short or too long for its kind.
    #[error("a body of {0} bytes")]
    Length(usize),
    /// A field with a value that it cannot have.
    #[error("an impossible value: {0}")]
    Value(&'static str),
}
