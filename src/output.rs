//! The files of `--out`.

use crate::commands::replay::run_folder;
use crate::failure::Failure;
use crate::figures;
use conductor_core::config::RolesConfig;
use conductor_experiments::execute::Done;
use conductor_plots::{Best, Cell, Column, Figure, Report, ResultTable};
use conductor_sim::RunReport;
use conductor_sim::report::{write_requests, write_roles, write_timeline};
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;

/// A run's JSON.
pub(crate) fn json(report: &RunReport) -> serde_json::Value {
    serde_json::to_value(report).expect("a report is numbers and strings")
}

/// Makes an output folder before anything is run for it.
pub(crate) fn prepare(folder: Option<&Path>) -> Result<(), Failure> {
    let Some(folder) = folder else { return Ok(()) };
    fs::create_dir_all(folder).map_err(|error| {
        Failure::Input(format!(
            "{}: expected a folder to write into: {error}",
            folder.display()
        ))
    })
}

/// Refuses to write onto what is read.
pub(crate) fn not_the_same(input: &Path, output: &Path) -> Result<(), Failure> {
    match (fs::canonicalize(input), fs::canonicalize(output)) {
        (Ok(a), Ok(b)) if a == b => Err(Failure::Input(format!(
            "{}: expected an output that is not the input",
            output.display()
        ))),
        _ => Ok(()),
    }
}

/// Writes the files of one run.
pub(crate) fn write_replay(folder: &Path, done: &Done) -> Result<(), Failure> {
    write_run(folder, done)?;
    write_page(folder, &[done])
}

/// Writes the files of several runs: a folder each, and one page for all.
pub(crate) fn write_compare(folder: &Path, runs: &[Done]) -> Result<(), Failure> {
    for done in runs {
        write_run(&run_folder(folder, &done.report.policy), done)?;
    }
    let reports: Vec<_> = runs.iter().map(|done| json(&done.report)).collect();
    write_text(
        &folder.join("run.json"),
        &pretty(&serde_json::json!({ "runs": reports })),
    )?;
    write_page(folder, &runs.iter().collect::<Vec<_>>())
}

fn write_run(folder: &Path, done: &Done) -> Result<(), Failure> {
    fs::create_dir_all(folder).map_err(|error| Failure::file(folder, error))?;
    write_text(&folder.join("run.json"), &pretty(&json(&done.report)))?;
    write_text(&folder.join("policy.toml"), &done.config.policy.to_toml())?;
    write_text(&folder.join("cluster.toml"), &done.config.cluster.to_toml())?;
    let requests = folder.join("requests.csv");
    write_requests(&done.result, create(&requests)?)
        .map_err(|error| Failure::file(&requests, error))?;
    let timeline = folder.join("timeline.csv");
    write_timeline(&done.config, &done.result, create(&timeline)?)
        .map_err(|error| Failure::file(&timeline, error))?;
    if done.config.policy.roles == RolesConfig::Off {
        return Ok(());
    }
    let roles = folder.join("roles.csv");
    write_roles(&done.result, create(&roles)?).map_err(|error| Failure::file(&roles, error))
}

/// Writes the pictures and the page that shows them.
fn write_page(folder: &Path, runs: &[&Done]) -> Result<(), Failure> {
    let first = &runs[0].report;
    let mut report = Report::new(format!("{} on {}", first.trace, first.cluster))
        .summary(format!(
            "{} requests {}, {} policies: {}.",
            first.requests,
            crate::render::pace(first),
            runs.len(),
            runs.iter()
                .map(|run| run.report.policy.as_str())
                .collect::<Vec<_>>()
                .join(", ")
        ))
        .facts(facts(first))
        .heading("Results")
        .results(results(runs))
        .heading("Figures");
    for picture in figures::all(runs).map_err(|error| Failure::Run(error.to_string()))? {
        write_text(&folder.join(format!("{}.svg", picture.file)), &picture.svg)?;
        report = report.figure(Figure {
            title: picture.title.into(),
            svg: picture.svg,
            caption: picture.caption,
        });
    }
    report = report.heading("What was run");
    for run in runs {
        report = report.details(
            format!("Policy {}", run.report.policy),
            run.config.policy.to_toml(),
        );
    }
    report = report.details("Cluster", runs[0].config.cluster.to_toml());
    let digests = runs
        .iter()
        .map(|run| format!("{} {}", run.report.policy, run.report.digest))
        .collect::<Vec<_>>();
    let footer = format!(
        "conductor {} · seed {} · digests: {}",
        env!("CARGO_PKG_VERSION"),
        first.seed,
        digests.join(", ")
    );
    write_text(
        &folder.join("report.html"),
        &report.footer(&footer).to_html(),
    )
}

