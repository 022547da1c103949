//! Why data gives no profile; each is one line that says what, where and what was expected.

use crate::inputs::InputError;
use conductor_core::config::ConfigError;
use std::path::PathBuf;

/// Why data gives no profile.
#[derive(Debug, thiserror::Error)]
pub enum CalibrateError {
    /// The file cannot be read, or is not the CSV that it claims to be.
    #[error("{path}: {message}")]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// One cell is wrong.
    #[error("{path}:{line}: `{column}`: expected {expected}, found \"{found}\"")]
    Cell {
        /// Which file.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// Column by name.
        column: String,
        /// What may stand there.
        expected: &'static str,
        /// What does.
        found: String,
    },
    /// The file has rows of several machines and nobody said which, or it has not the one that was asked for.
    #[error("{path}: {option}: expected one of {has}, found {found}")]
    Choice {
        /// Which file.
        path: PathBuf,
        /// The option that chooses.
        option: &'static str,
        /// What the file has.
        has: String,
        /// What was asked for.
        found: String,
    },
    /// Not enough to fit.
    #[error("{path}: {what}: expected rows of at least {least} different settings, found {found}")]
    TooFew {
        /// Which file.
        path: PathBuf,
        /// Of what.
        what: &'static str,
        /// How many are needed.
        least: usize,
        /// How many there are.
        found: usize,
    },
    /// An option is wrong.
    #[error("{option}: expected {expected}, found {found}")]
    Option {
        /// Which.
        option: String,
        /// What it may be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The profile that gives what timings cannot.
    #[error(transparent)]
    Base(#[from] InputError),
    /// What was fitted is outside of what a profile may say.
    #[error("the fitted profile is refused: {0}")]
    Refused(ConfigError),
}
