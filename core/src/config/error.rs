//! One error for all configuration text: where, which key, what was expected.

use alloc::string::{String, ToString};
use core::fmt;

/// Why a configuration is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Line in the text, from 1; unknown for configurations that were not read from text.
    pub line: Option<usize>,
    /// Dotted key, for example `prefill.balancing_threshold`; empty if the text is not even TOML.
    pub key: String,
    /// What was found and what was expected.
    pub message: String,
}

impl ConfigError {
    /// An error about `key`.
    pub(super) fn new(key: &str, message: impl fmt::Display) -> Self {
        Self {
            line: None,
            key: key.to_string(),
            // What was found may have line ends in it; one line is what a person gets.
            message: message.to_string().replace(['\n', '\r'], " "),
        }
    }

    /// From the TOML reader, which knows a byte position.
    pub(super) fn from_toml(text: &str, error: &toml::de::Error) -> Self {
        let line = error
            .span()
            .map(|span| 1 + text[..span.start].matches('\n').count());
        // The reader's messages may have several lines; one line is what a person gets.
        let message = error
            .message()
            .lines()
            .collect::<alloc::vec::Vec<_>>()
            .join(", ");
        Self {
            line,
            key: String::new(),
            message,
        }
    }

    /// Fills in the line on which the key stands in `text`.
    #[must_use]
    pub(super) fn located(mut self, text: &str) -> Self {
        let (section, leaf) = self.key.rsplit_once('.').unwrap_or(("", &self.key));
        let mut here = section.is_empty();
        for (i, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.starts_with('[') {
                here = line.trim_matches(['[', ']']).trim() == section;
            } else if here && line.split('=').next().is_some_and(|key| key.trim() == leaf) {
                self.line = Some(i + 1);
                break;
            }
        }
        self
    }
}

impl fmt::Display for ConfigError {
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

impl core::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_does_not_break_the_line() {
        let error = ConfigError::new("select", "unknown \"a\r\nb\"");
        assert_eq!(error.to_string(), "`select`: unknown \"a  b\"");
    }
}
