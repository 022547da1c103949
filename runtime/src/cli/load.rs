//! `conductord load`: see [`conductor_runtime::load`].

use super::{Failure, runtime};
use clap::Args;
use conductor_core::units::{Nanos, Tokens};
use conductor_core::workload::WorkloadRequest;
use conductor_runtime::load::{self, LoadOptions, LoadReport, SampleOutcome, Scale, Target};
use conductor_traces::formats::{self, ReadOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Sends the requests of a trace at their times and says what a client sees.
///
/// Example: conductord load --url http://127.0.0.1:8080 --trace conversation --scale 64 --limit 500
#[derive(Args)]
pub(crate) struct LoadArgs {
    /// The server, such as http://127.0.0.1:8080
    #[arg(long, value_name = "URL")]
    url: String,
    /// A trace file, or the name of one that traces/data has
    #[arg(long, value_name = "FILE|NAME")]
    trace: String,
    /// Replay so many times faster than the trace's stamps
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    speed: f64,
    /// Send the first N requests only
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Divide the lengths of prompts, answers and blocks by this
    #[arg(long, value_name = "N", default_value_t = 1)]
    scale: u64,
    /// Tokens in a block of the trace
    #[arg(long, value_name = "N", default_value_t = 512)]
    block_tokens: u64,
    /// Draw prompt tokens from LOW..HIGH (printable bytes, for byte-level models)
    #[arg(long, value_name = "LOW..HIGH", default_value = "32..127", value_parser = range)]
    tokens: (u32, u32),
    /// The model's name at the server
    #[arg(long, value_name = "NAME", default_value = "tiny")]
    model: String,
    /// A file whose first line is sent as a bearer token
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
    /// Requests that are under way at once, at most
    #[arg(long, value_name = "N", default_value_t = 4096)]
    concurrency: usize,
    /// A request that takes longer has failed
    #[arg(long, value_name = "SECONDS", default_value_t = 600.0)]
    timeout: f64,
    /// The limit on the time to first token
    #[arg(long, value_name = "SECONDS", default_value_t = 30.0)]
    slo_ttft: f64,
    /// The limit on the time between tokens
    #[arg(long, value_name = "SECONDS", default_value_t = 0.1)]
    slo_tbt: f64,
    /// Write one row a request
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

fn range(text: &str) -> Result<(u32, u32), String> {
    let expected = || format!("expected LOW..HIGH such as 32..127, found {text}");
    let (low, high) = text.split_once("..").ok_or_else(expected)?;
    match (low.parse(), high.parse()) {
        (Ok(low), Ok(high)) if low < high => Ok((low, high)),
        _ => Err(expected()),
    }
}

fn positive(name: &str, value: f64) -> Result<f64, Failure> {
    match value.is_finite() && value > 0.0 && value < 1e9 {
        true => Ok(value),
        false => Err(Failure::Input(format!(
            "--{name}: expected a number above 0, found {value}"
        ))),
    }
}

impl LoadArgs {
    fn options(&self) -> Result<LoadOptions, Failure> {
        if self.scale == 0 || self.block_tokens == 0 || self.concurrency == 0 {
            return Err(Failure::Input(
                "--scale, --block-tokens and --concurrency: expected at least 1, found 0".into(),
            ));
        }
        let slo = |name, value| {
            Ok::<_, Failure>(Nanos::from_secs_f64(positive(name, value)?).unwrap_or_default())
        };
        Ok(LoadOptions {
            speed: positive("speed", self.speed)?,
            scale: Scale {
                divisor: self.scale,
                block: Tokens(self.block_tokens),
                tokens: self.tokens,
            },
            concurrency: self.concurrency,
            timeout: Duration::from_secs_f64(positive("timeout", self.timeout)?),
            slo_ttft: slo("slo-ttft", self.slo_ttft)?,
            slo_tbt: slo("slo-tbt", self.slo_tbt)?,
        })
    }

    fn requests(&self) -> Result<Vec<WorkloadRequest>, Failure> {
        let located = formats::locate(&self.trace, Path::new("."));
        let path = located.unwrap_or_else(|| PathBuf::from(&self.trace));
        let options = ReadOptions {
            block_tokens: Tokens(self.block_tokens),
            sort: false,
        };
        let input = |error: &dyn std::fmt::Display| Failure::Input(error.to_string());
        let rows = formats::open(&path, &options).map_err(|error| input(&error))?;
        let rows = rows.take(self.limit.unwrap_or(usize::MAX));
        rows.collect::<Result<_, _>>()
            .map_err(|error| input(&error))
    }
}

pub(crate) fn run(args: &LoadArgs) -> Result<(), Failure> {
    let options = args.options()?;
    let requests = args.requests()?;
    let key = args.key_file.as_ref().map(|path| {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| Failure::Input(format!("{}: {error}", path.display())))?;
        Ok::<_, Failure>(text.lines().next().unwrap_or_default().trim().to_string())
    });
    let target = Target {
        base: args.url.clone(),
        model: args.model.clone(),
        key: key.transpose()?,
    };
    let total = requests.len();
    let (start, mut ended, mut said) = (Instant::now(), 0, Instant::now());
    let samples = runtime()?.block_on(load::run(Arc::new(target), requests, &options, |_| {
        ended += 1;
        if said.elapsed() >= Duration::from_secs(5) {
            said = Instant::now();
            eprintln!("{ended} of {total} requests have ended");
        }
    }));
    let report = LoadReport::new(
        &args.trace,
        &samples,
        &options,
        start.elapsed().as_secs_f64(),
    );
    if let Some(path) = &args.out {
        let file = std::fs::File::create(path).and_then(|file| rows(file, &samples));
        file.map_err(|error| Failure::Run(format!("{}: {error}", path.display())))?;
    }
    let mut stdout = std::io::stdout().lock();
    match args.json {
        true => {
            let text = serde_json::to_string_pretty(&report);
            writeln!(
                stdout,
                "{}",
                text.map_err(|error| Failure::Run(error.to_string()))?
            )?;
        }
        false => print(&mut stdout, &report)?,
    }
    match report.completed + report.rejected {
        0 => Err(Failure::Run(format!(
            "no request was answered: {}",
            report.first_failure.unwrap_or_default()
        ))),
        _ => Ok(()),
    }
}

fn print(out: &mut impl Write, report: &LoadReport) -> std::io::Result<()> {
    writeln!(
        out,
        "{} requests in {:.1} s: {} completed, {} rejected, {} failed",
        report.requests, report.wall_s, report.completed, report.rejected, report.failed
    )?;
    if let Some(why) = &report.first_failure {
        writeln!(out, "the first failure: {why}")?;
    }
    writeln!(
        out,
        "{:20} {:>9} {:>9} {:>9} {:>9}",
        "seconds", "p50", "p90", "p99", "max"
    )?;
    for (name, summary) in [
        ("TTFT", report.ttft_s),
        ("TBT", report.tbt_s),
        ("TPOT", report.tpot_s),
        ("end to end", report.e2e_s),
        ("until turned away", report.rejected_after_s),
        ("sent late by", report.late_s),
    ] {
        writeln!(
            out,
            "{name:20} {:9.4} {:9.4} {:9.4} {:9.4}",
            summary.p50, summary.p90, summary.p99, summary.max
        )?;
    }
    writeln!(
        out,
        "within the limits: {:.1} % of all, {:.1} % of the answered; {:.2} requests/s; cached {:.1} % of prompt tokens",
        100.0 * report.effective_ratio,
        100.0 * report.accepted_within_slo,
        report.goodput_rps,
        100.0 * report.hit_ratio_tokens
    )
}

fn rows(file: std::fs::File, samples: &[load::Sample]) -> std::io::Result<()> {
    let mut out = std::io::BufWriter::new(file);
    writeln!(
        out,
        "id,due_s,late_s,input,output,cached,ttft_s,tbt_s,e2e_s,outcome"
    )?;
    for sample in samples {
        let (id, due, late) = (
            sample.id,
            sample.due.as_secs_f64(),
            sample.late.as_secs_f64(),
        );
        let input = sample.input.0;
        match &sample.outcome {
            SampleOutcome::Completed {
                output,
                cached,
                ttft,
                tbt,
                e2e,
                ..
            } => {
                let tbt = tbt.map_or(String::new(), |tbt| tbt.as_secs_f64().to_string());
                let (ttft, e2e) = (ttft.as_secs_f64(), e2e.as_secs_f64());
                let (output, cached) = (output.0, cached.0);
                writeln!(
                    out,
                    "{id},{due},{late},{input},{output},{cached},{ttft},{tbt},{e2e},completed"
                )?;
            }
            SampleOutcome::Rejected { .. } => {
                writeln!(out, "{id},{due},{late},{input},,,,,,rejected")?;
            }
            SampleOutcome::Failed { .. } => {
                writeln!(out, "{id},{due},{late},{input},,,,,,failed")?;
            }
        }
    }
    out.flush()
}
