//! The text of a model, from the package that has its engine: the gateway needs its tokenizer and its chat template, not
//! its weights.

use super::text::{Decode, Message, Text, TextError};
use conductor_engine::text::{Detokenizer, Message as Said, TextModel};
use std::path::Path;
use std::sync::Arc;

/// The text of `tiny`, or of a model's folder or file.
///
/// # Errors
/// In one line, if there is no such model or its files are wrong.
pub fn text_of(name: &str) -> Result<Arc<dyn Text>, String> {
    let model = match name {
        "tiny" => TextModel::tiny(),
        path => TextModel::open(Path::new(path)).map_err(|error| format!("text: {error}"))?,
    };
    Ok(Arc::new(Model(model)))
}

struct Model(TextModel);

fn refused(error: impl std::fmt::Display) -> TextError {
    TextError(error.to_string())
}

impl Text for Model {
    fn encode(&self, text: &str) -> Result<Vec<u32>, TextError> {
        self.0.tokenizer.encode(text, true).map_err(refused)
    }

    fn chat(&self, messages: &[Message]) -> Result<Vec<u32>, TextError> {
        let messages: Vec<Said> = messages
            .iter()
            .map(|Message { role, content }| Said {
                role: role.clone(),
                content: content.clone(),
            })
            .collect();
        let text = self.0.template.render(&messages).map_err(refused)?;
        self.0.tokenizer.encode(&text, false).map_err(refused)
    }

    fn decoder(&self) -> Box<dyn Decode> {
        Box::new(Decoder(Detokenizer::new(&self.0.tokenizer)))
    }

    fn vocabulary(&self) -> u32 {
        u32::try_from(self.0.tokenizer.vocabulary()).unwrap_or(u32::MAX)
    }

    fn positions(&self) -> u64 {
        self.0.positions as u64
    }
}

struct Decoder(Detokenizer);

impl Decode for Decoder {
    fn push(&mut self, token: u32) -> String {
        self.0.push(token)
    }

    fn finish(&mut self) -> String {
        self.0.finish()
    }
}
