//! `conductor experiment plot`: the plots of results, drawn again from their files alone.

use super::failure;
use crate::args::ExperimentPlotArgs;
use crate::failure::Failure;
use crate::{plots, render};
use conductor_experiments::Spec;
use std::path::{Path, PathBuf};

/// Draws the plots of one results folder, or of all below a folder.
pub(super) fn plot(args: &ExperimentPlotArgs) -> Result<(), Failure> {
    args.formats.check()?;
    let mut drawn = Vec::new();
    for folder in results_folders(&args.folder)? {
        let own = folder.join("spec.toml").display().to_string();
        let spec = Spec::load(args.spec.as_ref().unwrap_or(&own)).map_err(failure)?;
        if spec.plots.is_empty() {
            let folder = folder.display();
            eprintln!(
                "conductor: {folder}: the experiment {} has no plots",
                spec.name
            );
        }
        drawn.extend(plots::draw(&folder, &spec)?);
        args.formats.write(&folder)?;
    }
    let drawn = drawn.iter().map(|path| path.display().to_string());
    Ok(render::print(drawn.collect::<Vec<_>>().join("\n"))?)
}

/// The folder, if it is one of results; else those in it, in order.
pub(crate) fn results_folders(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let has_spec = |folder: &Path| folder.join("spec.toml").is_file();
    if has_spec(folder) {
        return Ok(vec![folder.to_path_buf()]);
    }
    let expected = |why: String| {
        let folder = folder.display();
        Failure::Input(format!(
            "{folder}: expected a results folder, with a spec.toml{why}"
        ))
    };
    let entries = folder
        .read_dir()
        .map_err(|error| expected(format!(": {error}")))?;
    let entries = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut found: Vec<_> = entries.filter(|folder| has_spec(folder)).collect();
    found.sort();
    if found.is_empty() {
        return Err(expected(", or a folder of such".to_string()));
    }
    Ok(found)
}
