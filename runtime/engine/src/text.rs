//! Text to tokens and back.
//!
//! [`Tokenizer`] for prompts, [`ChatTemplate`] for conversations, [`Stream`] for answers as they come: text that never
//! ends within a character, cut at stop strings.
//!
//! Not here: what a request looks like (the gateway's), or how tokens are chosen.

pub mod bytes;
mod detokenize;
mod stop;
mod stream;
mod template;
mod tokenizer;

pub use detokenize::Detokenizer;
pub use stop::{StopError, Stops};
pub use stream::{Stream, Written};
pub use template::{ChatTemplate, Message};
pub use tokenizer::{TextError, TextModel, Tokenizer};
