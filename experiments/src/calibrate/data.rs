//! What was timed, and the project's own CSV of it.
//!
//! One row is one timing. The column `kind` says of what, and which other columns count:
//!
//! | kind | columns | what took `seconds` |
//! |---|---|---|
//! | `prefill` | `prompt`, `cached` (0 if empty) | a prompt's tokens behind its first `cached` ones, alone |
//! | `decode` | `batch`, `context` | one step of `batch` requests that hold `context` KV tokens each |
//! | `mixed` | `chunk`, `chunk_cached` (0 if empty), `batch`, `context` | both in one pass: a decode step and a piece |
//! | `transfer` | `bytes` | KV from one node's memory to another's |
//! | `load` | `bytes` | KV from a node's host memory to where it computes |
//!
//! A piece is `chunk` tokens of a prompt behind `chunk_cached` of its tokens.
//!
//! Comments before the header may say where it is from: `# gpu: …`, `# model: …`, `# tp: …`, `# engine: …`,
//! `# date: …`, `# source: …`. Repeats of a setting are welcome: together they are one point, their median, so that a
//! setting that was timed more often does not weigh more.
//!
//! Not here: files of others (`adapters`), fitting.

use super::CalibrateError;
use super::sheet::Sheet;
use std::collections::BTreeMap;

/// What was timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Work {
    /// Tokens of a prompt.
    Prefill {
        /// All of them.
        prompt: u64,
        /// Those that were there already.
        cached: u64,
    },
    /// A decode step.
    Decode {
        /// Requests.
        batch: u64,
        /// KV tokens a request.
        context: u64,
    },
    /// Both in one pass.
    Mixed {
        /// Tokens of a prompt that are computed.
        chunk: u64,
        /// Tokens of the same prompt before them.
        chunk_cached: u64,
        /// Requests that decode.
        batch: u64,
        /// KV tokens of each.
        context: u64,
    },
    /// KV that moves.
    Move {
        /// Between what.
        way: Way,
        /// How much of it.
        bytes: u64,
    },
}

/// Between what KV moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// One node's memory and another's.
    Transfer,
    /// A node's host memory and the memory of its accelerators.
    Load,
}

impl Work {
    /// Tokens that are computed.
    const fn computed(self) -> u64 {
        match self {
            Self::Prefill { prompt, cached } => prompt - cached,
            Self::Decode { batch, .. } => batch,
            Self::Mixed { chunk, batch, .. } => chunk + batch,
            Self::Move { .. } => 0,
        }
    }
}

/// One timing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Of what.
    pub work: Work,
    /// How long it took.
    pub seconds: f64,
}

/// A closed-loop benchmark of a coupled engine: so many clients, each with one request at a time, all alike.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Serving {
    /// Prompt tokens.
    pub input: u64,
    /// Answer tokens.
    pub output: u64,
    /// Clients.
    pub concurrency: u32,
    /// Mean time to first token, seconds.
    pub ttft_s: f64,
    /// Mean time of each further token, seconds.
    pub tpot_s: f64,
}

/// Where timings are from, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Accelerator.
    pub gpu: Option<String>,
    /// Model.
    pub model: Option<String>,
    /// Accelerators together, tensor parallel.
    pub tp: Option<u32>,
    /// Engine and version.
    pub engine: Option<String>,
    /// When it was measured.
    pub date: Option<String>,
    /// Who measured it, and where it is published.
    pub source: Option<String>,
}

/// All that one file says of one machine.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Data {
    /// Where it is from.
    pub facts: Facts,
    /// Timings of work.
    pub points: Vec<Point>,
    /// Timings of a service.
    pub serving: Vec<Serving>,
    /// Which rows were taken, for people.
    pub rows: String,
    /// What was left out, and why.
    pub left_out: Vec<String>,
}

impl Data {
    /// The same with `token_s` seconds more for every token that is computed.
    pub(super) fn slower(mut self, token_s: f64) -> Self {
        for point in &mut self.points {
            point.seconds += token_s * point.work.computed() as f64;
        }
        self
    }

    /// Each setting once, with the median (nearest rank) of its repeats.
    pub(super) fn settings(&self) -> Vec<Point> {
        let mut by_work: BTreeMap<Work, Vec<f64>> = BTreeMap::new();
        for point in &self.points {
            by_work.entry(point.work).or_default().push(point.seconds);
        }
        let median = |(work, mut seconds): (Work, Vec<f64>)| {
            seconds.sort_by(f64::total_cmp);
            Point {
                work,
                seconds: seconds[(seconds.len() - 1) / 2],
            }
        };
        by_work.into_iter().map(median).collect()
    }
}

/// Columns of the project's own CSV that every file of it has.
pub(super) const OWN: [&str; 2] = ["kind", "seconds"];

/// Reads the project's own CSV.
pub(super) fn own(sheet: &Sheet) -> Result<Data, CalibrateError> {
    let mut facts = Facts::default();
    for (key, value) in &sheet.notes {
        let value = Some(value.clone());
        match key.as_str() {
            "gpu" => facts.gpu = value,
            "model" => facts.model = value,
            "tp" => facts.tp = value.and_then(|value| value.parse().ok()),
            "engine" => facts.engine = value,
            "date" => facts.date = value,
            "source" => facts.source = value,
            _ => {}
        }
    }
    let mut points = Vec::new();
    for row in &sheet.rows {
        let whole = |column: &str, least| sheet.whole(row, column, least);
        let work = match sheet.text(row, "kind") {
            "prefill" => {
                let (prompt, cached) = (whole("prompt", 1)?, whole("cached", 0)?);
                if cached >= prompt {
                    return Err(sheet.wrong(row, "cached", "fewer tokens than `prompt`"));
                }
                Work::Prefill { prompt, cached }
            }
            "decode" => Work::Decode {
                batch: whole("batch", 1)?,
                context: whole("context", 1)?,
            },
            "mixed" => Work::Mixed {
                chunk: whole("chunk", 1)?,
                chunk_cached: whole("chunk_cached", 0)?,
                batch: whole("batch", 1)?,
                context: whole("context", 1)?,
            },
            "transfer" => Work::Move {
                way: Way::Transfer,
                bytes: whole("bytes", 1)?,
            },
            "load" => Work::Move {
                way: Way::Load,
                bytes: whole("bytes", 1)?,
            },
            _ => return Err(sheet.wrong(row, "kind", "prefill, decode, mixed, transfer or load")),
        };
        points.push(Point {
            work,
            seconds: sheet.positive(row, "seconds")?,
        });
    }
    Ok(Data {
        facts,
        rows: format!("all {} rows", points.len()),
        points,
        ..Data::default()
    })
}
