//! Reading and writing traces: one iterator of [`WorkloadRequest`], whatever the file looks like.
//!
//! [`open`] recognises compression (plain, gzip, zstd) and format (Mooncake JSONL, Azure CSV) by content. Rows
//! stream: memory is a buffer and one line, unless [`ReadOptions::sort`] asks for the whole trace. The first
//! fault ends the iteration with an error that names file, line and field; nothing is ever skipped silently.
//!
//! Not here: replay speed and row limits, which belong to whoever replays.

mod azure;
mod error;
mod json;
mod locate;
mod mooncake;
mod source;
mod write;

pub use error::{RowProblem, TraceError};
pub use locate::{NAMED_TRACES, locate};
pub use write::TraceWriter;

use conductor_core::units::{Nanos, Tokens};
use conductor_core::workload::WorkloadRequest;
use source::Lines;
use std::io::Read;
use std::path::Path;

/// The longest prompt and the longest answer that a trace may ask for, in tokens.
pub const MAX_TOKENS: u64 = 1 << 24;

/// How a trace is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadOptions {
    /// Tokens in one block of `hash_ids`; at least one. Mooncake's traces use 512.
    pub block_tokens: Tokens,
    /// Accept rows out of order and sort them by time, equal times in file order. Needs memory for all rows.
    pub sort: bool,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            block_tokens: Tokens(512),
            sort: false,
        }
    }
}

/// A format of traces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// Mooncake JSONL, with prefix hashes.
    Mooncake,
    /// Azure CSV, lengths only.
    Azure,
}

/// The rows of a trace, in order of arrival. Ends at the first fault.
#[must_use]
pub struct TraceReader {
    lines: Lines,
    format: Format,
    options: ReadOptions,
    /// The first row, which `open` has read already.
    first: Option<WorkloadRequest>,
    /// All rows, where they had to be sorted.
    sorted: Option<std::vec::IntoIter<WorkloadRequest>>,
    /// The latest arrival as the file has it.
    latest: Nanos,
    /// What the file calls the run's start.
    start: Nanos,
    scratch: Vec<u64>,
    failed: bool,
}

/// Opens a trace and reads its first row, so that what is no trace fails here.
///
/// # Errors
/// The file cannot be opened, is a directory, has no rows, is of no known format, or its first row is wrong; with
/// [`ReadOptions::sort`], any wrong row.
///
/// # Panics
/// Where the options ask for blocks of zero tokens.
pub fn open(path: impl AsRef<Path>, options: &ReadOptions) -> Result<TraceReader, TraceError> {
    TraceReader::new(Lines::open(path.as_ref())?, options)
}

/// Reads a whole trace into memory.
///
/// # Errors
/// The first fault, as [`open`] and the iteration find it.
pub fn read_all(
    path: impl AsRef<Path>,
    options: &ReadOptions,
) -> Result<Vec<WorkloadRequest>, TraceError> {
    open(path, options)?.collect()
}

impl TraceReader {
    /// Reads from any bytes, compressed or not; `name` stands for the path in messages.
    ///
    /// # Errors
    /// As [`open`].
    ///
    /// # Panics
    /// As [`open`].
    pub fn from_bytes(
        name: impl AsRef<Path>,
        input: impl Read + 'static,
        options: &ReadOptions,
    ) -> Result<Self, TraceError> {
        Self::new(Lines::new(name.as_ref(), Box::new(input))?, options)
    }

    fn new(mut lines: Lines, options: &ReadOptions) -> Result<Self, TraceError> {
        assert!(
            !options.block_tokens.is_zero(),
            "a block holds at least one token"
        );
        let first = lines.next_line()?.map(str::trim_ascii);
        let format = match first {
            None => return Err(lines.empty()),
            Some(line) if line.starts_with('{') => Format::Mooncake,
            Some(azure::HEADER) => Format::Azure,
            // A first line that is blank is only right in a file that is blank altogether.
            Some("") => {
                return Err(match rest_is_blank(&mut lines)? {
                    true => lines.empty(),
                    false => lines.unknown(),
                });
            }
            Some(_) => return Err(lines.unknown()),
        };
        let mut reader = Self {
            lines,
            format,
            options: options.clone(),
            first: None,
            sorted: None,
            latest: Nanos::ZERO,
            start: Nanos::ZERO,
            scratch: Vec::new(),
            failed: false,
        };
        let first = match format {
            Format::Mooncake => reader.parse_current()?,
            Format::Azure => reader.read_row()?.ok_or_else(|| reader.lines.empty())?,
        };
        if format == Format::Azure {
            reader.start = first.arrival;
        }
        reader.latest = first.arrival;
        reader.first = Some(first);
        if reader.options.sort {
            reader.sort_rows()?;
        }
        Ok(reader)
    }

    /// The format that was recognised.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// Tokens in one block of a row's prompt.
    #[must_use]
    pub const fn block_tokens(&self) -> Tokens {
        self.options.block_tokens
    }

    fn sort_rows(&mut self) -> Result<(), TraceError> {
        let mut rows: Vec<WorkloadRequest> = self.first.take().into_iter().collect();
        while let Some(row) = self.read_row()? {
            rows.push(row);
        }
        rows.sort_by_key(|row| row.arrival);
        // Azure's stamps are wall clock: the earliest row is the start.
        if let (Format::Azure, Some(first)) = (self.format, rows.first()) {
            self.start = first.arrival;
        }
        self.sorted = Some(rows.into_iter());
        Ok(())
    }

    /// The next row with the file's own time; `None` at the end.
    fn read_row(&mut self) -> Result<Option<WorkloadRequest>, TraceError> {
        match self.lines.next_line()? {
            None => return Ok(None),
            Some(line) if line.trim_ascii().is_empty() => {
                let blank = self.lines.fault(RowProblem::Blank);
                return if rest_is_blank(&mut self.lines)? {
                    Ok(None)
                } else {
                    Err(blank)
                };
            }
            Some(_) => {}
        }
        let row = self.parse_current()?;
        if !self.options.sort && row.arrival < self.latest {
            return Err(self.lines.fault(RowProblem::Backwards {
                field: if self.format == Format::Azure {
                    "TIMESTAMP"
                } else {
                    "timestamp"
                },
                back_ns: (self.latest - row.arrival).0,
            }));
        }
        self.latest = self.latest.max(row.arrival);
        Ok(Some(row))
    }

    fn parse_current(&mut self) -> Result<WorkloadRequest, TraceError> {
        let parsed = match self.format {
            Format::Mooncake => {
                mooncake::parse(self.lines.current(), &self.options, &mut self.scratch)
            }
            Format::Azure => azure::parse(self.lines.current()),
        };
        parsed.map_err(|problem| self.lines.fault(problem))
    }

    fn next_row(&mut self) -> Result<Option<WorkloadRequest>, TraceError> {
        let row = match (&mut self.sorted, self.first.take()) {
            (Some(rows), _) => rows.next(),
            (None, Some(first)) => Some(first),
            (None, None) => self.read_row()?,
        };
        Ok(row.map(|mut row| {
            row.arrival -= self.start;
            row
        }))
    }
}

impl Iterator for TraceReader {
    type Item = Result<WorkloadRequest, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let row = self.next_row();
        // Behind a fault the place in the file means nothing.
        self.failed = row.is_err();
        row.transpose()
    }
}

fn rest_is_blank(lines: &mut Lines) -> Result<bool, TraceError> {
    while let Some(line) = lines.next_line()? {
        if !line.trim_ascii().is_empty() {
            return Ok(false);
        }
    }
    Ok(true)
}
