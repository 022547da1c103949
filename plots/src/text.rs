//! Text without fonts: estimated widths, wrapping and escaping.
//!
//! No font is read, so that the same input gives the same bytes everywhere. Widths are those of
//! Helvetica's letters by class, widened a little because the viewer's font may differ.

/// Estimated width of `text` in px at font size `size` px.
pub(crate) fn width(text: &str, size: f64, bold: bool) -> f64 {
    let ems: f64 = text.chars().map(ems).sum();
    ems * size * if bold { 1.14 } else { 1.07 }
}

fn ems(letter: char) -> f64 {
    match letter {
        'i' | 'j' | 'l' | '\'' | '|' | '.' | ',' | ':' | ';' | '!' => 0.26,
        'f' | 't' | 'r' | ' ' | '(' | ')' | '[' | ']' | '/' | '\\' | '-' | 'I' | '"' | '`' => 0.33,
        'm' | 'w' | 'M' | 'W' | '%' | '@' | '→' | '←' | '—' => 0.88,
        'a'..='z' | '0'..='9' | '_' | '+' | '=' | '<' | '>' | '–' | '·' | '×' => 0.56,
        'A'..='Z' | '&' => 0.69,
        // East Asian letters and pictographs fill a square.
        '\u{1100}'.. => 1.0,
        _ => 0.62,
    }
}

/// Cuts `text` to `limit` px, with an ellipsis where something was cut.
pub(crate) fn ellipsize(text: &str, size: f64, bold: bool, limit: f64) -> String {
    if width(text, size, bold) <= limit {
        return text.to_owned();
    }
    let mut kept = String::new();
    for letter in text.chars() {
        kept.push(letter);
        if width(&kept, size, bold) + width("…", size, bold) > limit {
            kept.pop();
            break;
        }
    }
    kept.truncate(kept.trim_end().len());
    kept.push('…');
    kept
}

/// Breaks `text` after spaces, hyphens and the like into at most `lines` lines of `limit` px; what
/// does not fit is cut with an ellipsis.
pub(crate) fn wrap(text: &str, size: f64, bold: bool, limit: f64, lines: usize) -> Vec<String> {
    let mut done: Vec<String> = Vec::new();
    let mut line = String::new();
    let mut rest = text
        .split_inclusive([' ', '-', '+', '_', '/', ','])
        .peekable();
    while let Some(part) = rest.next() {
        let longer = format!("{line}{part}");
        if line.is_empty() || width(longer.trim_end(), size, bold) <= limit {
            line = longer;
        } else if done.len() + 1 < lines {
            done.push(core::mem::replace(&mut line, part.to_owned()));
        } else {
            line = longer;
            line.extend(rest.by_ref());
        }
    }
    done.push(line);
    done.iter()
        .map(|line| ellipsize(line.trim(), size, bold, limit))
        .collect()
}

/// `text` made safe for element content and attribute values of XML and HTML. Characters that XML
/// does not allow become U+FFFD.
pub(crate) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            '\n' | '\t' => safe.push(letter),
            '\0'..='\u{1f}' | '\u{7f}' | '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            _ => safe.push(letter),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapping_breaks_after_joints_and_cuts_the_rest() {
        let lines = |text, limit, most| wrap(text, 11.0, false, limit, most);
        assert_eq!(lines("random", 60.0, 3), ["random"]);
        assert_eq!(
            lines("local-cache-aware", 60.0, 3),
            ["local-", "cache-", "aware"]
        );
        assert_eq!(lines("local-cache-aware", 60.0, 2), ["local-", "cache-a…"]);
        assert_eq!(lines("unbreakablename", 40.0, 3), ["unbr…"]);
        assert_eq!(lines("", 40.0, 3), [""]);
    }

    #[test]
    fn escaping_leaves_no_markup() {
        assert_eq!(
            escape("a<b>&\"c'\u{1}"),
            "a&lt;b&gt;&amp;&quot;c&#39;\u{fffd}"
        );
    }
}
