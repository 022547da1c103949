//! Frames from bytes and into bytes.

use super::{
    Attached, Challenge, EXCHANGE_MAX, Frame, HEAD_BYTES, Head, Hello, MESSAGE_MAX, Malformed,
    Read, Reader, Refusal, SPANS_MAX, Status, Write,
};
use crate::region::Span;

const MAGIC: u32 = u32::from_le_bytes(*b"KVms");
const SPAN_BYTES: usize = 16;
const WRITE_BYTES: usize = 36;

const IMMEDIATE: u8 = 1;
const CHECKSUM: u8 = 2;

/// Kind, flags that it may have, shortest and longest body. The order is that of [`Frame`].
const KINDS: [(u8, u8, usize, usize); 16] = [
    (1, 0, 34, 34),
    (2, 0, 24, 24),
    (3, 0, 32, 32),
    (4, 0, 32, 32),
    (5, 0, 1, 1),
    (
        6,
        IMMEDIATE | CHECKSUM,
        WRITE_BYTES,
        WRITE_BYTES + SPANS_MAX * SPAN_BYTES,
    ),
    (7, CHECKSUM, 16, 16 + SPANS_MAX * SPAN_BYTES),
    (8, 0, 9, 9),
    (9, CHECKSUM, 20, 20),
    (10, 0, 8, 8 + MESSAGE_MAX),
    (11, 0, 8, 8 + MESSAGE_MAX),
    (12, 0, 8, 8),
    (13, 0, 0, 0),
    (14, 0, 16, 16),
    (15, 0, 49, 49),
    (16, 0, 8, 8 + EXCHANGE_MAX),
];

impl Head {
    /// Checks a head before a byte of its body is waited for.
    ///
    /// # Errors
    /// What it cannot be.
    pub fn parse(bytes: [u8; HEAD_BYTES]) -> Result<Self, Malformed> {
        let [kind, flags, zero, zero_too, length @ ..] = bytes;
        let body = u32::from_le_bytes(length) as usize;
        let known = KINDS.iter().find(|known| known.0 == kind);
        let &(_, allowed, least, most) = known.ok_or(Malformed::Kind(kind))?;
        if flags & !allowed != 0 || zero != 0 || zero_too != 0 {
            return Err(Malformed::Flags);
        }
        match (least..=most).contains(&body) {
            true => Ok(Self { kind, flags, body }),
            false => Err(Malformed::Length(body)),
        }
    }
}

impl Frame {
    /// The frame of a head and its body.
    ///
    /// # Errors
    /// What it cannot be.
    pub fn parse(head: Head, body: &[u8]) -> Result<Self, Malformed> {
        if body.len() != head.body {
            return Err(Malformed::Length(body.len()));
        }
        let mut reader = Reader::new(body);
        let frame = Self::of(head, &mut reader)?;
        match reader.is_empty() {
            true => Ok(frame),
            false => Err(Malformed::Length(body.len())),
        }
    }

