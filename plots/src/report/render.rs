//! A report as HTML text. Every text goes through [`escape`]; pictures alone do not.

use std::fmt::Write as _;

use super::{Best, Cell, Column, ColumnKind, Figure, Part, Report, ResultTable, verdicts};
use crate::text::escape;

const STYLE: &str = include_str!("report.css");
const TABLES: &str = include_str!("report.js");
const FIGURES: &str = include_str!("figure.js");

/// Nothing is fetched from anywhere, whatever a text may contain.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                      img-src data:; base-uri 'none'; form-action 'none'";

pub(super) fn page(report: &Report) -> String {
    let title = escape(&report.title);
    let mut out = String::new();
    put(
        &mut out,
        format_args!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <header>\n<h1>{title}</h1>\n"
        ),
    );
    if !report.summary.is_empty() {
        put(
            &mut out,
            format_args!("<p class=\"summary\">{}</p>\n", escape(&report.summary)),
        );
    }
    out.push_str("</header>\n");
    let mut figures = 0;
    for part in &report.parts {
        match part {
            Part::Contents => put_contents(&mut out, report),
            Part::Section { id, title } => {
                let (id, title) = (escape(id), escape(title));
                put(&mut out, format_args!("<h2 id=\"{id}\">{title}</h2>\n"));
            }
            Part::Heading(text) => put(&mut out, format_args!("<h2>{}</h2>\n", escape(text))),
            Part::Text(text) => put(&mut out, format_args!("<p>{}</p>\n", escape(text))),
            Part::Facts(facts) => put_facts(&mut out, facts),
            Part::Results(table) => put_results(&mut out, table),
            Part::Figure(figure) => {
                figures += 1;
                put_figure(&mut out, figures, figure);
            }
            Part::Verdicts(verdicts) => verdicts::put_all(&mut out, verdicts),
            Part::Details { title, text } => put(
                &mut out,
                format_args!(
                    "<details>\n<summary>{}</summary>\n<pre>{}</pre>\n</details>\n",
                    escape(title),
                    escape(text)
                ),
            ),
        }
    }
    out.push_str("</main>\n");
    if !report.footer.is_empty() {
        put(
            &mut out,
            format_args!("<footer>{}</footer>\n", escape(&report.footer)),
        );
    }
    put(
        &mut out,
        format_args!("<script>\n{TABLES}{FIGURES}</script>\n</body>\n</html>\n"),
    );
    out
}

fn put_contents(out: &mut String, report: &Report) {
    out.push_str("<nav aria-label=\"Contents\">\n<ul>\n");
    for part in &report.parts {
        if let Part::Section { id, title } = part {
            let (id, title) = (escape(id), escape(title));
            put(
                out,
                format_args!("<li><a href=\"#{id}\">{title}</a></li>\n"),
            );
        }
    }
    out.push_str("</ul>\n</nav>\n");
}

pub(super) fn put(out: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = out.write_fmt(what);
}

fn put_facts(out: &mut String, facts: &[(String, String)]) {
    out.push_str("<dl class=\"facts\">\n");
    for (name, value) in facts {
        let (name, value) = (escape(name), escape(value));
        put(
            out,
            format_args!("<div><dt>{name}</dt><dd>{value}</dd></div>\n"),
        );
    }
    out.push_str("</dl>\n");
}

fn put_figure(out: &mut String, number: usize, figure: &Figure) {
    let (title, caption) = (escape(&figure.title), escape(&figure.caption));
    put(
        out,
        format_args!(
            "<figure id=\"figure-{number}\" aria-label=\"{title}\">\n<div class=\"card\">\n{}</div>\n\
         <figcaption><b>Figure {number}.</b> {caption}</figcaption>\n</figure>\n",
            figure.svg
        ),
    );
}

fn put_results(out: &mut String, table: &ResultTable) {
    let caption = if table.caption.is_empty() {
        "Results"
    } else {
        &table.caption
    };
    let caption = escape(caption);
    put(
        out,
        format_args!(
            "<div class=\"scroll\" role=\"region\" aria-label=\"{caption}\" tabindex=\"0\">\n\
         <table class=\"sortable\">\n<caption>{caption}</caption>\n<thead><tr>"
        ),
    );
    for column in &table.columns {
        let class = if column.is_text() {
            ""
        } else {
            " class=\"number\""
        };
        let unit = match column.unit.as_str() {
            "" => String::new(),
            unit => format!(" <small>{}</small>", escape(unit)),
        };
        let name = escape(&column.name);
        put(
            out,
            format_args!(
                "<th scope=\"col\"{class}><button type=\"button\">{name}{unit}</button></th>"
            ),
        );
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    let best: Vec<Option<f64>> = table
        .columns
        .iter()
        .enumerate()
        .map(|(i, column)| best(table, i, column))
        .collect();
    for row in &table.rows {
        out.push_str("<tr>");
        for (i, column) in table.columns.iter().enumerate() {
            put_cell(out, i, column, row.get(i), best[i]);
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody>\n</table>\n</div>\n");
}

/// The best number of column `i`, if there are several to choose from.
fn best(table: &ResultTable, i: usize, column: &Column) -> Option<f64> {
    let numbers = table.rows.iter().filter_map(|row| match row.get(i) {
        Some(Cell::Number(number)) if number.is_finite() => Some(*number),
        _ => None,
    });
    if table.rows.len() < 2 {
        return None;
    }
    match column.best {
        Best::None => None,
        Best::Lowest => numbers.min_by(f64::total_cmp),
        Best::Highest => numbers.max_by(f64::total_cmp),
    }
}

fn put_cell(out: &mut String, i: usize, column: &Column, cell: Option<&Cell>, best: Option<f64>) {
    let (text, key) = match cell {
        Some(Cell::Text(text)) => (escape(text), String::new()),
        Some(Cell::Number(number)) if number.is_finite() => {
            (column.written(*number), format!(" data-value=\"{number}\""))
        }
        _ => ("–".to_owned(), String::new()),
    };
    if i == 0 {
        return put(out, format_args!("<th scope=\"row\"{key}>{text}</th>"));
    }
    // Numbers that are written alike are equally good.
    let is_best = best.is_some_and(|best| !key.is_empty() && column.written(best) == text);
    let class = match (column.is_text(), is_best) {
        (true, _) => "",
        (false, false) => " class=\"number\"",
        (false, true) => " class=\"number best\"",
    };
    put(out, format_args!("<td{class}{key}>{text}</td>"));
}

impl Column {
    fn is_text(&self) -> bool {
        self.kind == ColumnKind::Text
    }

    fn written(&self, number: f64) -> String {
        match self.kind {
            ColumnKind::Text => format!("{number}"),
            ColumnKind::Number { digits } => thousands(&format!("{number:.digits$}")),
            ColumnKind::Share { digits } => format!("{:.digits$}", number * 100.0),
        }
    }
}

/// `12345.6` as `12,345.6`.
fn thousands(number: &str) -> String {
    let (sign, rest) = number
        .strip_prefix('-')
        .map_or(("", number), |rest| ("-", rest));
    let (whole, fraction) = rest
        .split_once('.')
        .map_or((rest, None), |(w, f)| (w, Some(f)));
    let mut grouped = String::new();
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    match fraction {
        Some(fraction) => format!("{sign}{grouped}.{fraction}"),
        None => format!("{sign}{grouped}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_parted() {
        assert_eq!(thousands("1234567.891"), "1,234,567.891");
        assert_eq!(thousands("-1234"), "-1,234");
        assert_eq!(thousands("123"), "123");
        assert_eq!(thousands("0.1234"), "0.1234");
    }
}
