//! Writing traces: the output's name says the format and the compression.
//!
//! Rows without blocks get fresh ids in Mooncake JSONL, since that format has no way to say "unknown"; a fresh id
//! is shared with nobody, so no prefix is invented. Azure CSV drops the blocks. Not here: sorting.

use super::azure;
use super::error::TraceError;
use conductor_core::units::Tokens;
use conductor_core::workload::WorkloadRequest;
use flate2::Compression;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Fresh ids begin here: above any dense numbering, and below 2^53, so that readers with float numbers keep them.
const FIRST_FRESH_ID: u64 = 1 << 52;

/// zstd frames hold this many bytes of text; a file is a sequence of frames.
const ZSTD_FRAME: usize = 4 << 20;

/// 2020-01-01 00:00:00 UTC, the day on which written Azure traces begin, in seconds since 1970.
const AZURE_START: u64 = 1_577_836_800;

/// Writes a trace row by row. Only [`TraceWriter::finish`] makes the file whole.
#[must_use]
pub struct TraceWriter {
    path: PathBuf,
    out: Sink,
    csv: bool,
    block_tokens: Tokens,
    next_fresh_id: u64,
    line: Vec<u8>,
}

enum Sink {
    Plain(BufWriter<File>),
    Gzip(BufWriter<GzEncoder<File>>),
    Zstd { file: File, pending: Vec<u8> },
}

impl TraceWriter {
    /// Creates the file, or empties it.
    ///
    /// # Errors
    /// The name ends in none of `.jsonl`, `.csv`, and these with `.gz` or `.zst`; or the file cannot be made.
    ///
    /// # Panics
    /// Where `block_tokens` is zero.
    pub fn create(path: impl AsRef<Path>, block_tokens: Tokens) -> Result<Self, TraceError> {
        assert!(!block_tokens.is_zero(), "a block holds at least one token");
        let path = path.as_ref();
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let plain = name
            .strip_suffix(".gz")
            .or_else(|| name.strip_suffix(".zst"))
            .unwrap_or(&name);
        let csv = plain.ends_with(".csv");
        if !csv && !plain.ends_with(".jsonl") {
            return Err(TraceError::UnknownOutput {
                path: path.to_owned(),
            });
        }
        let file = File::create(path).map_err(|source| TraceError::Write {
            path: path.to_owned(),
            source,
        })?;
        let out = if name.ends_with(".gz") {
            Sink::Gzip(BufWriter::new(GzEncoder::new(file, Compression::default())))
        } else if name.ends_with(".zst") {
            Sink::Zstd {
                file,
                pending: Vec::with_capacity(ZSTD_FRAME),
            }
        } else {
            Sink::Plain(BufWriter::new(file))
        };
        let mut writer = Self {
            path: path.to_owned(),
            out,
            csv,
            block_tokens,
            next_fresh_id: FIRST_FRESH_ID,
            line: Vec::new(),
        };
        if csv {
            writer.line.extend_from_slice(azure::HEADER.as_bytes());
            writer.line.push(b'\n');
            writer.flush_line()?;
        }
        Ok(writer)
    }

    /// Writes one row. Times are kept to the nanosecond in JSONL, to 100 ns in Azure CSV.
    ///
    /// # Errors
    /// The system refuses to write.
    pub fn write(&mut self, row: &WorkloadRequest) -> Result<(), TraceError> {
        let formatted = if self.csv {
            self.csv_row(row)
        } else {
            self.jsonl_row(row)
        };
        formatted.map_err(|source| TraceError::Write {
            path: self.path.clone(),
            source,
        })?;
        self.flush_line()
    }

    /// Writes what is still held back and closes the file.
    ///
    /// # Errors
    /// The system refuses to write.
    pub fn finish(self) -> Result<(), TraceError> {
        let done = match self.out {
            Sink::Plain(mut file) => file.flush(),
            Sink::Gzip(out) => out
                .into_inner()
                .map_err(io::IntoInnerError::into_error)
                .and_then(|gz| gz.finish().map(drop)),
            Sink::Zstd { mut file, pending } => file.write_all(&zstd_frame(&pending)),
        };
        done.map_err(|source| TraceError::Write {
            path: self.path,
            source,
        })
    }

    fn jsonl_row(&mut self, row: &WorkloadRequest) -> io::Result<()> {
        let line = &mut self.line;
        let (millis, rest) = (row.arrival.0 / 1_000_000, row.arrival.0 % 1_000_000);
        write!(line, "{{\"timestamp\": {millis}")?;
        if rest > 0 {
            let fraction = format!(".{rest:06}");
            line.extend_from_slice(fraction.trim_end_matches('0').as_bytes());
        }
        write!(
            line,
            ", \"input_length\": {}, \"output_length\": {}, \"hash_ids\": [",
            row.input.0, row.output.0
        )?;
        let mut separator = "";
        if row.blocks.is_empty() {
            for _ in 0..row.input.blocks(self.block_tokens) {
                write!(line, "{separator}{}", self.next_fresh_id)?;
                self.next_fresh_id += 1;
                separator = ", ";
            }
        }
        for block in &row.blocks {
            write!(line, "{separator}{}", block.0)?;
            separator = ", ";
        }
        line.extend_from_slice(b"]}\n");
        Ok(())
    }

    fn csv_row(&mut self, row: &WorkloadRequest) -> io::Result<()> {
        let seconds = AZURE_START + row.arrival.0 / 1_000_000_000;
        let ticks = row.arrival.0 % 1_000_000_000 / 100;
        let (year, month, day) = azure::date(seconds / 86_400);
        let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
        writeln!(
            self.line,
            "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{ticks:07},{},{}",
            row.input.0, row.output.0
        )
    }

    fn flush_line(&mut self) -> Result<(), TraceError> {
        let done = match &mut self.out {
            Sink::Plain(file) => file.write_all(&self.line),
            Sink::Gzip(file) => file.write_all(&self.line),
            Sink::Zstd { file, pending } => {
                pending.extend_from_slice(&self.line);
                if pending.len() < ZSTD_FRAME {
                    Ok(())
                } else {
                    let written = file.write_all(&zstd_frame(pending));
                    pending.clear();
                    written
                }
            }
        };
        self.line.clear();
        done.map_err(|source| TraceError::Write {
            path: self.path.clone(),
            source,
        })
    }
}

fn zstd_frame(text: &[u8]) -> Vec<u8> {
    compress_to_vec(text, CompressionLevel::Fastest)
}
