//! Stop strings: an answer ends before the one that is complete first, and nothing of it is ever given out.
//!
//! One may come in pieces, so the end of a text that might be its beginning is held back until it is known. That the
//! first to be complete counts, and not the first to begin, makes the answer the same in whatever pieces it comes.

/// Stop strings of one request, and the text that is held back for them.
#[derive(Clone, Debug, Default)]
pub(super) struct Stops {
    stops: Vec<String>,
    held: String,
    stopped: bool,
}

impl Stops {
    /// None of `stops` is empty.
    pub(super) fn new(stops: Vec<String>) -> Self {
        Self {
            stops,
            held: String::new(),
            stopped: false,
        }
    }

    /// True once one has come.
    pub(super) const fn stopped(&self) -> bool {
        self.stopped
    }

    /// Takes more of the text; returns what can be given out.
    pub(super) fn push(&mut self, text: &str) -> String {
        if self.stopped {
            return String::new();
        }
        if self.stops.is_empty() {
            return text.to_owned();
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
    pub(super) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// How many bytes at the end of the text might be the beginning of a stop string. Both are whole characters from
    /// there on: a match that began within one would need a byte that no character begins with.
    fn doubtful(&self) -> usize {
        let held = self.held.as_bytes();
        let beginning = |stop: &String| {
            let longest = held.len().min(stop.len() - 1);
            let mut lengths = (1..=longest).rev();
            lengths.find(|&length| held.ends_with(&stop.as_bytes()[..length]))
        };
        let longest = self.stops.iter().filter_map(beginning).max();
        longest.unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pieces_give_what_the_whole_text_gives(
            pieces in prop::collection::vec("[abä]{0,4}", 0..8),
            stops in prop::collection::vec("[abä]{1,3}", 0..3),
        ) {
            let whole = pieces.concat();
            let found = stops.iter().filter_map(|stop| {
                let at = whole.find(stop.as_str())?;
                Some((at + stop.len(), at))
            });
            let cut = found.min().map(|(_, at)| at);
            let mut machine = Stops::new(stops);
            let mut given = String::new();
            for piece in &pieces {
                given.push_str(&machine.push(piece));
            }
            prop_assert_eq!(machine.stopped(), cut.is_some());
            given.push_str(&machine.finish());
            prop_assert_eq!(given, &whole[..cut.unwrap_or(whole.len())]);
        }
    }
}
