//! What a call of `conductor experiment run` did: runs done, runs that were there, what failed and why, and the time.
//!
//! Times differ from call to call, so they stand on stderr and in `summary.md`, never among results.

use crate::failure::Failure;
use crate::render;
use conductor_experiments::Meter;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::time::Instant;

/// One experiment's line.
struct Line {
    name: String,
    meter: Meter,
    /// Why it failed: what a person reads, and whether the input was wrong.
    failure: Option<(String, bool)>,
}

/// The account of a call.
pub(super) struct Account {
    started: Instant,
    jobs: usize,
    lines: Vec<Line>,
    /// Whoever reads our output has gone.
    closed: bool,
}

impl Account {
    /// Begins now, with so many runs at once.
    pub(super) fn new(jobs: usize) -> Self {
        Self {
            started: Instant::now(),
            jobs,
            lines: Vec::new(),
            closed: false,
        }
    }

    /// Adds an experiment that has ended.
    pub(super) fn add(&mut self, name: &str, meter: Meter, failure: Option<&Failure>) {
        self.closed |= matches!(failure, Some(Failure::Closed));
        let failure = failure.filter(|failure| !matches!(failure, Failure::Closed));
        self.lines.push(Line {
            name: name.to_string(),
            meter,
            failure: failure
                .map(|failure| (failure.to_string(), matches!(failure, Failure::Input(_)))),
        });
    }

    /// The document of `--json`: what failed is in it too, if anything did.
    pub(super) fn json(&self, mut document: Value) -> Value {
        let failed = self
            .failed()
            .map(|(name, why, _)| json!({ "name": name, "error": why }));
        let failed: Vec<_> = failed.collect();
        if !failed.is_empty() {
            document["failed"] = failed.into();
        }
        document
    }

    /// Says what was done, and fails if an experiment did: bad input only if nothing else went wrong.
    pub(super) fn close(&self) -> Result<(), Failure> {
        if let [
            Line {
                failure: Some((why, is_input)),
                ..
            },
        ] = &self.lines[..]
        {
            return Err(match is_input {
                true => Failure::Input(why.clone()),
                false => Failure::Run(why.clone()),
            });
        }
        eprintln!("{}", self.table());
        eprintln!("conductor: {}", self.total());
        for (name, why, _) in self.failed() {
            eprintln!("conductor: failed: {name}: {why}");
        }
        let (failed, inputs) = (self.failed().count(), self.failed().filter(|f| f.2).count());
        let message = format!("{failed} of {} experiments failed", self.lines.len());
        match (failed, inputs) {
            (0, _) if self.closed => Err(Failure::Closed),
            (0, _) => Ok(()),
            (failed, inputs) if failed == inputs => Err(Failure::Input(message)),
            _ => Err(Failure::Run(message)),
        }
    }

    /// Writes `summary.md`: what was done, by which build, on what machine.
    pub(super) fn write(&self, folder: &Path) -> Result<(), Failure> {
        let (version, commit) = (env!("CARGO_PKG_VERSION"), env!("CONDUCTOR_COMMIT"));
        let mut text = format!(
            "# What was run\n\nconductor {version}, commit {commit}; {} at once on {}.\n\n{}.\n\n\
             | experiment | runs done | cached | processor time (s) |\n|---|---|---|---|\n",
            self.jobs,
            machine(),
            self.total()
        );
        for line in &self.lines {
            let Meter {
                done,
                cached,
                cpu_s,
            } = line.meter;
            text += &format!("| {} | {done} | {cached} | {cpu_s:.1} |\n", line.name);
        }
        for (name, why, _) in self.failed() {
            text += &format!("\nFailed: {name}: {why}\n");
        }
        let path = folder.join("summary.md");
        fs::write(&path, text).map_err(|error| Failure::file(&path, error))
    }

    fn failed(&self) -> impl Iterator<Item = (&str, &str, bool)> {
        self.lines.iter().filter_map(|line| {
            let (why, is_input) = line.failure.as_ref()?;
            Some((line.name.as_str(), why.as_str(), *is_input))
        })
    }

    /// By experiment: runs, and where the time went.
    fn table(&self) -> String {
        let rows = self.lines.iter().map(|line| {
            let Meter {
                done,
                cached,
                cpu_s,
            } = line.meter;
            vec![
                line.name.clone(),
                done.to_string(),
                cached.to_string(),
                format!("{cpu_s:.1} s"),
                if line.failure.is_some() { "FAILED" } else { "" }.to_string(),
            ]
        });
        render::table(&["experiment", "done", "cached", "processor", ""], rows).to_string()
    }

    fn total(&self) -> String {
        let sum =
            |of: fn(&Meter) -> usize| self.lines.iter().map(|line| of(&line.meter)).sum::<usize>();
        let cpu_s: f64 = self.lines.iter().map(|line| line.meter.cpu_s).sum();
        format!(
            "{} experiments: {} runs done, {} cached, {} experiments failed; {:.1} s, {cpu_s:.1} s of them on a processor",
            self.lines.len(),
            sum(|meter| meter.done),
            sum(|meter| meter.cached),
            self.failed().count(),
            self.started.elapsed().as_secs_f64(),
        )
    }
}

/// Processors and their kind, as far as the system says.
fn machine() -> String {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text
        .lines()
        .find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("", |model| model.trim_start_matches([' ', '\t', ':']));
    match model {
        "" => format!("{processors} processors"),
        model => format!("{processors} processors ({model})"),
    }
}
