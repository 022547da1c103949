//! An answer as it is written: tokens in, text out, until something ends it.

use super::{Detokenizer, Stops, TextModel};
use std::sync::Arc;

/// One answer.
#[derive(Clone, Debug)]
pub struct Stream {
    ends: Arc<[u32]>,
    detokenizer: Detokenizer,
    stops: Stops,
    ended: bool,
}

/// What a token has added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Text for the client; often none.
    pub text: String,
    /// The answer is complete: the model has ended it, or a stop string has come. Nothing comes after it.
    pub ended: bool,
}

impl Stream {
    /// An answer of `model` that ends at one of `stops` at the latest.
    #[must_use]
    pub fn new(model: &TextModel, stops: Stops) -> Self {
        Self {
            ends: Arc::clone(&model.ends),
            detokenizer: Detokenizer::new(&model.tokenizer),
            stops,
            ended: false,
        }
    }

    /// Takes the next token.
    pub fn push(&mut self, token: u32) -> Written {
        if self.ended {
            return Written {
                text: String::new(),
                ended: true,
            };
        }
        if self.ends.contains(&token) {
            return self.finish();
        }
        let text = self.detokenizer.push(token);
        let text = self.stops.push(&text);
        self.ended = self.stops.stopped();
        Written {
            text,
            ended: self.ended,
        }
    }

    /// No token comes any more: gives out what was held back.
    pub fn finish(&mut self) -> Written {
        let mut text = String::new();
        if !self.ended {
            let rest = self.detokenizer.finish();
            text = self.stops.push(&rest);
            text.push_str(&self.stops.finish());
        }
        self.ended = true;
        Written { text, ended: true }
    }
}
