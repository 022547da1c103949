//! What configuration files name: clusters, policies, profiles.
//!
//! The same names as in the lab, and the same files: what was validated there is what runs here.

use conductor_core::config::{ClusterConfig, ClusterText, ConfigError, PolicyConfig, Profile};
use std::io;
use std::path::{Path, PathBuf};

/// What a configuration refers to cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// A file cannot be read.
    #[error("{}: {why}", .path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What was seen.
        why: io::Error,
    },
    /// It is not as expected.
    #[error("{name}: {error}")]
    Wrong {
        /// Which.
        name: String,
        /// What is wrong, and what was expected.
        error: String,
    },
}

fn wrong(name: &str, error: &ConfigError) -> FileError {
    FileError::Wrong {
        name: name.into(),
        error: error.to_string(),
    }
}

/// True if a name means a file, not something built in.
fn is_file(name: &str) -> bool {
    name.ends_with(".toml") || name.contains(std::path::MAIN_SEPARATOR)
}

/// The text of a file.
///
/// # Errors
/// If it cannot be read.
pub fn read(path: &Path) -> Result<String, FileError> {
    std::fs::read_to_string(path).map_err(|why| FileError::Unreadable {
        path: path.into(),
        why,
    })
}

/// Reads a TOML file into `T`.
///
/// # Errors
/// If it cannot be read, or is not as expected.
pub fn parse<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, FileError> {
    let text = read(path)?;
    toml::from_str(&text).map_err(|error| {
        let line = error
            .span()
            .map(|span| text[..span.start].lines().count().max(1));
        let line = line.map_or(String::new(), |line| format!("line {line}: "));
        let error = error.message().trim().replace('\n', ", ");
        FileError::Wrong {
            name: path.display().to_string(),
            error: format!("{line}{error}"),
        }
    })
}

/// A policy by built-in name or file.
///
/// # Errors
/// If there is none, or the file is wrong.
pub fn policy(name: &str) -> Result<PolicyConfig, FileError> {
    let policy = match is_file(name) {
        true => PolicyConfig::parse(&read(Path::new(name))?),
        false => PolicyConfig::built_in(name),
    };
    policy.map_err(|error| wrong(name, &error))
}

/// A cluster by built-in name or file. Profiles that a file names and that are not built in lie beside it, as
/// `<name>.toml`.
///
/// # Errors
/// If there is none, or a file is wrong.
pub fn cluster(name: &str) -> Result<ClusterConfig, FileError> {
    if !is_file(name) {
        return ClusterConfig::built_in(name).map_err(|error| wrong(name, &error));
    }
    let path = Path::new(name);
    let text = read(path)?;
    let parsed = ClusterText::parse(&text).map_err(|error| wrong(name, &error))?;
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let mut profiles = Vec::new();
    for profile in parsed.profile_names() {
        let beside = folder.join(format!("{profile}.toml"));
        if Profile::built_in(profile).is_err() && beside.is_file() {
            let name = beside.display().to_string();
            let profile = Profile::parse(&read(&beside)?);
            profiles.push(profile.map_err(|error| wrong(&name, &error))?);
        }
    }
    ClusterConfig::parse(&text, &profiles).map_err(|error| wrong(name, &error))
}
