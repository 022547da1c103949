//! Why an experiment gave no result, and whose fault it is.

use crate::execute::RunError;
use crate::fit::FitError;
use crate::inputs::InputError;
use crate::results::WriteError;
use crate::spec::SpecError;
use conductor_sim::SimError;
use std::path::PathBuf;

/// Why an experiment gave no result.
#[derive(Debug, thiserror::Error)]
pub enum ExperimentError {
    /// No experiment has this name.
    #[error("unknown experiment \"{name}\"{hint}, expected one of: {known}, or a TOML file")]
    Unknown {
        /// As given.
        name: String,
        /// The nearest there is, as part of a sentence; may be empty.
        hint: String,
        /// All there are.
        known: String,
    },
    /// A specification is wrong.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A specification file is wrong.
    #[error("{path}: {error}")]
    SpecFile {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        error: SpecError,
    },
    /// A file or name is wrong, before anything ran.
    #[error(transparent)]
    Input(#[from] InputError),
    /// One run has no result.
    #[error("run ({run}): {error}")]
    Run {
        /// Its axes and their values.
        run: String,
        /// Why.
        error: RunError,
    },
    /// Nothing can be kept.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The number could not be fitted.
    #[error("`fit`: {key}: {error}")]
    Fit {
        /// What was to be fitted.
        key: String,
        /// Why not.
        error: FitError,
    },
}

/// Why a search for a setting, as of capacity or tuning, gave no result.
#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    /// A setting is refused; one line that names its key.
    #[error("{0}")]
    Setting(String),
    /// A run failed.
    #[error(transparent)]
    Run(#[from] RunError),
}

impl ExperimentError {
    /// True if the input is wrong, false if a run failed on good input.
    #[must_use]
    pub const fn is_input(&self) -> bool {
        match self {
            Self::Unknown { .. } | Self::Spec(_) | Self::SpecFile { .. } | Self::Input(_) => true,
            Self::Run { error, .. } => matches!(
                error,
                RunError::Input(_)
                    | RunError::Sim(SimError::Workload(_) | SimError::ArrivalsGoBack { .. })
            ),
            Self::Write(_) => false,
            // A bracket that misses is a wrong bracket; a metric that jumps is nobody's fault.
            Self::Fit { error, .. } => matches!(error, FitError::NotBracketed { .. }),
        }
    }
}
