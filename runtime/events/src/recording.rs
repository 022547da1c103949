//! Messages of a publisher in a file, as they were received: what tests decode.
//!
//! A file is `conductor-events 1\n`, then one record a message: a byte that says how it came (`L` live, `R` an answer
//! to a replay request), a byte with the number of its frames, and of each frame its length in 4 bytes, big-endian, and
//! the frame.
//!
//! Not here: how messages are received ([`crate::source`]), what they say.

use bytes::Bytes;
use thiserror::Error;

/// A file's first line.
const HEADER: &[u8] = b"conductor-events 1\n";
/// Frames of a message at most.
const FRAMES_MAX: usize = 16;

/// How a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Came {
    /// It was published.
    Live,
    /// It was asked for.
    Replayed,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// How it came.
    pub came: Came,
    /// All of it.
    pub frames: Vec<Bytes>,
}

/// A file that is no recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NotRecorded {
    /// Its first line.
    #[error("expected the first line to be \"conductor-events 1\"")]
    Header,
    /// A message.
    #[error("byte {0}: expected a message: L or R, frames, and of each its length")]
    Message(usize),
}

/// The beginning of a file.
#[must_use]
pub fn header() -> Vec<u8> {
    HEADER.to_vec()
}

/// Appends a message to a file. Frames beyond the sixteenth, which no publisher sends, are left out.
pub fn append(file: &mut Vec<u8>, message: &Recorded) {
    let frames = &message.frames[..message.frames.len().min(FRAMES_MAX)];
    file.push(match message.came {
        Came::Live => b'L',
        Came::Replayed => b'R',
    });
    file.push(frames.len() as u8);
    for frame in frames {
        file.extend_from_slice(&(frame.len() as u32).to_be_bytes());
        file.extend_from_slice(frame);
    }
}

/// The messages of a file.
///
/// # Errors
/// Where it is no recording.
pub fn read(file: &[u8]) -> Result<Vec<Recorded>, NotRecorded> {
    let mut rest = file.strip_prefix(HEADER).ok_or(NotRecorded::Header)?;
    let mut messages = Vec::new();
    while !rest.is_empty() {
        let at = NotRecorded::Message(file.len() - rest.len());
        let (message, behind) = message(rest).ok_or(at)?;
        messages.push(message);
        rest = behind;
    }
    Ok(messages)
}

fn message(bytes: &[u8]) -> Option<(Recorded, &[u8])> {
    let (&[came, count], mut rest) = bytes.split_first_chunk()?;
    let came = match came {
        b'L' => Came::Live,
        b'R' => Came::Replayed,
        _ => return None,
    };
    if usize::from(count) > FRAMES_MAX {
        return None;
    }
    let mut frames = Vec::with_capacity(usize::from(count));
    for _ in 0..count {
        let (length, behind) = rest.split_first_chunk()?;
        let length = u32::from_be_bytes(*length) as usize;
        let (frame, behind) = behind.split_at_checked(length)?;
        frames.push(Bytes::copy_from_slice(frame));
        rest = behind;
    }
    Some((Recorded { came, frames }, rest))
}
