//! A strict scanner over one line of JSON: just what a trace row needs, without building a tree.
//!
//! Why by hand: a row is four known fields, of which one is a long list of integers; a scanner reads it in one
//! pass into a reused buffer and can say field and column for every fault. Unknown fields may hold any JSON:
//! they are checked and skipped. Not here: which fields there are (`mooncake`).

use super::error::{RowProblem, excerpt};
use std::borrow::Cow;

/// How deep the value of an unknown field may nest.
const MAX_DEPTH: usize = 64;

/// Every number of so many digits fits 64 bits.
const DIGITS_THAT_FIT: usize = 19;

/// A place in one line.
pub(crate) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next byte that is not white space, without taking it; 0 at the end of the line.
    pub(crate) fn peek(&mut self) -> u8 {
        let bytes = self.text.as_bytes();
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = bytes.get(self.at) {
            self.at += 1;
        }
        bytes.get(self.at).copied().unwrap_or(0)
    }

    /// Takes `byte` if it comes next.
    pub(crate) fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == byte;
        self.at += usize::from(found);
        found
    }

    pub(crate) fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), RowProblem> {
        if self.take(byte) {
            Ok(())
        } else {
            Err(self.fault(expected))
        }
    }

    /// Nothing but white space may follow.
    pub(crate) fn end(&mut self) -> Result<(), RowProblem> {
        self.peek();
        if self.at == self.text.len() {
            Ok(())
        } else {
            Err(self.fault("the end of the line"))
        }
    }

    /// The fault "this should have stood here".
    pub(crate) fn fault(&self, expected: &'static str) -> RowProblem {
        let rest = &self.text.as_bytes()[self.at..];
        let found = if rest.is_empty() {
            "the end of the line".to_owned()
        } else {
            format!("`{}`", excerpt(rest))
        };
        RowProblem::Syntax {
            column: self.at + 1,
            expected,
            found,
        }
    }

    /// A string, with its escapes resolved.
    pub(crate) fn string(&mut self) -> Result<Cow<'a, str>, RowProblem> {
        self.expect(b'"', "a string in double quotes")?;
        let start = self.at;
        let bytes = self.text.as_bytes();
        loop {
            match bytes.get(self.at) {
                Some(b'"') => {
                    // Quotes are ASCII, so both cuts fall between characters.
                    let text = &self.text[start..self.at];
                    self.at += 1;
                    return Ok(Cow::Borrowed(text));
                }
                Some(b'\\') => return self.escaped_string(start).map(Cow::Owned),
                Some(0x20..) => self.at += 1,
                _ => return Err(self.fault("the closing quote of a string")),
            }
        }
    }

    /// The slow half of [`Self::string`]: there is an escape at the current place.
    fn escaped_string(&mut self, start: usize) -> Result<String, RowProblem> {
        let mut text = self.text[start..self.at].to_owned();
        loop {
            let rest = &self.text[self.at..];
            let Some(next) = rest.chars().next().filter(|c| *c >= ' ') else {
                return Err(self.fault("the closing quote of a string"));
            };
            match next {
                '"' => {
                    self.at += 1;
                    return Ok(text);
                }
                '\\' => text.push(self.escape()?),
                other => {
                    text.push(other);
                    self.at += other.len_utf8();
                }
            }
        }
    }

    /// One escape, from its backslash on.
    fn escape(&mut self) -> Result<char, RowProblem> {
        const EXPECTED: &str = "an escape of JSON";
        let simple = match self.text.as_bytes().get(self.at + 1) {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let first = self.hex4(self.at).ok_or_else(|| self.fault(EXPECTED))?;
                // A pair of surrogates is one character.
                let (code, length) = match first {
                    0xd800..=0xdbff => {
                        let second = self
                            .hex4(self.at + 6)
                            .filter(|s| (0xdc00..=0xdfff).contains(s));
                        let second = second.ok_or_else(|| self.fault(EXPECTED))?;
                        (0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00), 12)
                    }
                    other => (other, 6),
                };
                let resolved = char::from_u32(code).ok_or_else(|| self.fault(EXPECTED))?;
                self.at += length;
                return Ok(resolved);
            }
            _ => return Err(self.fault(EXPECTED)),
        };
        self.at += 2;
        Ok(simple)
    }

    /// The value of the escape `\uXXXX` that begins at `at`.
    fn hex4(&self, at: usize) -> Option<u32> {
        let escape = self.text.as_bytes().get(at..at + 6)?;
        let digits = escape.strip_prefix(b"\\u")?;
        digits.iter().try_fold(0, |value, digit| {
            Some(value * 16 + char::from(*digit).to_digit(16)?)
        })
    }

    /// A whole number without sign, fraction or exponent; `None`, and nothing taken, where something else stands.
    pub(crate) fn whole(&mut self) -> Option<u64> {
        self.peek();
        let digits = &self.text.as_bytes()[self.at..];
        let length = digits
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        let mut digit = digits[..length].iter().map(|digit| u64::from(digit - b'0'));
        let value = if length <= DIGITS_THAT_FIT {
            digit.fold(0_u64, |value, digit| {
                value.wrapping_mul(10).wrapping_add(digit)
            })
        } else {
            digit.try_fold(0_u64, |value, digit| {
                value.checked_mul(10)?.checked_add(digit)
            })?
        };
        let leading_zero = length > 1 && digits[0] == b'0';
        let goes_on = matches!(digits.get(length), Some(b) if !matches!(b, b',' | b']' | b'}' | b' ' | b'\t' | b'\r'));
        if length == 0 || leading_zero || goes_on {
            return None;
        }
        self.at += length;
        Some(value)
    }

    /// The text of a scalar that should have been a number: up to the next comma, bracket or space.
    pub(crate) fn token(&mut self) -> &'a str {
        self.peek();
        let rest = &self.text[self.at..];
        let length = rest.find([',', ']', '}', ' ', '\t']).unwrap_or(rest.len());
        &rest[..length]
    }

    /// Goes on behind the `token` that was just looked at.
    pub(crate) fn skip_token(&mut self, token: &str) {
        self.at += token.len();
    }

    /// What stands here, for a message.
    pub(crate) fn found(&mut self) -> String {
        match self.token() {
            "" if self.at == self.text.len() => "the end of the line".to_owned(),
            "" => excerpt(&self.text.as_bytes()[self.at..]),
            token => excerpt(token.as_bytes()),
        }
    }

    /// Checks and skips any value.
    pub(crate) fn skip_value(&mut self) -> Result<(), RowProblem> {
        // One entry for each open bracket: the byte that closes it.
        let mut open: Vec<u8> = Vec::new();
        loop {
            match self.peek() {
                bracket @ (b'{' | b'[') => {
                    self.at += 1;
                    if open.len() == MAX_DEPTH {
                        return Err(self.fault("a value that nests at most 64 deep"));
                    }
                    let close = if bracket == b'{' { b'}' } else { b']' };
                    if !self.take(close) {
                        open.push(close);
                        self.key_in(close)?;
                        continue;
                    }
                }
                b'"' => drop(self.string()?),
                _ => {
                    let token = self.token();
                    if !matches!(token, "true" | "false" | "null") && !is_number(token) {
                        return Err(self.fault("a JSON value"));
                    }
                    self.skip_token(token);
                }
            }
            // A value has ended: close what it closes, then the next one begins after a comma.
            loop {
                let Some(close) = open.last().copied() else {
                    return Ok(());
                };
                if !self.take(close) {
                    self.expect(b',', "`,` or the closing bracket")?;
                    self.key_in(close)?;
                    break;
                }
                open.pop();
            }
        }
    }

    /// Inside an object a key and a colon come before each value.
    fn key_in(&mut self, close: u8) -> Result<(), RowProblem> {
        if close == b'}' {
            self.string()?;
            self.expect(b':', "`:` after a field's name")?;
        }
        Ok(())
    }
}

/// True for a number as JSON writes it.
pub(crate) fn is_number(text: &str) -> bool {
    fn digits(text: &[u8]) -> usize {
        text.iter().take_while(|b| b.is_ascii_digit()).count()
    }
    let mut rest = text.strip_prefix('-').unwrap_or(text).as_bytes();
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest[0] == b'0') {
        return false;
    }
    rest = &rest[whole..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let length = digits(fraction);
        if length == 0 {
            return false;
        }
        rest = &fraction[length..];
    }
    if let Some(b'e' | b'E') = rest.first() {
        let exponent = &rest[1..];
        let exponent = exponent
            .strip_prefix(b"+")
            .or_else(|| exponent.strip_prefix(b"-"))
            .unwrap_or(exponent);
        let length = digits(exponent);
        return length > 0 && length == exponent.len();
    }
    rest.is_empty()
}
