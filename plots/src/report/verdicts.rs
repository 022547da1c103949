//! The table of what was published or required and what came out, with the filter above it.
//!
//! Every row says in words whether it holds; colour only repeats it. The filter is shown by the script that works it.

use super::Verdict;
use super::render::put;
use crate::text::escape;
use crate::ticks::short;

/// Heads of the columns, and whether they are of numbers.
const HEADS: [(&str, bool); 7] = [
    ("experiment", false),
    ("what", false),
    ("published", true),
    ("simulated", true),
    ("error %", true),
    ("required", true),
    ("verdict", false),
];

pub(super) fn put_all(out: &mut String, verdicts: &[Verdict]) {
    put_filter(out, verdicts);
    let judged = verdicts.iter().filter_map(|verdict| verdict.holds);
    let (held, judged) = (
        judged.clone().filter(|holds| *holds).count(),
        judged.count(),
    );
    let compared = verdicts
        .iter()
        .filter(|verdict| verdict.published.is_some());
    put(
        out,
        format_args!(
            "<div class=\"scroll\" role=\"region\" aria-label=\"Published and simulated\" \
             tabindex=\"0\">\n<table class=\"sortable verdicts\">\n\
             <caption>Published and simulated: {held} of {judged} hold; {} published \
             values are compared</caption>\n<thead><tr>",
            compared.count()
        ),
    );
    for (head, is_number) in HEADS {
        let class = if is_number { " class=\"number\"" } else { "" };
        put(
            out,
            format_args!("<th scope=\"col\"{class}><button type=\"button\">{head}</button></th>"),
        );
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    verdicts.iter().for_each(|verdict| put_one(out, verdict));
    out.push_str("</tbody>\n</table>\n</div>\n");
}

fn put_filter(out: &mut String, verdicts: &[Verdict]) {
    out.push_str(
        "<p class=\"filter\" hidden>\n<label>Experiment <select><option value=\"\">all</option>",
    );
    let mut last = "";
    for verdict in verdicts {
        if verdict.experiment != last {
            last = &verdict.experiment;
            let name = escape(last);
            put(
                out,
                format_args!("<option value=\"{name}\">{name}</option>"),
            );
        }
    }
    out.push_str(
        "</select></label>\n<label><input type=\"checkbox\"> only what does not hold</label>\n\
         <output></output>\n</p>\n",
    );
}

fn put_one(out: &mut String, verdict: &Verdict) {
    let (class, word) = match verdict.holds {
        Some(true) => ("holds", "✓ holds"),
        Some(false) => ("fails", "✗ does not hold"),
        None => ("open", "compared"),
    };
    let experiment = escape(&verdict.experiment);
    put(
        out,
        format_args!(
            "<tr data-experiment=\"{experiment}\" data-verdict=\"{class}\">\
             <th scope=\"row\">{experiment}</th><td>{}</td>",
            escape(&verdict.name)
        ),
    );
    put_number(out, verdict.published, &verdict.unit, None);
    put_number(out, Some(verdict.simulated), &verdict.unit, verdict.half);
    match error(verdict) {
        Some(percent) => put(
            out,
            format_args!("<td class=\"number\" data-value=\"{percent:.3}\">{percent:+.1}</td>"),
        ),
        None => out.push_str("<td class=\"number\">–</td>"),
    }
    let required = match verdict.required.as_str() {
        "" => "–".to_owned(),
        text => escape(text),
    };
    put(
        out,
        format_args!(
            "<td class=\"number\">{required}</td><td><span class=\"{class}\">{word}</span></td></tr>\n"
        ),
    );
}

fn put_number(out: &mut String, value: Option<f64>, unit: &str, half: Option<f64>) {
    let Some(value) = value.filter(|value| value.is_finite()) else {
        return out.push_str("<td class=\"number\">–</td>");
    };
    let half = match half.filter(|half| half.is_finite()) {
        Some(half) => format!(" ± {}", short(half)),
        None => String::new(),
    };
    let (number, unit) = (short(value), escape(unit));
    let gap = if unit.is_empty() { "" } else { " " };
    put(
        out,
        format_args!("<td class=\"number\" data-value=\"{value}\">{number}{half}{gap}{unit}</td>"),
    );
}

/// How far the simulated number lies from the published one, in % of it.
fn error(verdict: &Verdict) -> Option<f64> {
    let published = verdict.published?;
    let percent = (verdict.simulated - published) / published.abs() * 100.0;
    Some(percent).filter(|percent| percent.is_finite())
}
