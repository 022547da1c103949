//! Columns of the project's CSV files, so that a figure can be redrawn from disk alone.
//!
//! All cells are kept as text; a column becomes numbers when it is asked for. Lines that begin with `#` are comments:
//! a published curve says there where it is from. Not here: formats of traces, types of runs.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::PlotError;

/// A table read from CSV: a header line and rows of equal length.
#[derive(Clone, Debug)]
pub struct Table {
    name: String,
    header: Vec<String>,
    rows: Vec<Row>,
}

#[derive(Clone, Debug)]
struct Row {
    line: u64,
    cells: Vec<String>,
}

impl Table {
    /// Reads the file at `path`.
    ///
    /// # Errors
    ///
    /// [`PlotError::Open`] if it cannot be opened, [`PlotError::Csv`] if it is not such a table.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, PlotError> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|source| PlotError::Open {
            path: path.to_owned(),
            source,
        })?;
        Self::read(path.display().to_string(), file)
    }

    /// Reads from `source`, which error messages call `name`.
    ///
    /// # Errors
    ///
    /// [`PlotError::Csv`] if it is not such a table.
    pub fn read(name: impl Into<String>, source: impl Read) -> Result<Self, PlotError> {
        let name = name.into();
        let wrong = |source| PlotError::Csv {
            file: name.clone(),
            source,
        };
        let mut reader = csv::ReaderBuilder::new()
            .trim(csv::Trim::All)
            .comment(Some(b'#'))
            .from_reader(source);
        let header = reader
            .headers()
            .map_err(wrong)?
            .iter()
            .map(str::to_owned)
            .collect();
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(wrong)?;
            let line = record.position().map_or(0, csv::Position::line);
            rows.push(Row {
                line,
                cells: record.iter().map(str::to_owned).collect(),
            });
        }
        Ok(Self { name, header, rows })
    }

    /// Names of the columns, in order.
    pub fn header(&self) -> &[String] {
        &self.header
    }

    /// Number of rows, the header not counted.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The column `column` as numbers. An empty cell is NaN: there was nothing to measure, such as
    /// the TTFT of a rejected request.
    ///
    /// # Errors
    ///
    /// [`PlotError::NoColumn`], or [`PlotError::NotANumber`] with file, line and column.
    pub fn column(&self, column: &str) -> Result<Vec<f64>, PlotError> {
        let index = self.index(column)?;
        let number = |row: &Row| {
            let cell = &row.cells[index];
            if cell.is_empty() {
                return Ok(f64::NAN);
            }
            cell.parse().map_err(|_| PlotError::NotANumber {
                file: self.name.clone(),
                line: row.line,
                column: column.to_owned(),
                found: cell.clone(),
            })
        };
        self.rows.iter().map(number).collect()
    }

    /// The column `column` as text.
    ///
    /// # Errors
    ///
    /// [`PlotError::NoColumn`].
    pub fn column_text(&self, column: &str) -> Result<Vec<String>, PlotError> {
        let index = self.index(column)?;
        Ok(self
            .rows
            .iter()
            .map(|row| row.cells[index].clone())
            .collect())
    }

    /// Two numeric columns as points; rows in which either is empty keep their NaN.
    ///
    /// # Errors
    ///
    /// As [`Table::column`].
    pub fn points(&self, x: &str, y: &str) -> Result<Vec<(f64, f64)>, PlotError> {
        Ok(self.column(x)?.into_iter().zip(self.column(y)?).collect())
    }

    fn index(&self, column: &str) -> Result<usize, PlotError> {
        self.header
            .iter()
            .position(|name| name == column)
            .ok_or_else(|| PlotError::NoColumn {
                file: self.name.clone(),
                column: column.to_owned(),
                available: self.header.join(", "),
            })
    }
}
