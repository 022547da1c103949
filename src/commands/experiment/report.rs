//! `conductor experiment report`: the page of all results below a folder, made again from their files.

use crate::args::ExperimentReportArgs;
use crate::failure::Failure;
use crate::{render, report};

/// Writes `report.html` into the folder and says so.
pub(super) fn report(args: &ExperimentReportArgs) -> Result<(), Failure> {
    let path = report::write(&args.folder)?;
    Ok(render::print(format_args!("Report: {}", path.display()))?)
}
