//! `conductor calibrate`: measurements in, a profile out, and how wrong it is.

use crate::args::CalibrateArgs;
use crate::failure::Failure;
use crate::{output, render};
use conductor_experiments::calibrate::{
    Additivity, CalibrateError, Calibrated, Errors, Limits, Memory, Options, Outcome, Picture,
    Select, Setting, Slower, calibrate,
};
use conductor_plots::{LineChart, LineSeries};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) fn run(args: &CalibrateArgs) -> Result<(), Failure> {
    let options = options(args)?;
    for path in args.output.iter().chain(&args.plot) {
        output::not_the_same(&args.data, path)?;
    }
    match calibrate(&args.data, &options)? {
        Calibrated::Additivity(found) => {
            if args.output.is_some() || args.plot.is_some() {
                eprintln!(
                    "conductor: warning: {}: attention kernels alone make no profile: nothing is written",
                    args.data.display()
                );
            }
            mixed_batches(args, &found)
        }
        Calibrated::Profile(outcome) => profile(args, &outcome),
    }
}

fn options(args: &CalibrateArgs) -> Result<Options, Failure> {
    let stem = args.output.as_deref().and_then(Path::file_stem);
    let stem = stem.map_or_else(|| "calibrated".into(), |stem| stem.to_string_lossy());
    let settings = args.set.iter().map(|text| Setting::parse(text));
    let percent = |option: &str, value: f64| {
        if (0.0..=1e6).contains(&value) {
            return Ok(value / 100.0);
        }
        Err(Failure::Input(format!(
            "{option}: expected percent from 0 up, found {value}"
        )))
    };
    Ok(Options {
        select: Select {
            gpu: args.gpu.clone(),
            model: args.model.clone(),
            tp: args.tp,
            backend: args.backend.clone(),
        },
        name: args.name.clone().unwrap_or_else(|| stem.into_owned()),
        source: args.source.clone(),
        engine: args.engine.clone(),
        date: args.date.clone(),
        base: args.base.clone(),
        settings: settings.collect::<Result<_, _>>()?,
        memory: args
            .memory_gb
            .zip(args.weights_gb)
            .map(|(gpu_gb, weights_gb)| Memory { gpu_gb, weights_gb }),
        slower: args
            .token_slower
            .as_deref()
            .map(Slower::parse)
            .transpose()?,
        limits: Limits {
            median: percent("--limit", args.limit)?,
            p95: percent("--limit-p95", args.limit_p95)?,
        },
        fit_concurrency: args.fit_concurrency.clone(),
        rounds: args.rounds,
    })
}

fn profile(args: &CalibrateArgs, outcome: &Outcome) -> Result<(), Failure> {
    let Some(path) = &args.output else {
        return Err(Failure::Input(
            "-o: expected a profile to write, found none".to_string(),
        ));
    };
    let mut plots = Vec::new();
    if let Some(plot) = &args.plot {
        for picture in &outcome.pictures {
            plots.push((beside(plot, picture.what), draw(outcome, picture)?));
        }
    }
    let written = [(path.clone(), outcome.text.clone())];
    for (path, text) in written.iter().chain(&plots) {
        fs::write(path, text).map_err(|error| {
            Failure::Input(format!("{}: cannot be written: {error}", path.display()))
        })?;
    }
    for reason in &outcome.left_out {
        eprintln!("conductor: left out: {reason}");
    }
    if args.json {
        let document = json!({
            "profile": outcome.profile.text.name,
            "file": path.display().to_string(),
            "rows": outcome.rows,
            "left_out": outcome.left_out,
            "parts": outcome.parts,
            "plots": plots.iter().map(|(path, _)| path.display().to_string()).collect::<Vec<_>>(),
        });
        return Ok(render::print_json(&document)?);
    }
    let text = &outcome.profile.text;
    render::print(format_args!(
        "{}: {}; {} ({})\n{}\n",
        text.name, text.source, text.engine, text.date, outcome.rows
    ))?;
    let mut rows = Vec::new();
    for part in &outcome.parts {
        rows.push(row(part.what, part.form, "of the fit", &part.fit));
        rows.push(row("", "", "held out", &part.held_out));
        if let Some(other) = &part.other {
            rows.push(row("", other.form, "held out, not taken", &other.held_out));
        }
    }
    render::print(render::table(
        &["what", "form", "error", "points", "median", "p95", "max"],
        rows,
    ))?;
    for part in &outcome.parts {
        render::print(format_args!("{} held out: {}", part.what, part.how))?;
    }
    for (path, _) in written.iter().chain(&plots) {
        render::print(format_args!("Written: {}", path.display()))?;
    }
    Ok(())
}

fn row(what: &str, form: &str, of: &str, errors: &Errors) -> Vec<String> {
    let mut row = vec![what.to_string(), form.to_string(), of.to_string()];
    row.extend(cells(errors));
    row
}

fn cells(errors: &Errors) -> [String; 4] {
    let percent = |share: f64| format!("{:.1} %", share * 100.0);
    [
        errors.points.to_string(),
        percent(errors.median),
        percent(errors.p95),
        percent(errors.max),
    ]
}

/// What the attention grid says.
fn mixed_batches(args: &CalibrateArgs, found: &Additivity) -> Result<(), Failure> {
    if args.json {
        return Ok(render::print_json(&json!({ "mixed_attention": found }))?);
    }
    let sign = if found.overlap < 0.0 { "+" } else { "-" };
    let overlapped = format!("sum {sign} {:.2} x the shorter", found.overlap.abs());
    let rules = [
        ("sum of the parts", &found.sum),
        ("the longer part", &found.max),
        ("sum, where prefill is most", &found.sum_prefill_heavy),
        ("sum, lengths that are not powers of two", &found.sum_there),
        (&*overlapped, &found.overlapped),
    ];
    let rows = rules.iter().map(|(rule, errors)| {
        let mut row = vec![(*rule).to_string()];
        row.extend(cells(errors));
        row
    });
    render::print(format_args!(
        "Attention over mixed batches, {} of them, by their parts alone; the sum's median error with its sign is {:.1} %. \
         The last rule is fitted on powers of two and judged on the other lengths.",
        found.points,
        found.sum_bias * 100.0
    ))?;
    Ok(render::print(render::table(
        &["rule", "points", "median", "p95", "max"],
        rows,
    ))?)
}

/// `dir/name.svg` and `prefill`: `dir/name-prefill.svg`.
fn beside(plot: &Path, what: &str) -> PathBuf {
    let stem = plot
        .file_stem()
        .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
    plot.with_file_name(format!("{stem}-{what}.svg"))
}

/// Measured points dashed, the fit in the same colour.
fn draw(outcome: &Outcome, picture: &Picture) -> Result<String, Failure> {
    let mut series = Vec::new();
    for curve in &picture.curves {
        let measured = curve.points.clone();
        series.push(LineSeries::published(curve.name.clone(), measured));
        series.push(LineSeries::simulated(curve.name.clone(), curve.fit.clone()));
    }
    let chart = LineChart {
        title: format!(
            "{}: {}, measured (dashed) and fitted",
            outcome.profile.text.name, picture.what
        ),
        x_label: picture.x_label.clone(),
        y_label: picture.y_label.clone(),
        log_x: true,
        log_y: true,
        series,
        verticals: Vec::new(),
        horizontals: Vec::new(),
    };
    chart
        .to_svg()
        .map_err(|error| Failure::Run(error.to_string()))
}

impl From<CalibrateError> for Failure {
    fn from(error: CalibrateError) -> Self {
        Self::input(error)
    }
}
