//! Stop strings: an answer ends before the one that is complete first, and nothing of it is ever given out.
//!
//! A stop string may come in pieces, so the end of a text that might be the beginning of one is held back until it is
//! known. That the first to be complete counts, and not the first to begin, makes an answer the same in whatever pieces
//! it comes.

use thiserror::Error;

/// Stop strings of one request, and the text that is held back for them.
#[derive(Clone, Debug, Default)]
pub struct Stops {
    stops: Vec<String>,
    held: String,
    stopped: bool,
}

/// Stop strings that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum StopError {
    /// It would stop at once.
    #[error("a stop string is empty, expected at least one character")]
    Empty,
    /// Too many, as of OpenAI's API.
    #[error("{0} stop strings, expected at most {max}", max = Stops::MAX)]
    TooMany(usize),
    /// Its bytes would be held back and searched with each token.
    #[error("a stop string has {0} bytes, expected at most {max}", max = Stops::BYTES_MAX)]
    TooLong(usize),
}

impl Stops {
    /// How many there may be.
    pub const MAX: usize = 4;
    /// How long each may be.
    pub const BYTES_MAX: usize = 256;

    /// These stop strings; there may be none.
    pub fn new(stops: Vec<String>) -> Result<Self, StopError> {
        if stops.len() > Self::MAX {
            return Err(StopError::TooMany(stops.len()));
        }
        for stop in &stops {
            match stop.len() {
                0 => return Err(StopError::Empty),
                length if length > Self::BYTES_MAX => return Err(StopError::TooLong(length)),
                _ => {}
            }
        }
        Ok(Self {
            stops,
            held: String::new(),
            stopped: false,
        })
    }

    /// True once a stop string has come.
    #[must_use]
    pub const fn stopped(&self) -> bool {
        self.stopped
    }

    /// Takes more of the text; returns what can be given out.
    pub fn push(&mut self, text: &str) -> String {
        if self.stopped {
            return String::new();
        }
        self.held.push_str(text);
        let found = self.stops.iter().filter_map(|stop| {
            let at = self.held.find(stop)?;
            Some((at + stop.len(), at))
        });
        let end = match found.min() {
            Some((_, at)) => {
                self.stopped = true;
                at
            }
            None => self.held.len() - self.doubtful(),
        };
        let rest = self.held.split_off(end);
        let out = std::mem::replace(&mut self.held, rest);
        if self.stopped {
            self.held.clear();
        }
        out
    }

    /// The answer has ended: what was held back.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// How many bytes at the end of the text might be the beginning of a stop string.
    fn doubtful(&self) -> usize {
        let held = self.held.as_bytes();
        let beginning = |stop: &String| {
            let longest = held.len().min(stop.len() - 1);
            let mut lengths = (1..=longest).rev();
            lengths.find(|&length| held.ends_with(&stop.as_bytes()[..length]))
        };
        let longest = self.stops.iter().filter_map(beginning).max();
        // A beginning that ends within a character is held back from the character's start on: `held` ends with whole
        // characters, so such a beginning is none.
        longest.unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stops(stops: &[&str]) -> Stops {
        Stops::new(stops.iter().map(ToString::to_string).collect()).expect("valid")
    }

    #[test]
    fn a_stop_string_in_pieces_is_found_and_not_given_out() {
        let mut stops = stops(&["</end>", "\n\n"]);
        let pieces = ["one </", "en", "x", " two\n", "three <", "/end", "> four"];
        let given: Vec<String> = pieces.iter().map(|piece| stops.push(piece)).collect();
        assert_eq!(given, ["one ", "", "</enx", " two", "\nthree ", "", ""]);
        assert!(stops.stopped());
        assert_eq!(
            (stops.push("more"), stops.finish()),
            (String::new(), String::new())
        );
    }

    #[test]
    fn what_was_held_back_comes_at_the_end() {
        let mut stops = stops(&["abc"]);
        assert_eq!(stops.push("xab"), "x");
        assert_eq!(stops.finish(), "ab");
        assert!(!stops.stopped());
    }

    #[test]
    fn the_first_of_several_stops_counts() {
        let mut stops = stops(&["b", "ab"]);
        assert_eq!(stops.push("xab"), "x");
    }

    #[test]
    fn lists_have_bounds() {
        assert_eq!(
            Stops::new(vec![String::new()]).err(),
            Some(StopError::Empty)
        );
        assert_eq!(
            Stops::new(vec!["a".into(); 5]).err(),
            Some(StopError::TooMany(5))
        );
        let long = Stops::new(vec!["a".repeat(257)]);
        assert_eq!(long.err(), Some(StopError::TooLong(257)));
    }
}
