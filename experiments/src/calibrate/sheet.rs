//! A CSV file with a header, in memory: cells by name, and errors that name file, line and column.
//!
//! Plain or gzip, told by its first bytes. Lines that begin with `#` are comments; `# key: value` before the header
//! says something about all rows. Not here: what columns mean (`adapters`).

use super::CalibrateError;
use flate2::read::GzDecoder;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

/// No file of timings is larger, unpacked: 256 MiB.
const BYTES_MAX: u64 = 256 << 20;

/// A file of rows.
#[derive(Debug)]
pub(super) struct Sheet {
    pub(super) path: PathBuf,
    header: Vec<String>,
    /// `key: value` of the comments.
    pub(super) notes: Vec<(String, String)>,
    pub(super) rows: Vec<Row>,
}

/// One row.
#[derive(Clone, Debug)]
pub(super) struct Row {
    line: u64,
    cells: Vec<String>,
}

impl Sheet {
    pub(super) fn open(path: &Path) -> Result<Self, CalibrateError> {
        let wrong = |message: String| CalibrateError::File {
            path: path.to_path_buf(),
            message,
        };
        let bytes = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        let mut text = Vec::new();
        let packed = bytes.starts_with(&[0x1f, 0x8b]);
        let mut reader: Box<dyn Read> = match packed {
            true => Box::new(GzDecoder::new(&*bytes)),
            false => Box::new(&*bytes),
        };
        reader
            .by_ref()
            .take(BYTES_MAX + 1)
            .read_to_end(&mut text)
            .map_err(|error| wrong(format!("cannot be unpacked: {error}")))?;
        if text.len() as u64 > BYTES_MAX {
            return Err(wrong("expected at most 256 MiB".to_string()));
        }
        let text = String::from_utf8(text)
            .map_err(|_| wrong("expected CSV, found bytes that are not text".to_string()))?;
        Self::parse(path, &text)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, CalibrateError> {
        let wrong = |message: String| CalibrateError::File {
            path: path.to_path_buf(),
            message,
        };
        let comments = text.lines().take_while(|line| line.starts_with('#'));
        let notes = comments.filter_map(|line| line.trim_start_matches('#').split_once(':'));
        let notes = notes.map(|(key, value)| (key.trim().to_string(), value.trim().to_string()));
        let mut reader = csv::ReaderBuilder::new()
            .comment(Some(b'#'))
            .trim(csv::Trim::All)
            .from_reader(text.as_bytes());
        let header = reader.headers().map_err(|error| wrong(error.to_string()))?;
        let header: Vec<String> = header.iter().map(str::to_string).collect();
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(|error| wrong(error.to_string()))?;
            rows.push(Row {
                line: record.position().map_or(0, csv::Position::line),
                cells: record.iter().map(str::to_string).collect(),
            });
        }
        if rows.is_empty() {
            return Err(wrong(
                "expected a header and rows below it, found no rows".to_string(),
            ));
        }
        Ok(Self {
            path: path.to_path_buf(),
            header,
            notes: notes.collect(),
            rows,
        })
    }

    /// True if it has all these columns.
    pub(super) fn has(&self, columns: &[&str]) -> bool {
        columns
            .iter()
            .all(|column| self.header.iter().any(|has| has == column))
    }

    /// A cell; empty if there is no such column.
    pub(super) fn text<'a>(&self, row: &'a Row, column: &str) -> &'a str {
        let place = self.header.iter().position(|has| has == column);
        place
            .and_then(|place| row.cells.get(place))
            .map_or("", String::as_str)
    }

    /// A time or another number above 0.
    pub(super) fn positive(&self, row: &Row, column: &str) -> Result<f64, CalibrateError> {
        let found = self.text(row, column);
        let value = found.parse::<f64>().ok();
        value
            .filter(|value| value.is_finite() && *value > 0.0)
            .ok_or_else(|| self.wrong(row, column, "a number above 0"))
    }

    /// A count of tokens or requests, from `least` up. An empty cell is 0 where 0 may be.
    pub(super) fn whole(&self, row: &Row, column: &str, least: u64) -> Result<u64, CalibrateError> {
        let found = self.text(row, column);
        if found.is_empty() && least == 0 {
            return Ok(0);
        }
        let value = found.parse::<u64>().ok();
        let expected = match least {
            0 => "a whole number from 0 to 16777216",
            _ => "a whole number from 1 to 16777216",
        };
        value
            .filter(|value| (least..=1 << 24).contains(value))
            .ok_or_else(|| self.wrong(row, column, expected))
    }

    pub(super) fn wrong(&self, row: &Row, column: &str, expected: &'static str) -> CalibrateError {
        CalibrateError::Cell {
            path: self.path.clone(),
            line: row.line,
            column: column.to_string(),
            expected,
            found: self.text(row, column).to_string(),
        }
    }

    /// Keeps the rows that have `wanted` in `column`; without a wish all rows must be alike. `option` is what a
    /// person types. Gives what the rows have in common.
    pub(super) fn choose(
        &mut self,
        column: &str,
        option: &'static str,
        wanted: Option<&str>,
    ) -> Result<String, CalibrateError> {
        let values: BTreeSet<&str> = self.rows.iter().map(|row| self.text(row, column)).collect();
        let chosen = match (wanted, values.len()) {
            (None, 1) => values.first().copied(),
            (None, _) => None,
            (Some(wanted), _) => values.get(wanted).copied(),
        };
        let Some(chosen) = chosen.map(str::to_string) else {
            let has: Vec<String> = values.iter().map(|value| format!("\"{value}\"")).collect();
            return Err(CalibrateError::Choice {
                path: self.path.clone(),
                option,
                has: has.join(", "),
                found: wanted.map_or_else(|| "none".to_string(), |wanted| format!("\"{wanted}\"")),
            });
        };
        let rows = std::mem::take(&mut self.rows);
        self.rows = rows
            .into_iter()
            .filter(|row| self.text(row, column) == chosen)
            .collect();
        Ok(chosen)
    }
}