fn facts(report: &RunReport) -> Vec<(String, String)> {
    let mut facts = vec![
        ("Requests", report.requests.to_string()),
        (
            "Prompt tokens",
            format!("{:.1} M", report.input_tokens as f64 / 1e6),
        ),
        (
            "Answer tokens",
            format!("{:.2} M", report.output_tokens as f64 / 1e6),
        ),
        ("Simulated time", format!("{:.0} s", report.simulated_s)),
        ("Prefill nodes", report.nodes_prefill.to_string()),
        ("Decode nodes", report.nodes_decode.to_string()),
        ("TTFT limit", format!("{} s", report.slo.ttft_s)),
        ("TBT limit", format!("{} s", report.slo.tbt_s)),
    ];
    if report.oracle {
        let note = "told to admission: a bound, not a policy".to_string();
        facts.push(("True answer lengths", note));
    }
    if report.retry.tries > 0 {
        facts.push(("Further tries", format!("up to {}", report.retry.tries)));
    }
    let named = facts
        .into_iter()
        .map(|(name, value)| (name.to_string(), value));
    named.collect()
}

fn results(runs: &[&Done]) -> ResultTable {
    let retried = runs.iter().any(|run| run.report.retry.tries > 0);
    let mut columns = vec![
        Column::text("Policy"),
        Column::number("TTFT mean", "s", 2).best(Best::Lowest),
        Column::number("TTFT p50", "s", 2).best(Best::Lowest),
        Column::number("TTFT p90", "s", 2).best(Best::Lowest),
        Column::number("TTFT p99", "s", 2).best(Best::Lowest),
        Column::number("TBT p90", "ms", 1).best(Best::Lowest),
        Column::share("Within SLO", 1).best(Best::Highest),
        Column::number("Goodput", "req/s", 2).best(Best::Highest),
        Column::share("Tokens reused", 1).best(Best::Highest),
        Column::number("Sent", "TB", 1),
        Column::number("Copies", "", 0),
        Column::number("Rejected", "", 0),
    ];
    if retried {
        columns.extend([
            Column::share("Done at first try", 1).best(Best::Highest),
            Column::share("Done in the end", 1).best(Best::Highest),
            Column::number("Tries", "", 0),
        ]);
    }
    let row = |run: &&Done| {
        let report = &run.report;
        let mut row = vec![
            Cell::from(report.policy.as_str()),
            Cell::from(report.ttft_s.mean),
            Cell::from(report.ttft_s.p50),
            Cell::from(report.ttft_s.p90),
            Cell::from(report.ttft_s.p99),
            Cell::from(report.tbt_s.p90 * 1e3),
            Cell::from(report.effective_ratio),
            Cell::from(report.goodput_rps),
            Cell::from(report.hit_ratio_tokens),
            Cell::from(report.transfer.gb / 1e3),
            Cell::from(report.replications as f64),
            Cell::from(report.rejected as f64),
        ];
        if retried {
            row.extend([
                Cell::from(report.first_try_ratio),
                Cell::from(report.eventual_ratio),
                Cell::from(report.attempts as f64),
            ]);
        }
        row
    };
    ResultTable {
        caption: "One row a policy; click a head to sort.".into(),
        columns,
        rows: runs.iter().map(row).collect(),
    }
}

fn pretty(value: &serde_json::Value) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("a JSON value can be written");
    text.push('\n');
    text
}

fn create(path: &Path) -> Result<BufWriter<File>, Failure> {
    File::create(path)
        .map(BufWriter::new)
        .map_err(|error| Failure::file(path, error))
}

fn write_text(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| Failure::file(path, error))
}