    fn of(head: Head, body: &mut Reader<'_>) -> Result<Self, Malformed> {
        let flag = |flag: u8| head.flags & flag != 0;
        Ok(match head.kind {
            1 => {
                magic(body)?;
                Self::Hello(Hello {
                    version: body.u16()?,
                    lane: body.u16()?,
                    node: body.u16()?,
                    session: body.u64()?,
                    nonce: body.array()?,
                })
            }
            2 => {
                magic(body)?;
                Self::Challenge(Challenge {
                    version: body.u16()?,
                    node: body.u16()?,
                    nonce: body.array()?,
                })
            }
            3 => Self::Proof(body.array()?),
            4 => Self::Welcome(body.array()?),
            5 => Self::Refused(refusal(body.u8()?)?),
            6 => {
                let (id, key, bytes) = (body.u64()?, body.u64()?, body.u64()?);
                let immediate = optional(flag(IMMEDIATE), body.u64()?)?;
                let checksum = optional(flag(CHECKSUM), body.u32()?)?;
                let (spans, total) = spans(body)?;
                if total != bytes {
                    return Err(Malformed::Value("bytes"));
                }
                Self::Write(Write {
                    id,
                    key,
                    bytes,
                    immediate,
                    checksum,
                    spans,
                })
            }
            7 => {
                let (id, key) = (body.u64()?, body.u64()?);
                let (spans, bytes) = spans(body)?;
                Self::Read(Read {
                    id,
                    key,
                    bytes,
                    checksum: flag(CHECKSUM),
                    spans,
                })
            }
            8 => Self::Ack {
                id: body.u64()?,
                status: status(body.u8()?)?,
            },
            9 => Self::Data {
                id: body.u64()?,
                bytes: body.u64()?,
                checksum: optional(flag(CHECKSUM), body.u32()?)?,
            },
            10 => Self::Call {
                id: body.u64()?,
                message: body.rest(),
            },
            11 => Self::Reply {
                id: body.u64()?,
                message: body.rest(),
            },
            12 => Self::Ping { id: body.u64()? },
            13 => Self::Bye,
            14 => Self::Attach {
                id: body.u64()?,
                key: body.u64()?,
            },
            15 => Self::Attached {
                id: body.u64()?,
                attached: attached(body)?,
            },
            _ => Self::Exchange {
                id: body.u64()?,
                message: body.rest(),
            },
        })
    }

    /// Appends the frame's bytes.
    ///
    /// # Panics
    /// If a list or a message is longer than the limits, which those who make frames check.
    pub fn encode(&self, into: &mut Vec<u8>) {
        let start = into.len();
        into.extend_from_slice(&[0; HEAD_BYTES]);
        let (kind, flags) = self.body(into);
        let body = into.len() - start - HEAD_BYTES;
        let (_, allowed, least, most) = KINDS[usize::from(kind) - 1];
        assert!(flags & !allowed == 0 && (least..=most).contains(&body));
        into[start] = kind;
        into[start + 1] = flags;
        into[start + 4..start + 8].copy_from_slice(&(body as u32).to_le_bytes());
    }

    fn body(&self, into: &mut Vec<u8>) -> (u8, u8) {
        let mut put = |bytes: &[u8]| into.extend_from_slice(bytes);
        match self {
            Self::Hello(hello) => {
                put(&MAGIC.to_le_bytes());
                put(&hello.version.to_le_bytes());
                put(&hello.lane.to_le_bytes());
                put(&hello.node.to_le_bytes());
                put(&hello.session.to_le_bytes());
                put(&hello.nonce);
                (1, 0)
            }
            Self::Challenge(challenge) => {
                put(&MAGIC.to_le_bytes());
                put(&challenge.version.to_le_bytes());
                put(&challenge.node.to_le_bytes());
                put(&challenge.nonce);
                (2, 0)
            }
            Self::Proof(proof) => {
                put(proof);
                (3, 0)
            }
            Self::Welcome(proof) => {
                put(proof);
                (4, 0)
            }
            Self::Refused(refusal) => {
                put(&[*refusal as u8]);
                (5, 0)
            }
            Self::Write(write) => {
                for number in [
                    write.id,
                    write.key,
                    write.bytes,
                    write.immediate.unwrap_or(0),
                ] {
                    put(&number.to_le_bytes());
                }
                put(&write.checksum.unwrap_or(0).to_le_bytes());
                put_spans(into, &write.spans);
                let immediate = if write.immediate.is_some() {
                    IMMEDIATE
                } else {
                    0
                };
                (6, immediate | checked(write.checksum.is_some()))
            }
            Self::Read(read) => {
                put(&read.id.to_le_bytes());
                put(&read.key.to_le_bytes());
                put_spans(into, &read.spans);
                (7, checked(read.checksum))
            }
            Self::Ack { id, status } => {
                put(&id.to_le_bytes());
                put(&[*status as u8]);
                (8, 0)
            }
            Self::Data {
                id,
                bytes,
                checksum,
            } => {
                put(&id.to_le_bytes());
                put(&bytes.to_le_bytes());
                put(&checksum.unwrap_or(0).to_le_bytes());
                (9, checked(checksum.is_some()))
            }
            Self::Call { id, message } => {
                put(&id.to_le_bytes());
                put(message);
                (10, 0)
            }
            Self::Reply { id, message } => {
                put(&id.to_le_bytes());
                put(message);
                (11, 0)
            }
            Self::Ping { id } => {
                put(&id.to_le_bytes());
                (12, 0)
            }
            Self::Bye => (13, 0),
            Self::Attach { id, key } => {
                put(&id.to_le_bytes());
                put(&key.to_le_bytes());
                (14, 0)
            }
            Self::Attached { id, attached } => {
                put(&id.to_le_bytes());
                put(&attached.region.to_le_bytes());
                put(&attached.region_bytes.to_le_bytes());
                put(&attached.window.offset.to_le_bytes());
                put(&attached.window.bytes.to_le_bytes());
                put(&[attached.rights]);
                put(&attached.slot.to_le_bytes());
                put(&attached.generation.to_le_bytes());
                (15, 0)
            }
            Self::Exchange { id, message } => {
                put(&id.to_le_bytes());
                put(message);
                (16, 0)
            }
        }
    }
}

