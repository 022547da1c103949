//! Tables for the terminal.

use comfy_table::{CellAlignment, LineStyle, Table, TableStyle};
use conductor_sim::{FaultCounts, RunReport};
use std::io::{self, Write};

/// One line under the header, and no other: tables stay short.
const STYLE: TableStyle =
    TableStyle::new().header_separator(LineStyle::none().fill('─').junction('─'));

/// A table with a header, numbers to the right of the first column.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_style(STYLE).set_header(header.to_vec());
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// A table of words: everything to the left.
pub(crate) fn text_table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Table {
    let mut table = table(header, rows);
    for column in table.column_iter_mut() {
        column.set_cell_alignment(CellAlignment::Left);
    }
    table
}

/// Writes to stdout; a reader that has gone is not an error of ours, see `Failure::Closed`.
pub(crate) fn print(text: impl std::fmt::Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()
}

/// Writes one JSON document to stdout.
pub(crate) fn print_json(value: &serde_json::Value) -> io::Result<()> {
    print(serde_json::to_string_pretty(value).expect("a JSON value can be written"))
}

/// The policies as rows, with what people compare.
pub(crate) fn runs(reports: &[&RunReport]) -> String {
    let retried = reports.iter().any(|report| report.retry.tries > 0);
    let mut header = vec![
        "policy",
        "TTFT s\nmean",
        "\np50",
        "\np90",
        "\np99",
        "TBT ms\np50",
        "\np90",
        "\np99",
        "within\nSLO",
        "goodput\nreq/s",
        "tokens\nreused",
        "sent\nTB",
        "hot\ncopies",
        "\nrejected",
    ];
    if retried {
        header.extend(["done at\nfirst try", "in the\nend", "\ntries"]);
    }
    let rows = reports.iter().map(|report| {
        let (ttft, tbt) = (&report.ttft_s, &report.tbt_s);
        let mut row = vec![
            report.policy.clone(),
            format!("{:.2}", ttft.mean),
            format!("{:.2}", ttft.p50),
            format!("{:.2}", ttft.p90),
            format!("{:.2}", ttft.p99),
            format!("{:.1}", tbt.p50 * 1e3),
            format!("{:.1}", tbt.p90 * 1e3),
            format!("{:.1}", tbt.p99 * 1e3),
            format!("{:.1} %", report.effective_ratio * 100.0),
            format!("{:.2}", report.goodput_rps),
            format!("{:.1} %", report.hit_ratio_tokens * 100.0),
            format!("{:.1}", report.transfer.gb / 1e3),
            report.replications.to_string(),
            report.rejected.to_string(),
        ];
        if retried {
            row.extend([
                format!("{:.1} %", report.first_try_ratio * 100.0),
                format!("{:.1} %", report.eventual_ratio * 100.0),
                report.attempts.to_string(),
            ]);
        }
        row
    });
    let table = table(&header, rows);
    let Some(first) = reports.first() else {
        return String::new();
    };
    let clients = if retried {
        format!(
            "Clients that were turned away tried again, up to {} further times each; times count from the first try. ",
            first.retry.tries
        )
    } else {
        String::new()
    };
    let oracles: Vec<&str> = reports
        .iter()
        .filter(|report| report.oracle)
        .map(|report| &*report.policy)
        .collect();
    let oracle = match oracles.is_empty() {
        true => String::new(),
        false => format!(
            "{} reads true answer lengths: a bound, not a policy. ",
            oracles.join(", ")
        ),
    };
    let cpu: f64 = reports.iter().map(|report| report.cpu_s).sum();
    format!(
        "{trace}: {requests} requests{window}, {input:.1} M prompt tokens, {output:.2} M answer tokens, {simulated:.0} s {pace}, \
         on {cluster} ({p} prefill, {d} decode nodes)\n{table}{classes}\nSLO: TTFT {ttft} s, TBT {tbt} s (mean of a \
         request's longest 10 % of gaps). {clients}{oracle}{faults}Simulated in {cpu:.2} s of processor time. Digest {digest}.",
        classes = classes(reports),
        faults = faults(reports),
        window = window(first),
        trace = first.trace,
        requests = first.requests,
        input = first.input_tokens as f64 / 1e6,
        output = first.output_tokens as f64 / 1e6,
        simulated = first.simulated_s,
        pace = pace(first),
        cluster = first.cluster,
        p = first.nodes_prefill,
        d = first.nodes_decode,
        ttft = first.slo.ttft_s,
        tbt = first.slo.tbt_s,
        digest = if reports.len() == 1 {
            first.digest.as_str()
        } else {
            "by run in --json"
        },
    )
}

/// Which requests count, if not all.
fn window(report: &RunReport) -> String {
    match report
        .measured
        .map(|measured| (measured.from_s, measured.until_s))
    {
        None => String::new(),
        Some((from, None)) => format!(" that come from second {from} of it on"),
        Some((from, Some(until))) => format!(" that come in seconds {from} to {until} of it"),
    }
}

/// How requests came.
pub(crate) fn pace(report: &RunReport) -> String {
    match report.concurrency {
        None => format!("at speed {}", report.speed),
        Some(clients) => format!("in a closed loop of {clients}"),
    }
}

/// What happened of faults in each run that had some.
fn faults(reports: &[&RunReport]) -> String {
    let with = reports
        .iter()
        .filter_map(|report| Some((report, report.faults?)));
    let line = |(report, counts): (&&RunReport, FaultCounts)| {
        let happened = counts.numbers().into_iter().filter(|(_, count)| *count > 0);
        let happened: Vec<String> = happened
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        format!("Faults with {}: {}.\n", report.policy, happened.join(", "))
    };
    let lines: String = with.map(line).collect();
    match lines.is_empty() {
        true => lines,
        false => format!("\n{lines}"),
    }
}

/// Each class of each policy that lists some; nothing if none does.
fn classes(reports: &[&RunReport]) -> String {
    let entries = reports
        .iter()
        .flat_map(|report| report.classes.iter().map(move |class| (report, class)));
    let rows: Vec<Vec<String>> = entries
        .map(|(report, class)| {
            let percent = |share: f64| format!("{:.1} %", share * 100.0);
            let limits = match (class.slo, class.total_s) {
                (Some(slo), _) => format!("{} s, {} s", slo.ttft_s, slo.tbt_s),
                (None, total) => format!("{} s in all", total.unwrap_or_default()),
            };
            vec![
                report.policy.clone(),
                class.name.clone(),
                limits,
                class.requests.to_string(),
                class.rejected.to_string(),
                percent(class.effective_ratio),
                format!("{:.2} s", class.ttft_s.mean),
                percent(class.prefill_share),
                match class.workflows {
                    0 => "-".to_string(),
                    _ => percent(class.workflows_effective_ratio),
                },
            ]
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let header = [
        "policy",
        "class",
        "limits",
        "requests",
        "rejected",
        "within them",
        "TTFT mean",
        "of prefill",
        "workflows within",
    ];
    format!("\n\n{}", table(&header, rows))
}
