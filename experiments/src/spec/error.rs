//! Why a specification is refused: where, which key, what was expected.

use super::locate::key_at;
use crate::nearest::with_hint;
use std::fmt;

/// An error in the text of a specification.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct SpecError {
    /// Line in the text, from 1; unknown if the text's reader does not say.
    pub line: Option<usize>,
    /// Dotted key; empty if the message of the TOML reader names it.
    pub key: String,
    /// What was found and what was expected.
    pub message: String,
}

impl SpecError {
    /// An error about `key` on `line`.
    pub(crate) fn new(line: usize, key: &str, message: impl fmt::Display) -> Self {
        Self {
            line: Some(line),
            key: key.to_string(),
            message: message.to_string(),
        }
    }

    /// From the TOML reader, which knows a byte position.
    pub(super) fn from_toml(text: &str, error: &toml::de::Error) -> Self {
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        let span = error.span();
        let line = span.as_ref().map(|span| line_of(text, span.start));
        let found = span.map(|span| (key_at(text, span.start), &text[span]));
        match found.and_then(|(key, found)| Some((key, wrong_type(&message, found)?))) {
            Some((key, message)) => Self { line, key, message },
            None => Self {
                line,
                key: String::new(),
                message: with_hint(&message),
            },
        }
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.key.is_empty() {
            write!(f, "`{}`: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// A message of serde's about a value, in plain words: what is wrong with a value of the wrong type, or which known key
/// may have been meant.
pub(crate) fn in_plain_words(message: &str, found: &str) -> String {
    wrong_type(message, found).unwrap_or_else(|| with_hint(message))
}

/// What was expected and found, if a message of serde's says that a value has the wrong type.
fn wrong_type(message: &str, found: &str) -> Option<String> {
    let by_serde = message.starts_with("invalid ");
    let by_serde = by_serde
        .then(|| message.rsplit_once(", expected "))
        .flatten();
    let expected = match by_serde {
        Some((_, expected)) => in_words(expected),
        // What this crate's own types say.
        None => message.strip_prefix("expected ")?,
    };
    Some(format!("expected {expected}, found {}", shortened(found)))
}

/// What serde expects, as a person would say it.
fn in_words(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number",
        "i64" => "a whole number, which may be negative",
        "f64" => "a number",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "a table",
        other if other.starts_with("struct ") => "a table",
        other => other,
    }
}

/// The first line of what was found, as much as fits in a message.
fn shortened(found: &str) -> String {
    const LETTERS: usize = 40;
    let line = found.trim().lines().next().unwrap_or_default();
    match line.char_indices().nth(LETTERS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_string(),
    }
}

/// The line, from 1, of a byte position.
pub(super) fn line_of(text: &str, position: usize) -> usize {
    1 + text[..position].matches('\n').count()
}
