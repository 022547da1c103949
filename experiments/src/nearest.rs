//! The name that somebody may have meant, by its letters.

/// Names further apart than this share of the longer one's letters are not slips of the same word.
const FAR: f64 = 0.4;

/// The known name that is nearest to a written one, if any is near. Of equals the first.
pub(crate) fn nearest<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let distance = |name: &str| strsim::osa_distance(written, name);
    let near = |name: &&str| {
        let longer = written.chars().count().max(name.chars().count());
        distance(name) as f64 <= FAR * longer as f64
    };
    known
        .into_iter()
        .filter(near)
        .min_by_key(|name| distance(name))
}

/// What a message about an unknown name says of the nearest known one: ` (did you mean "x"?)`, or nothing.
pub(crate) fn hint<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let found = nearest(written, known);
    found.map_or_else(String::new, |name| format!(" (did you mean \"{name}\"?)"))
}

/// A message of serde's about a key that it does not know (`unknown field \u{60}a\u{60}, expected one of
/// \u{60}b\u{60}, \u{60}c\u{60}`), with the nearest of those that it lists; any other as it is.
pub(crate) fn with_hint(message: &str) -> String {
    let names: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    match (message.starts_with("unknown field"), &names[..]) {
        (true, [written, known @ ..]) => {
            let hint = hint(written, known.iter().copied());
            match message.split_once(", expected") {
                Some((unknown, rest)) => format!("{unknown}{hint}, expected{rest}"),
                None => message.to_string(),
            }
        }
        _ => message.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_other_words_are_not() {
        let known = ["requests", "rate", "retry", "seed"];
        assert_eq!(nearest("reqests", known), Some("requests"));
        assert_eq!(nearest("reuqests", known), Some("requests"));
        assert_eq!(nearest("sede", known), Some("seed"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(
            with_hint("unknown field `titel`, expected one of `name`, `title`"),
            "unknown field `titel` (did you mean \"title\"?), expected one of `name`, `title`"
        );
        let other = "unknown field `x`, expected `name`";
        assert_eq!(with_hint(other), other);
        assert_eq!(with_hint("invalid type"), "invalid type");
    }
}