fn checked(checksum: bool) -> u8 {
    if checksum { CHECKSUM } else { 0 }
}

fn put_spans(into: &mut Vec<u8>, spans: &[Span]) {
    for span in spans {
        into.extend_from_slice(&span.offset.to_le_bytes());
        into.extend_from_slice(&span.bytes.to_le_bytes());
    }
}

fn magic(body: &mut Reader<'_>) -> Result<(), Malformed> {
    match body.u32()? == MAGIC {
        true => Ok(()),
        false => Err(Malformed::Value("magic")),
    }
}

/// A field that is there if its flag is, and zero otherwise: one frame has one encoding.
fn optional<T: Default + PartialEq>(there: bool, value: T) -> Result<Option<T>, Malformed> {
    match (there, value == T::default()) {
        (true, _) => Ok(Some(value)),
        (false, true) => Ok(None),
        (false, false) => Err(Malformed::Value("a field without its flag")),
    }
}

fn spans(body: &mut Reader<'_>) -> Result<(Vec<Span>, u64), Malformed> {
    let count = body.left() / SPAN_BYTES;
    let mut spans = Vec::with_capacity(count);
    for _ in 0..count {
        let span = Span::new(body.u64()?, body.u64()?);
        span.end().ok_or(Malformed::Value("span"))?;
        spans.push(span);
    }
    let total = Span::total(&spans).ok_or(Malformed::Value("spans"))?;
    Ok((spans, total))
}

fn attached(body: &mut Reader<'_>) -> Result<Attached, Malformed> {
    let attached = Attached {
        region: body.u64()?,
        region_bytes: body.u64()?,
        window: Span::new(body.u64()?, body.u64()?),
        rights: body.u8()?,
        slot: body.u32()?,
        generation: body.u32()?,
    };
    let whole = Span::new(0, attached.region_bytes);
    match attached.window.is_within(whole) && attached.rights < 4 {
        true => Ok(attached),
        false => Err(Malformed::Value("attached")),
    }
}

fn refusal(code: u8) -> Result<Refusal, Malformed> {
    Ok(match code {
        1 => Refusal::Secret,
        2 => Refusal::Version,
        3 => Refusal::Full,
        4 => Refusal::Leaving,
        _ => return Err(Malformed::Value("refusal")),
    })
}

fn status(code: u8) -> Result<Status, Malformed> {
    Ok(match code {
        0 => Status::Done,
        1 => Status::UnknownKey,
        2 => Status::Rights,
        3 => Status::OutOfBounds,
        4 => Status::Checksum,
        5 => Status::Unanswered,
        6 => Status::TooMany,
        7 => Status::Failed,
        _ => return Err(Malformed::Value("status")),
    })
}
