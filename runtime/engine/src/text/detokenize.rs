//! Text out of tokens that come one by one, never ending within a character.
//!
//! A token may be a part of a character, and its text may depend on the token before (a space at the beginning of a
//! word, a run of single bytes). So the last tokens are decoded again with each new one, and what is new in their text
//! is given out, unless it ends with U+FFFD: that may be a character of which bytes are still to come.
//!
//! It may also be bytes that never become text, so waiting has a bound. For tokens that are bytes the rule is exact,
//! because an unfinished character can be told from a broken one.

use super::{Tokenizer, bytes};

/// After so many tokens without text, what there is counts as broken. The longest characters that people write as one
/// (families of emoji) have 25 bytes, each of whose characters of 4 bytes is given out by itself.
const PATIENCE: usize = 8;

/// Tokens of one answer, becoming text.
#[derive(Clone, Debug)]
pub struct Detokenizer {
    tokenizer: Tokenizer,
    /// The tokens of the text that was given out last, and those that have given none yet.
    tokens: Vec<u32>,
    /// How many of them have been given out.
    given: usize,
    /// Bytes of a character that is not complete, for tokens that are bytes.
    bytes: Vec<u8>,
}

impl Detokenizer {
    /// For the tokens of one answer.
    #[must_use]
    pub fn new(tokenizer: &Tokenizer) -> Self {
        Self {
            tokenizer: tokenizer.clone(),
            tokens: Vec::new(),
            given: 0,
            bytes: Vec::new(),
        }
    }

    /// The text that a token adds; often none.
    pub fn push(&mut self, token: u32) -> String {
        if matches!(self.tokenizer, Tokenizer::Bytes) {
            self.bytes.extend(bytes::byte(token));
            return self.complete();
        }
        self.tokens.push(token);
        self.decoded(PATIENCE)
    }

    /// What is left at the end of the answer.
    pub fn finish(&mut self) -> String {
        let rest = std::mem::take(&mut self.bytes);
        let mut text = String::from_utf8_lossy(&rest).into_owned();
        if self.given < self.tokens.len() {
            text.push_str(&self.decoded(0));
        }
        text
    }

    /// The complete characters of `bytes`; broken ones become U+FFFD.
    fn complete(&mut self) -> String {
        let mut text = String::new();
        let mut used = 0;
        for chunk in self.bytes.utf8_chunks() {
            text.push_str(chunk.valid());
            used += chunk.valid().len();
            let broken = chunk.invalid();
            if broken.is_empty() {
                continue;
            }
            let last = used + broken.len() == self.bytes.len();
            if last && is_beginning(broken) {
                break;
            }
            text.push(char::REPLACEMENT_CHARACTER);
            used += broken.len();
        }
        self.bytes.drain(..used);
        text
    }

    /// What is new in the text of the last tokens, if it is complete, or if it has been waited for `patience` tokens.
    fn decoded(&mut self, patience: usize) -> String {
        let before = self.tokenizer.decode(&self.tokens[..self.given]);
        let text = self.tokenizer.decode(&self.tokens);
        let waits = self.tokens.len() - self.given <= patience;
        if waits && text.ends_with(char::REPLACEMENT_CHARACTER) {
            return String::new();
        }
        // Where the text of the old tokens has changed there is nothing right to do; nothing is said twice.
        let new = text.get(before.len()..).unwrap_or_default().to_owned();
        if !waits {
            // What was given out as broken must not become something else.
            self.tokens.clear();
        } else if !new.is_empty() {
            self.tokens.drain(..self.given);
        } else {
            return new;
        }
        self.given = self.tokens.len();
        new
    }
}

/// True for bytes that more bytes could make a character.
fn is_beginning(bytes: &[u8]) -> bool {
    // For a part of a character, and only for that, the error has no length.
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}
