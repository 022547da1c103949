//! Files of timings that others have published, told by their header.
//!
//! Each adapter says what its columns are, which rows are left out and why, and where the file is from. A file with
//! several machines needs a choice; the error lists what there is. The folder of these files is not part of the
//! project; `experiments/CALIBRATION.md` says where each is from.

mod attention;
mod composed;
mod serving;
mod splitwise;

pub use attention::AttentionPoint;

use super::CalibrateError;
use super::data::{self, Data};
use super::sheet::Sheet;
use std::path::Path;

/// Which rows of a file, where it has several machines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Select {
    /// Accelerator, as the file calls it.
    pub gpu: Option<String>,
    /// Model, as the file calls it.
    pub model: Option<String>,
    /// Accelerators together.
    pub tp: Option<u32>,
    /// Engine, as the file calls it.
    pub backend: Option<String>,
}

/// What a file has.
#[derive(Clone, Debug)]
pub enum Input {
    /// Timings that a profile can be made of.
    Profile(Data),
    /// Timings of an attention kernel on mixed batches: no profile, but what a mixed batch costs.
    Attention(Vec<AttentionPoint>),
}

/// Reads a file of any known kind.
///
/// # Errors
/// If it is none, a cell is wrong, or a choice is missing.
pub fn read(path: &Path, select: &Select) -> Result<Input, CalibrateError> {
    let mut sheet = Sheet::open(path)?;
    if sheet.has(&data::OWN) {
        return data::own(&sheet).map(Input::Profile);
    }
    if sheet.has(&splitwise::COLUMNS) {
        return splitwise::read(&mut sheet, select).map(Input::Profile);
    }
    if sheet.has(&composed::COLUMNS) {
        return composed::read(&mut sheet, select).map(Input::Profile);
    }
    if sheet.has(&serving::COLUMNS) {
        return serving::read(&mut sheet, select).map(Input::Profile);
    }
    if sheet.has(&attention::COLUMNS) {
        return attention::read(&sheet).map(Input::Attention);
    }
    let known = [
        data::OWN.join(","),
        splitwise::COLUMNS.join(","),
        composed::COLUMNS.join(","),
        serving::COLUMNS.join(","),
        attention::COLUMNS.join(","),
    ];
    Err(CalibrateError::File {
        path: path.to_path_buf(),
        message: format!(
            "expected a header with one of these sets of columns: {}",
            known.join("; ")
        ),
    })
}

/// Accelerators, as a file writes them.
fn tp_text(select: &Select) -> Option<String> {
    select.tp.map(|tp| tp.to_string())
}
