//! `conductor replay` and `conductor compare`.

use crate::args::{CompareArgs, ReplayArgs, WorldArgs};
use crate::failure::Failure;
use crate::{output, progress, render};
use conductor_core::units::Tokens;
use conductor_experiments::classes::ClassShares;
use conductor_experiments::execute::{Done, Job, execute};
use conductor_experiments::inputs::{
    self, COMPARED_POLICIES, DEFAULT_WORKLOAD, Source, WorkloadInput,
};
use conductor_experiments::parallel::in_parallel;
use conductor_sim::{FaultPlan, Observer, Progress, RetryConfig, RetryText};
use flate2::Compression;
use flate2::write::GzEncoder;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// Replays with one policy.
pub(crate) fn replay(args: &ReplayArgs) -> Result<(), Failure> {
    let job = job(&args.world, &args.policy)?;
    args.world.check_formats()?;
    output::prepare(args.world.out.as_deref())?;
    let done = run(&job, args.journal.as_deref())?;
    if let Some(folder) = &args.world.out {
        output::write_replay(folder, &done)?;
        args.world.formats.write(folder)?;
    }
    if args.world.json {
        return Ok(render::print_json(&output::json(&done.report))?);
    }
    render::print(render::runs(&[&done.report]))?;
    said_where(args.world.out.as_deref())
}

/// Replays with several policies.
pub(crate) fn compare(args: &CompareArgs) -> Result<(), Failure> {
    let names: Vec<&str> = match args.policy.is_empty() {
        true => COMPARED_POLICIES.to_vec(),
        false => args.policy.iter().map(String::as_str).collect(),
    };
    let jobs = names
        .iter()
        .map(|name| job(&args.world, name))
        .collect::<Result<Vec<_>, _>>()?;
    let mut labels: Vec<&str> = jobs.iter().map(|job| job.policy.name.as_str()).collect();
    labels.sort_unstable();
    if let Some(pair) = labels.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Failure::Input(format!(
            "two policies are named \"{}\": give each file its own `name`",
            pair[0]
        )));
    }
    args.world.check_formats()?;
    output::prepare(args.world.out.as_deref())?;
    output::prepare(args.journal.as_deref())?;
    let journal = |job: &Job| {
        args.journal
            .as_ref()
            .map(|folder| folder.join(format!("{}.jsonl", job.policy.name)))
    };
    let threads = args.jobs.map_or_else(processors, usize::from);
    let done = in_parallel(jobs.len(), threads, |place| {
        let job = &jobs[place];
        run(job, journal(job).as_deref())
    })?;
    if let Some(folder) = &args.world.out {
        output::write_compare(folder, &done)?;
        args.world.formats.write(folder)?;
        for done in &done {
            args.world
                .formats
                .write(&run_folder(folder, &done.report.policy))?;
        }
    }
    if args.world.json {
        let runs: Vec<_> = done.iter().map(|done| output::json(&done.report)).collect();
        return Ok(render::print_json(&serde_json::json!({ "runs": runs }))?);
    }
    render::print(render::runs(
        &done.iter().map(|done| &done.report).collect::<Vec<_>>(),
    ))?;
    said_where(args.world.out.as_deref())
}

/// Says where the files are.
fn said_where(folder: Option<&Path>) -> Result<(), Failure> {
    if let Some(folder) = folder {
        render::print(format_args!(
            "Report: {}",
            folder.join("report.html").display()
        ))?;
    }
    Ok(())
}

/// How many runs this machine does at once.
pub(crate) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The workload that the arguments name.
pub(crate) fn workload(args: &WorldArgs) -> Result<WorkloadInput, Failure> {
    let mut workload = match &args.trace {
        Some(trace) => WorkloadInput::trace(trace, Path::new("."))?,
        None => WorkloadInput::workload(args.workload.as_deref().unwrap_or(DEFAULT_WORKLOAD))?,
    };
    workload.speed = args.speed;
    workload.limit = args.limit;
    workload.measure = args.measure.unwrap_or_default();
    workload.requests = args.requests;
    workload.rate = args.rate;
    workload.grid_s = args.grid;
    workload.retry = RetryConfig::from_text(&RetryText {
        tries: args.retry.unwrap_or(0),
        ..RetryText::default()
    })
    .map_err(Failure::input)?;
    if let Some(classes) = &args.classes {
        workload.classes = ClassShares::parse(classes)?;
    }
    workload.concurrency = args.concurrency;
    workload.sort = args.sort;
    workload.seed = args.seed;
    Ok(workload)
}

pub(crate) fn job(args: &WorldArgs, policy: &str) -> Result<Job, Failure> {
    let cluster = inputs::cluster(&args.cluster, args.block_tokens.map(Tokens))?;
    let mut workload = workload(args)?;
    workload.block = cluster.block;
    if let Some(ids) = args.id_tokens {
        workload.ids = Tokens(ids);
    }
    workload.check()?;
    let faults = match &args.faults {
        Some(path) => inputs::faults(path, cluster.nodes.len(), args.seed)?,
        None => FaultPlan::default(),
    };
    Ok(Job {
        workload,
        cluster,
        policy: inputs::policy(policy)?,
        faults,
        seed: args.seed,
        node_samples: args.out.is_some(),
        records: args.out.is_some(),
    })
}

/// How many requests there will be, if that is known.
fn expected(workload: &WorkloadInput) -> Option<u64> {
    let total = match &workload.source {
        Source::Trace(_) => None,
        Source::Generated(generator) => Some(workload.requests.unwrap_or(generator.requests)),
        Source::Single(_) => Some(1),
    };
    match (total, workload.limit) {
        (Some(total), Some(limit)) => Some(total.min(limit)),
        (total, limit) => total.or(limit),
    }
}

fn run(job: &Job, journal: Option<&Path>) -> Result<Done, Failure> {
    let bar = progress::requests(expected(&job.workload), &job.policy.name);
    let mut report = |progress: Progress| bar.set_position(progress.arrived);
    if let (Some(journal), Source::Trace(trace)) = (journal, &job.workload.source) {
        output::not_the_same(trace, journal)?;
    }
    let mut writer = journal.map(journal_writer).transpose()?;
    let observer = Observer {
        journal: writer
            .as_mut()
            .map(|writer| &mut **writer as &mut dyn Write),
        progress: Some(&mut report),
        ..Observer::default()
    };
    let done = execute(job, observer);
    bar.finish_and_clear();
    done.map_err(|error| match (Failure::from(error), journal) {
        // A bug: say where its journal is.
        (Failure::Invariant(message), Some(path)) => {
            Failure::Invariant(format!("{message}; the journal is {}", path.display()))
        }
        (failure, _) => failure,
    })
}

/// Creates a journal, compressed if its name ends in .gz.
fn journal_writer(path: &Path) -> Result<Box<dyn Write>, Failure> {
    let name = path.to_string_lossy();
    if !name.ends_with(".jsonl") && !name.ends_with(".jsonl.gz") {
        return Err(Failure::Input(format!(
            "--journal {name}: expected a name that ends in .jsonl or .jsonl.gz"
        )));
    }
    let file = File::create(path)
        .map_err(|error| Failure::Input(format!("{}: {error}", path.display())))?;
    let file = BufWriter::new(file);
    if path.extension().is_some_and(|extension| extension == "gz") {
        return Ok(Box::new(GzEncoder::new(file, Compression::fast())));
    }
    Ok(Box::new(file))
}

/// The folder of one run among several: a policy's name is safe in paths.
pub(crate) fn run_folder(folder: &Path, policy: &str) -> PathBuf {
    folder.join(policy)
}
