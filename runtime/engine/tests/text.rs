//! Streams of tokens become text that never ends within a character and stops where it must.

use crate::files::tokenizer;
use conductor_engine::text::bytes::{IM_END, encode};
use conductor_engine::text::{Detokenizer, Stops, Stream, TextModel, Tokenizer};
use proptest::prelude::*;
use std::sync::Arc;

/// Everything that a detokenizer gives, piece by piece.
fn pieces(tokenizer: &Tokenizer, tokens: &[u32]) -> Vec<String> {
    let mut detokenizer = Detokenizer::new(tokenizer);
    let mut pieces: Vec<String> = tokens
        .iter()
        .map(|&token| detokenizer.push(token))
        .collect();
    pieces.push(detokenizer.finish());
    pieces
}

fn stream(stops: &[&str]) -> Stops {
    Stops::new(stops.iter().map(ToString::to_string).collect()).expect("valid")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn text_comes_whole_and_in_whole_characters(text in "(\\PC|[ \\n]|[😀é漢]){0,30}") {
        let broken = |text: &String| text.contains(char::REPLACEMENT_CHARACTER);
        for tokenizer in [Tokenizer::Bytes, Tokenizer::Model(Arc::new(tokenizer()))] {
            // A model that writes U+FFFD itself cannot be told from one whose character is not complete yet.
            if broken(&text) && matches!(tokenizer, Tokenizer::Model(_)) {
                continue;
            }
            let tokens = tokenizer.encode(&text, true).expect("tokens");
            let pieces = pieces(&tokenizer, &tokens);
            prop_assert_eq!(pieces.concat(), text.clone());
            prop_assert!(broken(&text) || !pieces.iter().any(broken));
        }
    }

    #[test]
    fn any_bytes_give_what_they_give_at_once(tokens in prop::collection::vec(0_u32..258, 0..60)) {
        let pieces = pieces(&Tokenizer::Bytes, &tokens);
        prop_assert_eq!(pieces.concat(), Tokenizer::Bytes.decode(&tokens));
    }

    #[test]
    fn any_tokens_are_not_waited_for_for_ever(tokens in prop::collection::vec(0_u32..256, 0..60)) {
        let tokenizer = Tokenizer::Model(Arc::new(tokenizer()));
        let pieces = pieces(&tokenizer, &tokens);
        let silent = |run: &[String]| run.iter().all(String::is_empty);
        // The last piece is the rest.
        let mut runs = pieces[..tokens.len()].windows(10);
        prop_assert!(!runs.any(silent), "{:?}", pieces);
    }

    #[test]
    fn stops_cut_the_text_before_the_first_that_is_complete(
        text in "[abc]{0,40}",
        stops in prop::collection::vec("[abc]{2,5}", 0..3),
        cuts in prop::collection::vec(1_usize..6, 40),
    ) {
        let found = stops.iter().filter_map(|stop| {
            let at = text.find(stop)?;
            Some((at + stop.len(), at))
        });
        let end = found.min().map(|(_, at)| at);
        let mut matcher = Stops::new(stops.clone()).expect("valid");
        let (mut out, mut rest) = (String::new(), text.as_str());
        for cut in cuts {
            let (piece, behind) = rest.split_at(cut.min(rest.len()));
            out.push_str(&matcher.push(piece));
            rest = behind;
        }
        prop_assume!(rest.is_empty());
        out.push_str(&matcher.finish());
        let expected = end.map_or(text.as_str(), |end| &text[..end]);
        prop_assert_eq!(matcher.stopped(), end.is_some());
        prop_assert_eq!(out, expected);
    }
}

#[test]
fn an_answer_ends_with_the_models_end_or_at_a_stop_and_then_stays_ended() {
    let model = TextModel::tiny();
    let mut answer = Stream::new(&model, stream(&[]));
    let mut said = String::new();
    for token in encode("grüß dich") {
        let written = answer.push(token);
        assert!(!written.ended);
        said.push_str(&written.text);
    }
    let end = answer.push(IM_END);
    assert_eq!(
        (said.as_str(), end.text.as_str(), end.ended),
        ("grüß dich", "", true)
    );
    assert!(answer.push(65).text.is_empty() && answer.finish().ended);

    let mut answer = Stream::new(&model, stream(&["dich"]));
    let tokens = encode("grüß dich!");
    let written: Vec<_> = tokens.iter().map(|&token| answer.push(token)).collect();
    let said: String = written
        .iter()
        .map(|written| written.text.as_str())
        .collect();
    assert_eq!(said, "grüß ");
    assert_eq!(written.iter().filter(|written| written.ended).count(), 2);
}

#[test]
fn what_a_stop_might_have_begun_with_is_given_out_at_the_end() {
    let model = TextModel::tiny();
    let mut answer = Stream::new(&model, stream(&["abc"]));
    for token in encode("xab") {
        answer.push(token);
    }
    // And half a character, which will not become a whole one.
    answer.push(0xc3);
    let rest = answer.finish();
    assert_eq!((rest.text.as_str(), rest.ended), ("ab\u{fffd}", true));
}
