//! Why a specification is refused: where, which key, what was expected.

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
        Self {
            line: error.span().map(|span| line_of(text, span.start)),
            key: String::new(),
            message,
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

/// The line, from 1, of a byte position.
pub(super) fn line_of(text: &str, position: usize) -> usize {
    1 + text[..position].matches('\n').count()
}
