//! A profile as text: what a person who meets the file should know stands in it as comments.

use super::data::Data;
use super::outcome::Fitted;
use super::{CalibrateError, Options};
use conductor_core::config::CostText;
use std::fmt::Write;
use std::path::Path;

/// A comment's width.
const COLUMNS: usize = 116;

pub(super) fn profile(
    path: &Path,
    data: &Data,
    options: &Options,
    fitted: &Fitted,
    left_out: &[String],
) -> Result<String, CalibrateError> {
    let facts = &data.facts;
    let needed = |what: &str, given: &Option<String>, known: &Option<String>| {
        let found = given.as_ref().or(known.as_ref()).cloned();
        found.ok_or_else(|| CalibrateError::Option {
            option: format!("--{what}"),
            expected: format!("the {what} of the measurements, which the data does not say"),
            found: "none".to_string(),
        })
    };
    let source = needed("source", &options.source, &facts.source)?;
    let engine = needed("engine", &options.engine, &facts.engine)?;
    let date = needed("date", &options.date, &facts.date)?;

    let mut text = String::new();
    let file = path
        .file_name()
        .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let node = format!(
        "One node: {} x {}, {}. Written by `conductor calibrate {file}`: do not edit, calibrate again.",
        facts
            .tp
            .map_or_else(|| "?".to_string(), |tp| tp.to_string()),
        facts.gpu.as_deref().unwrap_or("accelerator not given"),
        facts.model.as_deref().unwrap_or("model not given"),
    );
    comment(&mut text, &node);
    comment(&mut text, &format!("Rows: {}.", data.rows));
    if let Some(slower) = &options.slower {
        let seconds = number(slower.token_s);
        let derived = format!(
            "Derived: each computed token takes {seconds} s more: {}.",
            slower.reason
        );
        comment(&mut text, &derived);
    }
    for reason in left_out {
        comment(&mut text, &format!("Left out: {reason}."));
    }
    for (key, value) in [
        ("name", &options.name),
        ("source", &source),
        ("engine", &engine),
        ("date", &date),
    ] {
        let value = toml::Value::String(value.clone());
        writeln!(text, "{key} = {value}").expect("text takes what is written");
    }
    text.push('\n');
    for constant in &fitted.constants.0 {
        // These two are part of [prefill].
        let of_prefill = ["hit_base_s", "cached_token_s"].contains(&constant.key);
        let unknown = constant.key == "activation_bytes_per_token" && constant.value == 0.0;
        if of_prefill || unknown {
            continue;
        }
        comment(&mut text, &sentence(&constant.reason));
        let whole = !constant.key.contains("_s");
        let value = match whole {
            true => grouped(constant.value as u64),
            false => number(constant.value),
        };
        writeln!(text, "{} = {value}", constant.key).expect("text takes what is written");
    }
    for (section, cost) in [("prefill", &fitted.prefill), ("decode", &fitted.decode)] {
        text.push('\n');
        head(&mut text, fitted, section);
        cost_section(&mut text, section, cost);
    }
    if let Some(mixed) = &fitted.mixed {
        text.push('\n');
        head(&mut text, fitted, "mixed");
        writeln!(text, "[mixed]\npass_s = {}", number(mixed.pass_s))
            .expect("text takes what is written");
    }
    Ok(text)
}

/// What is known of a section's fit.
fn head(text: &mut String, fitted: &Fitted, section: &str) {
    for part in fitted.parts.iter().filter(|part| part.what == section) {
        let line = format!(
            "A {} of {} settings. Held out ({}): error {} (median / p95 / max).",
            part.form,
            part.settings,
            part.how,
            part.held_out.text()
        );
        comment(text, &line);
        if let Some(other) = &part.other {
            comment(
                text,
                &format!("A {} held out: {}.", other.form, other.held_out.text()),
            );
        }
    }
    for (_, note) in fitted.notes.iter().filter(|(at, _)| *at == section) {
        comment(text, &sentence(note));
    }
}

fn cost_section(text: &mut String, section: &str, cost: &CostText) {
    let mut line = |content: String| {
        text.push_str(&content);
        text.push('\n');
    };
    line(format!("[{section}]"));
    line(format!("model = \"{}\"", cost.model));
    for (key, value) in [
        ("base_s", cost.base_s),
        ("token_s", cost.token_s),
        ("token2_s", cost.token2_s),
        ("hit_base_s", cost.hit_base_s),
        ("cached_token_s", cost.cached_token_s),
        ("request_s", cost.request_s),
        ("context_token_s", cost.context_token_s),
    ] {
        if let Some(value) = value {
            line(format!("{key} = {}", number(value)));
        }
    }
    let list = |axis: &[u64]| {
        let numbers: Vec<String> = axis.iter().map(u64::to_string).collect();
        format!("[{}]", numbers.join(", "))
    };
    if let (Some(rows), Some(columns), Some(seconds)) = (&cost.rows, &cost.columns, &cost.seconds) {
        line(format!("rows = {}", list(rows)));
        line(format!("columns = {}", list(columns)));
        line("seconds = [".to_string());
        for row in seconds {
            let numbers: Vec<String> = row.iter().map(|value| number(*value)).collect();
            line(format!("  [{}],", numbers.join(", ")));
        }
        line("]".to_string());
    }
}

/// Six digits: more than any timing has, and the same on every machine.
fn number(value: f64) -> String {
    if (1e-3..1e6).contains(&value) {
        // The digits behind the point that make six in all.
        let whole = format!("{:.0}", value.trunc())
            .trim_start_matches('0')
            .len();
        let zeros = match value {
            _ if whole > 0 => 0,
            0.1.. => 0,
            0.01.. => 1,
            _ => 2,
        };
        let text = format!("{value:.*}", 6 - whole.min(6) + zeros);
        if !text.contains('.') {
            return format!("{text}.0");
        }
        let text = text.trim_end_matches('0');
        return match text.ends_with('.') {
            true => format!("{text}0"),
            false => text.to_string(),
        };
    }
    if value > 0.0 {
        return format!("{value:.5e}");
    }
    "0.0".to_string()
}

/// `1_234_567`.
fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push('_');
        }
        text.push(digit);
    }
    text
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(char::to_uppercase);
    let text = first
        .into_iter()
        .flatten()
        .chain(letters)
        .collect::<String>();
    match text.ends_with('.') {
        true => text,
        false => format!("{text}."),
    }
}

/// A comment, wrapped; whatever was typed stays a comment.
fn comment(text: &mut String, content: &str) {
    let mut line = String::from("#");
    for word in content.split_whitespace() {
        if line.chars().count() + word.chars().count() > COLUMNS && line.len() > 1 {
            text.push_str(&line);
            text.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.extend(word.chars().filter(|letter| !letter.is_control()));
    }
    text.push_str(&line);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_six_digits() {
        for (value, text) in [
            (0.0, "0.0"),
            (0.030_527_298_8, "0.0305273"),
            (87.0, "87.0"),
            (99.400_000_1, "99.4"),
            (1.5, "1.5"),
            (9.370_841_9e-10, "9.37084e-10"),
            (0.001_234_567_8, "0.00123457"),
            (123_456.7, "123457.0"),
            (100_000.0, "100000.0"),
        ] {
            assert_eq!(number(value), text);
        }
        assert_eq!(grouped(1_327_000), "1_327_000");
        assert_eq!(grouped(80), "80");
    }
}
