//! The tokenizer of the model `tiny`: a token is a byte, or one of the two marks of a conversation.
//!
//! Like any tokenizer's special tokens, the marks are found wherever they stand in a text, and give no text back.

/// Tokens that there are.
pub const VOCABULARY: usize = 258;
/// The token of [`MARKS`]`[0]`, which begins a message.
pub const IM_START: u32 = 256;
/// The token of [`MARKS`]`[1]`, which ends a message, and an answer.
pub const IM_END: u32 = 257;

/// The marks, from token 256 on.
pub const MARKS: [&str; 2] = ["<|im_start|>", "<|im_end|>"];

/// The tokens of a text.
#[must_use]
pub fn encode(text: &str) -> Vec<u32> {
    let mut tokens = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(character) = rest.chars().next() {
        let mut marks = MARKS.iter().zip(IM_START..);
        let mark = marks.find_map(|(mark, token)| Some((token, rest.strip_prefix(mark)?)));
        if let Some((token, behind)) = mark {
            tokens.push(token);
            rest = behind;
        } else {
            let (bytes, behind) = rest.split_at(character.len_utf8());
            tokens.extend(bytes.bytes().map(u32::from));
            rest = behind;
        }
    }
    tokens
}

/// The byte of a token; `None` for marks.
#[must_use]
pub fn byte(token: u32) -> Option<u8> {
    u8::try_from(token).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_marks() {
        let tokens = encode("<|im_start|>ä<|im_<|im_end|>");
        let mut expected = vec![IM_START, 0xc3, 0xa4];
        expected.extend("<|im_".bytes().map(u32::from));
        expected.push(IM_END);
        assert_eq!(tokens, expected);
        assert_eq!((byte(0xc3), byte(IM_END)), (Some(0xc3), None));
    }
}
