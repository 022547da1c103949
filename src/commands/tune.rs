//! `conductor tune`: a policy's parameters, chosen on one part of a workload and judged on another.
//!
//! Not here: the search (`conductor_experiments::tune`), and how its result is shown ([`shown`]).

mod shown;

use super::replay;
use crate::args::TuneArgs;
use crate::failure::Failure;
use crate::{output, progress, render};
use conductor_core::units::Nanos;
use conductor_experiments::execute::Job;
use conductor_experiments::knob::Param;
use conductor_experiments::tune::{self, Study, Tuned};
use conductor_experiments::window::Window;
use shown::Shown;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

pub(crate) fn run(args: &TuneArgs) -> Result<(), Failure> {
    together(args)?;
    let job = replay::job(&args.world, &args.policy)?;
    let params = params(args, &job)?;
    let (train, held_out) = windows(args, &job)?;
    args.world.check_formats()?;
    output::prepare(args.world.out.as_deref())?;
    let bar = progress::runs(0, "tune");
    let study = Study {
        job,
        params,
        objective: args.objective.clone(),
        train,
        held_out,
        tries: args.tries as usize,
        seeds: args.seeds,
        threads: args.jobs.map_or_else(replay::processors, usize::from),
        progress: &|| bar.inc(1),
    };
    bar.set_length(study.runs_at_most());
    let tuned = tune::tune(&study).map_err(Failure::from)?;
    bar.finish_and_clear();
    let shown = Shown {
        study: &study,
        tuned: &tuned,
    };
    let files = written(args, &study, &tuned, &shown)?;
    for warning in shown.warnings() {
        eprintln!("conductor: warning: {warning}");
    }
    if args.world.json {
        return Ok(render::print_json(&shown.json(&files))?);
    }
    Ok(render::print(shown.text(&files))?)
}

/// What does not go together.
fn together(args: &TuneArgs) -> Result<(), Failure> {
    let trace = args.world.trace.is_some() && args.seeds > 1;
    for (option, given, expected) in [
        (
            "--seeds",
            trace,
            "1 with a trace, whose requests are the same for every seed",
        ),
        (
            "--measure",
            args.world.measure.is_some(),
            "none with tune: --train and --held-out are its windows",
        ),
        (
            "--concurrency",
            args.world.concurrency.is_some(),
            "none with tune: a closed loop ignores the stamps that windows go by",
        ),
    ] {
        if given {
            return Err(Failure::Input(format!("{option}: expected {expected}")));
        }
    }
    Ok(())
}

fn params(args: &TuneArgs, job: &Job) -> Result<Vec<Param>, Failure> {
    if args.param.is_empty() {
        return Ok(tune::usual_params(job));
    }
    let mut params: Vec<Param> = Vec::new();
    for param in &args.param {
        let wrong = |message| Failure::Input(format!("--param: {message}"));
        tune::tunable(param).map_err(wrong)?;
        if params.iter().any(|other| other.knob == param.knob) {
            return Err(wrong(format!(
                "`{}`: expected once, found twice",
                param.knob
            )));
        }
        params.push(param.clone().checked(job).map_err(wrong)?);
    }
    Ok(params)
}

/// The two windows, one behind the other.
fn windows(args: &TuneArgs, job: &Job) -> Result<(Window, Window), Failure> {
    // Whole seconds are easy to type again.
    let part = |span: Nanos, share: f64| {
        let seconds = span.as_secs_f64() * share;
        let seconds = if seconds >= 10.0 {
            seconds.floor()
        } else {
            seconds
        };
        Nanos::from_secs_f64(seconds).unwrap_or_default()
    };
    let train = match (args.train, args.held_out) {
        (Some(train), _) => train,
        (None, held_out) => {
            let span = tune::span(job)?;
            let until = held_out.map_or_else(|| part(span, 0.55), |held_out| held_out.from);
            let from = part(until, 0.1 / 0.55);
            Window {
                from,
                until: Some(until),
            }
        }
    };
    let Some(border) = train.until else {
        let message = "--train: expected a window with an end, behind which the held-out one is";
        return Err(Failure::Input(message.to_string()));
    };
    let held_out = args.held_out.unwrap_or(Window {
        from: border,
        until: None,
    });
    if held_out.from < border {
        return Err(Failure::Input(format!(
            "--held-out: expected a window behind the training window, {train}, found {held_out}"
        )));
    }
    Ok((train, held_out))
}

/// Writes the winner and every try; where what is.
fn written(
    args: &TuneArgs,
    study: &Study<'_>,
    tuned: &Tuned,
    shown: &Shown<'_>,
) -> Result<Vec<PathBuf>, Failure> {
    let mut files = Vec::new();
    let comments = shown.comments();
    let has_cluster = study.params.iter().any(|param| param.knob.is_cluster());
    let mut write = |path: PathBuf, text: &str| {
        std::fs::write(&path, text).map_err(|error| Failure::file(&path, error))?;
        files.push(path);
        Ok::<_, Failure>(())
    };
    let (policy, cluster) = (
        tune::policy_file(&tuned.job, &comments),
        tune::cluster_file(&tuned.job, &comments),
    );
    if let Some(path) = &args.output {
        write(path.clone(), &policy)?;
        if has_cluster {
            write(beside(path), &cluster)?;
        }
    }
    if let Some(folder) = &args.world.out {
        write(folder.join("policy.toml"), &policy)?;
        write(folder.join("cluster.toml"), &cluster)?;
        let mut json = serde_json::to_string_pretty(&shown.json(&[])).expect("plain values");
        json.push('\n');
        write(folder.join("tune.json"), &json)?;
        let path = folder.join("tries.csv");
        let file = File::create(&path).map_err(|error| Failure::file(&path, error))?;
        tune::write_tries(study, tuned, BufWriter::new(file))
            .map_err(|error| Failure::file(&path, error))?;
        files.push(path);
        args.world.formats.write(folder)?;
    }
    Ok(files)
}

/// `best.toml` has its cluster in `best-cluster.toml`.
fn beside(policy: &Path) -> PathBuf {
    let stem = policy.file_stem().unwrap_or_default().to_string_lossy();
    policy.with_file_name(format!("{stem}-cluster.toml"))
}
