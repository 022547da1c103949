//! Further formats of output, beside what is always written: pictures as PNG, tables as Parquet.
//!
//! Both are made of the SVG and CSV files in a folder, so they hold what those hold. Each is behind a cargo feature of
//! its name: what they need takes longer to build than the rest of this program.

#[cfg(feature = "parquet")]
mod parquet;

use crate::args::{FormatArgs, WorldArgs};
use crate::failure::Failure;
use std::path::{Path, PathBuf};

impl FormatArgs {
    /// Refuses what this program was built without, before anything is run for it.
    pub(crate) fn check(self) -> Result<(), Failure> {
        let missing = [
            (self.png && cfg!(not(feature = "png")), "png"),
            (self.parquet && cfg!(not(feature = "parquet")), "parquet"),
        ];
        match missing.iter().find(|(is_missing, _)| *is_missing) {
            Some((_, name)) => Err(Failure::Input(format!(
                "--{name}: this conductor was built without it; build with `cargo build --release --features {name}`"
            ))),
            None => Ok(()),
        }
    }

    /// Writes them for the files that lie in `folder` itself.
    pub(crate) fn write(self, folder: &Path) -> Result<(), Failure> {
        if self.png {
            for path in files(folder, "svg")? {
                png(&path)?;
            }
        }
        if self.parquet {
            for path in files(folder, "csv")? {
                table(&path)?;
            }
        }
        Ok(())
    }
}

impl WorldArgs {
    /// Formats need a folder to be written into, and a program that has them.
    pub(crate) fn check_formats(&self) -> Result<(), Failure> {
        if (self.formats.png || self.formats.parquet) && self.out.is_none() {
            let message = "--png and --parquet: expected --out DIR, where the files go";
            return Err(Failure::Input(message.to_string()));
        }
        self.formats.check()
    }
}

/// The files in `folder` whose names end so, in order; what is published is not ours to convert.
fn files(folder: &Path, ending: &str) -> Result<Vec<PathBuf>, Failure> {
    let entries = folder
        .read_dir()
        .map_err(|error| Failure::file(folder, error))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let wanted = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(&format!(".{ending}")) && !name.ends_with("-published.csv")
    };
    let mut paths: Vec<PathBuf> = paths.filter(wanted).collect();
    paths.sort();
    Ok(paths)
}

/// Pixels for each px of a picture: sharp on paper and on screens of today.
#[cfg(feature = "png")]
const SCALE: f32 = 2.0;

#[cfg(feature = "png")]
fn png(path: &Path) -> Result<(), Failure> {
    let svg = std::fs::read_to_string(path).map_err(|error| Failure::file(path, error))?;
    let bytes = conductor_plots::to_png(&svg, SCALE).map_err(|error| Failure::file(path, error))?;
    let into = path.with_extension("png");
    std::fs::write(&into, bytes).map_err(|error| Failure::file(&into, error))
}

#[cfg(not(feature = "png"))]
fn png(_: &Path) -> Result<(), Failure> {
    unreachable!("`check` has refused it")
}

#[cfg(feature = "parquet")]
fn table(path: &Path) -> Result<(), Failure> {
    parquet::convert(path)
}

#[cfg(not(feature = "parquet"))]
fn table(_: &Path) -> Result<(), Failure> {
    unreachable!("`check` has refused it")
}
