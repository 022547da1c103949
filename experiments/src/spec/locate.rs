//! Which key a position in a TOML text belongs to, for messages: the reader of TOML says where something is wrong, not
//! whose value it is.
//!
//! It is read as far as messages need it: strings, comments, heads of tables, inline tables and lists. The text before
//! the position has been read by the real reader without complaint.

/// The dotted key of the value at a byte position; empty if there is none.
pub(super) fn key_at(text: &str, position: usize) -> String {
    let mut scan = Scan::default();
    let mut at = 0;
    while at < position {
        at += scan.step(text, at);
    }
    // A table is at its head.
    let fresh = scan.key.is_empty() && scan.open.is_empty();
    if fresh && text.get(at..).is_some_and(|rest| rest.starts_with('[')) {
        scan.step(text, at);
    }
    scan.path()
}

#[derive(Default)]
struct Scan {
    /// The table's head.
    head: String,
    /// Keys of the lists and inline tables that are open.
    open: Vec<String>,
    key: String,
    /// What may become a key.
    word: String,
}

impl Scan {
    /// Reads what begins at a position, and says how long it is.
    fn step(&mut self, text: &str, at: usize) -> usize {
        let rest = &text[at..];
        for quote in ["\"\"\"", "'''", "\"", "'"] {
            if let Some(inside) = rest.strip_prefix(quote) {
                let length = end_of(inside, quote);
                self.word = inside[..length].to_string();
                return (length + 2 * quote.len()).min(rest.len());
            }
        }
        let line = rest.find('\n').unwrap_or(rest.len());
        let first = rest.chars().next().expect("the position is before the end");
        match first {
            '#' => return line.max(1),
            '[' if self.key.is_empty() && self.open.is_empty() => {
                self.head = rest[..line].trim_matches(['[', ']', ' ', '\r']).to_string();
                return line.max(1);
            }
            '\n' => {
                self.word.clear();
                if self.open.is_empty() {
                    self.key.clear();
                }
            }
            '=' => self.key = std::mem::take(&mut self.word).trim().to_string(),
            '[' | '{' => {
                self.open.push(std::mem::take(&mut self.key));
                self.word.clear();
            }
            ']' | '}' => self.key = self.open.pop().unwrap_or_default(),
            ',' => {
                self.key.clear();
                self.word.clear();
            }
            other => self.word.push(other),
        }
        first.len_utf8()
    }

    fn path(&self) -> String {
        let parts = [&self.head]
            .into_iter()
            .chain(&self.open)
            .chain([&self.key]);
        let parts: Vec<&str> = parts
            .map(String::as_str)
            .filter(|part| !part.is_empty())
            .collect();
        parts.join(".")
    }
}

/// Where a string ends, from its beginning.
fn end_of(inside: &str, quote: &str) -> usize {
    let mut at = 0;
    while let Some(rest) = inside.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with(quote) {
            return at;
        }
        let mut chars = rest.chars();
        let first = chars.next().map_or(0, char::len_utf8);
        let escaped = quote.starts_with('"') && rest.starts_with('\\');
        at += first
            + if escaped {
                chars.next().map_or(0, char::len_utf8)
            } else {
                0
            };
    }
    inside.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_tables_lists_and_strings() {
        let text = r#"
a = 1 # b = "
"c.d" = "x = \" y" 
e = [1, 2,
  3]
f = """
g = 4
""" 
[h.i]
j = { k = 5, l = [6, { m = 7 }], n = 8 }
[[o]]
p = 'q = r'
s = 9
"#;
        for (value, key) in [
            ("1 #", "a"),
            ("\"x", "c.d"),
            ("3]", "e"),
            ("\"\"\"\ng", "f"),
            ("5", "h.i.j.k"),
            ("6", "h.i.j.l"),
            ("7", "h.i.j.l.m"),
            ("8", "h.i.j.n"),
            ("[h.i]", "h.i"),
            ("'q", "o.p"),
            ("9", "o.s"),
        ] {
            let position = text.find(value).expect(value);
            assert_eq!(key_at(text, position), key, "{value}");
        }
    }
}
