//! What can be wrong with a trace file, said so that a person can mend it: file, line, field, what was expected.
//!
//! [`RowProblem`] knows nothing of files: the reader adds path and line. Not here: any recovery. A trace that is
//! wrong in one row is refused whole, since a silently skipped row would change every result that follows.

use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why a trace could not be read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TraceError {
    /// The file could not be opened.
    #[error("{}: cannot open the trace: {source}", .path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The path names a directory.
    #[error("{}: expected a trace file, found a directory", .path.display())]
    Directory {
        /// Which path.
        path: PathBuf,
    },
    /// There is no row in the file.
    #[error("{}: the trace has no rows", .path.display())]
    Empty {
        /// Which file.
        path: PathBuf,
    },
    /// The first line belongs to no known format.
    #[error(
        "{}:1: expected Mooncake JSONL (a line that begins with `{{`) or Azure CSV (the header \
         `TIMESTAMP,ContextTokens,GeneratedTokens`), found `{found}`", .path.display()
    )]
    UnknownFormat {
        /// Which file.
        path: PathBuf,
        /// The beginning of the first line.
        found: String,
    },
    /// The bytes stopped or made no sense to the decompressor.
    #[error("{}:{line}: cannot read on: {source}", .path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// The line that was being read, from 1.
        line: u64,
        /// What the system or the decompressor said; a cut-off file says so here.
        source: io::Error,
    },
    /// One row is wrong.
    #[error("{}:{line}: {problem}", .path.display())]
    Row {
        /// Which file.
        path: PathBuf,
        /// Which line, from 1.
        line: u64,
        /// What is wrong with it.
        problem: RowProblem,
    },
    /// The output could not be written.
    #[error("{}: cannot write the trace: {source}", .path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The output's name says no format.
    #[error(
        "{}: expected a name that ends in .jsonl, .jsonl.gz, .jsonl.zst or .csv (.csv.gz, .csv.zst)",
        .path.display()
    )]
    UnknownOutput {
        /// The name.
        path: PathBuf,
    },
}

/// What is wrong with one row.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RowProblem {
    /// The line is not of the format at all.
    #[error("column {column}: expected {expected}, found {found}")]
    Syntax {
        /// Byte within the line, from 1.
        column: usize,
        /// What should stand there.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// A field holds something else than it should.
    #[error("field `{field}`: expected {expected}, found {found}")]
    Field {
        /// The field's name in the file.
        field: &'static str,
        /// What it should hold, with its range.
        expected: &'static str,
        /// What it holds.
        found: String,
    },
    /// A field is absent.
    #[error("field `{field}`: expected {expected}, but the row has no such field")]
    Missing {
        /// The field's name in the file.
        field: &'static str,
        /// What it should hold.
        expected: &'static str,
    },
    /// A field stands twice in the row.
    #[error("field `{field}`: expected once, found twice")]
    Duplicate {
        /// The field's name in the file.
        field: &'static str,
    },
    /// The prompt's length and the number of its blocks contradict each other.
    #[error(
        "field `hash_ids`: expected {expected} ids for {input_tokens} input tokens in blocks of \
         {block_tokens}, found {found}"
    )]
    BlockCount {
        /// Ids that the length asks for.
        expected: u64,
        /// Ids in the row.
        found: u64,
        /// The prompt's length in tokens.
        input_tokens: u64,
        /// The size of a block in tokens.
        block_tokens: u64,
    },
    /// One block stands twice in a prompt, which a chained hash cannot do.
    #[error("field `hash_ids`: expected distinct ids, found {id} twice")]
    RepeatedBlock {
        /// The id.
        id: u64,
    },
    /// Time goes back.
    #[error(
        "field `{field}`: expected a time not before the rows above, found one {} ms earlier; \
         --sort accepts such a trace", *.back_ns as f64 / 1e6
    )]
    Backwards {
        /// The field's name in the file.
        field: &'static str,
        /// How far this row lies before the latest one above, in nanoseconds.
        back_ns: u64,
    },
    /// The line is not text.
    #[error("column {column}: expected UTF-8 text, found the byte 0x{byte:02x}")]
    NotUtf8 {
        /// Byte within the line, from 1.
        column: usize,
        /// The byte.
        byte: u8,
    },
    /// The line is longer than any sane row.
    #[error("expected a line of at most {limit} bytes, found a longer one")]
    TooLong {
        /// The bound in bytes.
        limit: usize,
    },
    /// A blank line with rows after it.
    #[error("expected a row, found a blank line (blank lines are fine only at the end)")]
    Blank,
}

/// The beginning of `bytes`, fit to stand in a message: one line, at most 40 characters.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]);
    let mut shown = String::new();
    for character in text.chars().take(40) {
        if character.is_control() {
            shown.extend(character.escape_default())
        } else {
            shown.push(character)
        }
    }
    if text.chars().count() > 40 {
        shown.push('…');
    }
    shown
}
