//! MessagePack, pulled out of a slice piece by piece: no tree of values, no copy of texts.
//!
//! Nothing that a length claims is believed beyond what the slice can hold, so no input makes a reader take more memory
//! than a small multiple of its own size.
//!
//! Not here: what the values mean.

use thiserror::Error;

/// How deep containers may lie within each other in what is skipped.
pub const DEPTH_MAX: usize = 32;

/// Why a payload cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("byte {at}: {what}")]
pub struct Malformed {
    /// Where, counted from the payload's beginning.
    pub at: usize,
    /// What is wrong, and what was expected.
    pub what: &'static str,
}

/// A scalar, or the head of a container whose values follow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Token<'a> {
    /// Nothing.
    Nil,
    /// A truth value.
    Bool(bool),
    /// An integer that is not negative.
    Unsigned(u64),
    /// A negative integer.
    Negative(i64),
    /// A number with a fraction.
    Float(f64),
    /// A text.
    Text(&'a str),
    /// Bytes, also those of an extension.
    Bytes(&'a [u8]),
    /// So many values follow.
    Array(usize),
    /// So many pairs of values follow.
    Map(usize),
}

/// A place in a payload; copied, it reads on from there again.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    whole: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// At the beginning.
    #[must_use]
    pub const fn new(whole: &'a [u8]) -> Self {
        Self { whole, at: 0 }
    }

    /// True if all is read.
    #[must_use]
    pub const fn is_at_end(&self) -> bool {
        self.at == self.whole.len()
    }

    /// An error here.
    #[must_use]
    pub const fn malformed(&self, what: &'static str) -> Malformed {
        Malformed { at: self.at, what }
    }

    /// The next piece.
    ///
    /// # Errors
    /// If the payload ends in it, or it is no MessagePack.
    #[expect(
        clippy::should_implement_trait,
        reason = "it has an end that is not an error nowhere"
    )]
    pub fn next(&mut self) -> Result<Token<'a>, Malformed> {
        let head = self.number(1)? as u8;
        Ok(match head {
            0x00..=0x7f => Token::Unsigned(u64::from(head)),
            0x80..=0x8f => self.container(usize::from(head & 0x0f), Token::Map)?,
            0x90..=0x9f => self.container(usize::from(head & 0x0f), Token::Array)?,
            0xa0..=0xbf => self.text(usize::from(head & 0x1f))?,
            0xc0 => Token::Nil,
            0xc1 => return Err(self.malformed("0xc1 is no MessagePack")),
            0xc2 => Token::Bool(false),
            0xc3 => Token::Bool(true),
            0xc4..=0xc6 => {
                let length = self.length(1 << (head - 0xc4))?;
                Token::Bytes(self.bytes(length)?)
            }
            0xc7..=0xc9 => {
                let length = self.length(1 << (head - 0xc7))?;
                self.bytes(1)?;
                Token::Bytes(self.bytes(length)?)
            }
            0xca => Token::Float(f64::from(f32::from_bits(self.number(4)? as u32))),
            0xcb => Token::Float(f64::from_bits(self.number(8)?)),
            0xcc..=0xcf => Token::Unsigned(self.number(1 << (head - 0xcc))?),
            0xd0..=0xd3 => {
                let bytes = 1 << (head - 0xd0);
                let unused = 64 - 8 * bytes as u32;
                // Shifted up and down again, the sign is that of the shorter number.
                signed((self.number(bytes)? << unused) as i64 >> unused)
            }
            0xd4..=0xd8 => {
                self.bytes(1)?;
                Token::Bytes(self.bytes(1 << (head - 0xd4))?)
            }
            0xd9..=0xdb => {
                let length = self.length(1 << (head - 0xd9))?;
                self.text(length)?
            }
            0xdc..=0xdd => {
                let length = self.length(2 << (head - 0xdc))?;
                self.container(length, Token::Array)?
            }
            0xde..=0xdf => {
                let length = self.length(2 << (head - 0xde))?;
                self.container(length, Token::Map)?
            }
            0xe0..=0xff => Token::Negative(i64::from(head as i8)),
        })
    }

    /// Passes over a whole value.
    ///
    /// # Errors
    /// If it is malformed, or deeper than [`DEPTH_MAX`].
    pub fn skip(&mut self) -> Result<(), Malformed> {
        // Values that are still to be read: of this one, and of each container that is open.
        let mut left = [0_usize; DEPTH_MAX + 1];
        left[0] = 1;
        let mut depth = 0;
        loop {
            while left[depth] == 0 {
                if depth == 0 {
                    return Ok(());
                }
                depth -= 1;
            }
            left[depth] -= 1;
            let inside = match self.next()? {
                Token::Array(length) => length,
                Token::Map(pairs) => 2 * pairs,
                _ => 0,
            };
            if inside > 0 {
                if depth == DEPTH_MAX {
                    return Err(self.malformed("too deep, expected at most 32 containers"));
                }
                depth += 1;
                left[depth] = inside;
            }
        }
    }

    /// Passes over a whole value, and says how it is written.
    ///
    /// # Errors
    /// As of [`Self::skip`].
    pub fn skipped(&mut self) -> Result<&'a [u8], Malformed> {
        let from = self.at;
        self.skip()?;
        Ok(&self.whole[from..self.at])
    }

    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let rest = &self.whole[self.at..];
        let Some(bytes) = rest.get(..count) else {
            return Err(self.malformed("the payload ends too early"));
        };
        self.at += count;
        Ok(bytes)
    }

    /// A number of 1 to 8 bytes, big-endian.
    fn number(&mut self, bytes: usize) -> Result<u64, Malformed> {
        let bytes = self.bytes(bytes)?;
        Ok(bytes
            .iter()
            .fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    fn length(&mut self, bytes: usize) -> Result<usize, Malformed> {
        // Of at most 4 bytes.
        Ok(self.number(bytes)? as usize)
    }

    fn text(&mut self, length: usize) -> Result<Token<'a>, Malformed> {
        let bytes = self.bytes(length)?;
        let text = std::str::from_utf8(bytes);
        text.map(Token::Text)
            .map_err(|_| self.malformed("a text that is no UTF-8"))
    }

    /// Each value takes a byte at least.
    fn container(
        &self,
        length: usize,
        token: impl FnOnce(usize) -> Token<'a>,
    ) -> Result<Token<'a>, Malformed> {
        match length <= self.whole.len() - self.at {
            true => Ok(token(length)),
            false => Err(self.malformed("a container is longer than the payload")),
        }
    }
}

const fn signed<'a>(number: i64) -> Token<'a> {
    match number < 0 {
        true => Token::Negative(number),
        false => Token::Unsigned(number as u64),
    }
}
