//! Messages of a publisher, frame by frame, into sequence numbers and payloads.
//!
//! A live message is `[topic, number, payload]`. An answer to a replay request, as its asker sees it, is
//! `[empty, number, payload]` (vLLM up to 0.25) or `[empty, topic, number, payload]` (since 0.26); the number -1 ends
//! it.
//!
//! Not here: sockets ([`crate::source`]), what is in a payload ([`crate::decode`]).

use crate::decode::PAYLOAD_BYTES_MAX;
use bytes::Bytes;
use thiserror::Error;

/// The number of an answer that ends a replay.
const END: u64 = u64::MAX;

/// A message that is none of a publisher's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Misframed {
    /// The number of frames.
    #[error("a message of {found} frames, expected {expected}")]
    Frames {
        /// How many there are.
        found: usize,
        /// How many there could be.
        expected: &'static str,
    },
    /// The frame with the number.
    #[error("a sequence number of {0} bytes, expected 8")]
    Number(usize),
    /// The payload.
    #[error("a payload of {0} bytes, expected at most 33554432")]
    Payload(usize),
}

/// A payload and its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// Counted from 0 since the publisher's start.
    pub number: u64,
    /// A batch of events.
    pub payload: Bytes,
}

/// A live message.
///
/// # Errors
/// What is wrong with it.
pub fn live(frames: &[Bytes]) -> Result<Numbered, Misframed> {
    match frames {
        [_topic, number, payload] => numbered(number, payload),
        _ => Err(Misframed::Frames {
            found: frames.len(),
            expected: "3",
        }),
    }
}

/// An answer to a replay request; none if it is the last.
///
/// # Errors
/// What is wrong with it.
pub fn replayed(frames: &[Bytes]) -> Result<Option<Numbered>, Misframed> {
    let answer = match frames {
        [_empty, number, payload] | [_empty, _, number, payload] => numbered(number, payload)?,
        _ => {
            return Err(Misframed::Frames {
                found: frames.len(),
                expected: "3 or 4",
            });
        }
    };
    Ok((answer.number != END).then_some(answer))
}

/// What is sent to ask for all from `number` on.
#[must_use]
pub fn request(number: u64) -> [Bytes; 2] {
    [Bytes::new(), Bytes::copy_from_slice(&number.to_be_bytes())]
}

fn numbered(number: &Bytes, payload: &Bytes) -> Result<Numbered, Misframed> {
    let eight: Result<[u8; 8], _> = number[..].try_into();
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(Misframed::Payload(payload.len()));
    }
    Ok(Numbered {
        number: u64::from_be_bytes(eight.map_err(|_| Misframed::Number(number.len()))?),
        payload: payload.clone(),
    })
}
