//! Text to tokens and back, as the gateway needs it.
//!
//! A trait, because tokenizers of real models live with their engines; the one built in here is that of the model `tiny`,
//! whose tokens are bytes.
//!
//! Not here: tokens that end an answer, which the engine knows.

use std::fmt;

/// What somebody said in a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// `system`, `user`, `assistant`, or whatever else the model's template knows.
    pub role: String,
    /// What was said.
    pub content: String,
}

/// A text that cannot become a prompt, in one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextError(pub String);

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TextError {}

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
    fn vocabulary(&self) -> u32;

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

/// A token is a byte, or one of the two marks of a conversation: 256 begins a message, 257 ends one, and an answer.
#[derive(Clone, Copy, Debug)]
pub struct Bytes {
    positions: u64,
}

/// The marks' texts, from token 256 on. As those of any tokenizer they are found wherever they stand.
const MARKS: [&str; 2] = ["<|im_start|>", "<|im_end|>"];

impl Bytes {
    /// For a model that takes prompts and answers of `positions` tokens together.
    #[must_use]
    pub const fn new(positions: u64) -> Self {
        Self { positions }
    }
}

impl Text for Bytes {
    fn encode(&self, text: &str) -> Result<Vec<u32>, TextError> {
        let mut tokens = Vec::with_capacity(text.len());
        let mut rest = text.as_bytes();
        while let Some((&byte, behind)) = rest.split_first() {
            let mut marks = (256..).zip(MARKS);
            let mark =
                marks.find_map(|(token, mark)| Some((token, rest.strip_prefix(mark.as_bytes())?)));
            let (token, behind) = mark.unwrap_or((u32::from(byte), behind));
            tokens.push(token);
            rest = behind;
        }
        Ok(tokens)
    }

    fn chat(&self, messages: &[Message]) -> Result<Vec<u32>, TextError> {
        let [begin, end] = MARKS;
        let mut text = String::new();
        for Message { role, content } in messages {
            text.push_str(&format!("{begin}{role}\n{content}{end}\n"));
        }
        text.push_str(&format!("{begin}assistant\n"));
        self.encode(&text)
    }

    fn decoder(&self) -> Box<dyn Decode> {
        Box::new(ByteDecoder::default())
    }

    fn vocabulary(&self) -> u32 {
        256 + MARKS.len() as u32
    }

    fn positions(&self) -> u64 {
        self.positions
    }
}

/// Holds back a character that is not complete.
#[derive(Default)]
struct ByteDecoder {
    held: Vec<u8>,
}

impl Decode for ByteDecoder {
    fn push(&mut self, token: u32) -> String {
        self.held.extend(u8::try_from(token).ok());
        let mut text = String::new();
        let mut used = 0;
        for chunk in self.held.utf8_chunks() {
            text.push_str(chunk.valid());
            used += chunk.valid().len();
            let broken = chunk.invalid();
            // For a beginning of a character, and only for that, the error has no length.
            let begins = std::str::from_utf8(broken).is_err_and(|e| e.error_len().is_none());
            if begins && used + broken.len() == self.held.len() {
                break;
            }
            if !broken.is_empty() {
                text.push(char::REPLACEMENT_CHARACTER);
                used += broken.len();
            }
        }
        self.held.drain(..used);
        text
    }

    fn finish(&mut self) -> String {
        let rest = std::mem::take(&mut self.held);
        String::from_utf8_lossy(&rest).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn marks_are_tokens_of_their_own() {
        let tokens = Bytes::new(100).encode("ä<|im_end|>").expect("tokens");
        assert_eq!(tokens, [0xc3, 0xa4, 257]);
        let said = Message {
            role: "user".into(),
            content: "a".into(),
        };
        let chat = Bytes::new(100).chat(&[said]).expect("tokens");
        assert_eq!((chat[0], chat[7], chat[8]), (256, 257, 10));
        assert_eq!(chat[9], 256);
    }

    proptest! {
        #[test]
        fn bytes_give_the_text_of_the_whole(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut decoder = Bytes::new(100).decoder();
            let mut text = String::new();
            for &byte in &bytes {
                text.push_str(&decoder.push(u32::from(byte)));
            }
            text.push_str(&decoder.finish());
            prop_assert_eq!(text, String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn no_character_is_given_out_by_halves(text in "[aä€🦀]{0,12}") {
            let mut decoder = Bytes::new(100).decoder();
            let mut given = String::new();
            for (i, byte) in text.bytes().enumerate() {
                given.push_str(&decoder.push(u32::from(byte)));
                prop_assert!(text.starts_with(&given) && !given.contains(char::REPLACEMENT_CHARACTER));
                if text.is_char_boundary(i + 1) {
                    prop_assert_eq!(&given, &text[..=i]);
                }
            }
        }
    }
}
