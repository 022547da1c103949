//! Text to tokens and back, as the gateway needs it: a trait, so that a gateway in front of other engines can leave it
//! to them.
//!
//! Not here: tokenizers and templates ([`conductor_engine::text`]), and the tokens that end an answer, which the engine
//! knows.

use conductor_engine::text::{Detokenizer, Message, TextError, TextModel};
use std::path::Path;
use std::sync::Arc;

/// A model's text.
pub trait Text: Send + Sync {
    /// The tokens of a completion's prompt.
    ///
    /// # Errors
    /// If the tokenizer refuses the text.
    fn encode(&self, text: &str) -> Result<Vec<u32>, TextError>;

    /// The tokens of a conversation, as the model's template writes it, up to where the answer begins.
    ///
    /// # Errors
    /// If the template refuses the messages, or the tokenizer the text.
    fn chat(&self, messages: &[Message]) -> Result<Vec<u32>, TextError>;

    /// For the tokens of one answer.
    fn decoder(&self) -> Box<dyn Decode>;

    /// Every token is below it.
    fn vocabulary(&self) -> u64;

    /// Longest prompt and answer together, tokens.
    fn positions(&self) -> u64;
}

/// Tokens of one answer, becoming text.
pub trait Decode: Send {
    /// The text that a token adds, often none: it never ends within a character.
    fn push(&mut self, token: u32) -> String;

    /// What is left at the end of the answer; bytes that are no text become U+FFFD.
    fn finish(&mut self) -> String;
}

/// The text of `tiny`, or of a model's folder or file; its weights are not read.
///
/// # Errors
/// In one line, if there is no such model or its files are wrong.
pub fn text_of(name: &str) -> Result<Arc<dyn Text>, String> {
    let model = match name {
        "tiny" => TextModel::tiny(),
        path => TextModel::open(Path::new(path)).map_err(|error| format!("text: {error}"))?,
    };
    Ok(Arc::new(model))
}

impl Text for TextModel {
    fn encode(&self, text: &str) -> Result<Vec<u32>, TextError> {
        self.tokenizer.encode(text, true)
    }

    fn chat(&self, messages: &[Message]) -> Result<Vec<u32>, TextError> {
        // The template has written what the tokenizer would put before a text.
        let text = self.template.render(messages)?;
        self.tokenizer.encode(&text, false)
    }

    fn decoder(&self) -> Box<dyn Decode> {
        Box::new(Detokenizer::new(&self.tokenizer))
    }

    fn vocabulary(&self) -> u64 {
        self.tokenizer.vocabulary() as u64
    }

    fn positions(&self) -> u64 {
        self.positions as u64
    }
}

impl Decode for Detokenizer {
    fn push(&mut self, token: u32) -> String {
        self.push(token)
    }

    fn finish(&mut self) -> String {
        self.finish()
    }
}
