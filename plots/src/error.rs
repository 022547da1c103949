//! What can go wrong between a table and a picture.
//!
//! Not here: missing data. A chart without data is a picture that says so, because a run in which
//! every request was rejected still deserves its report.

use std::convert::Infallible;
use std::path::PathBuf;

use plotters::drawing::DrawingAreaErrorKind;

/// Why a picture could not be drawn or a table could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlotError {
    /// Two parts of a chart that must have equal lengths do not.
    #[error("{chart}: {what} has {found} values, expected {expected} ({per})")]
    Shape {
        /// Title of the chart.
        chart: String,
        /// The part that is wrong, such as the name of a series.
        what: String,
        /// How many values it has.
        found: usize,
        /// How many it should have.
        expected: usize,
        /// What one value stands for, such as "one a group".
        per: &'static str,
    },
    /// A chart has more series than can be told apart.
    #[error("{chart}: {found} series, at most {limit} can be told apart")]
    TooManySeries {
        /// Title of the chart.
        chart: String,
        /// How many differently named series it has.
        found: usize,
        /// How many colours there are.
        limit: usize,
    },
    /// A file could not be opened.
    #[error("{path}: cannot open", path = .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not CSV with one header line and rows of equal length.
    #[error("{file}: not a readable CSV table")]
    Csv {
        /// Name of the file, or of the source if it is not a file.
        file: String,
        /// What is wrong, with its line.
        source: csv::Error,
    },
    /// A table lacks a column.
    #[error("{file}: no column `{column}`; there are {available}")]
    NoColumn {
        /// Name of the file.
        file: String,
        /// The column asked for.
        column: String,
        /// The columns that exist, separated by commas.
        available: String,
    },
    /// A cell of a numeric column is not a number.
    #[error("{file}, line {line}, column `{column}`: `{found}` is not a number")]
    NotANumber {
        /// Name of the file.
        file: String,
        /// Line in the file, counted from 1, the header included.
        line: u64,
        /// The column.
        column: String,
        /// What stands there.
        found: String,
    },
    /// A picture cannot be made a PNG.
    #[cfg(feature = "png")]
    #[error("cannot make a PNG: {what}")]
    Png {
        /// Why not.
        what: String,
    },
    /// The drawing layer failed; no known input leads here.
    #[error("cannot draw")]
    Draw(#[from] DrawingAreaErrorKind<Infallible>),
}
