//! How a command fails: what a person reads, and the exit code that a script reads.

use conductor_experiments::SearchError;
use conductor_experiments::execute::RunError;
use conductor_experiments::inputs::InputError;
use conductor_sim::SimError;
use std::fmt;
use std::io;

/// A failed command.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The run failed: exit 1.
    Run(String),
    /// Usage or bad input: exit 2.
    Input(String),
    /// A journal is decided differently: exit 3.
    Divergence(String),
    /// A bug: exit 4.
    Invariant(String),
    /// Whoever reads our output has gone: success.
    Closed,
}

impl Failure {
    pub(crate) const fn code(&self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::Run(_) => 1,
            Self::Input(_) => 2,
            Self::Divergence(_) => 3,
            Self::Invariant(_) => 4,
        }
    }

    /// Bad input, said by `error`.
    pub(crate) fn input(error: impl fmt::Display) -> Self {
        Self::Input(error.to_string())
    }

    /// Something about the file at `path`.
    pub(crate) fn file(path: &std::path::Path, error: impl fmt::Display) -> Self {
        Self::Run(format!("{}: {error}", path.display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(message) | Self::Input(message) | Self::Divergence(message) => {
                f.write_str(message)
            }
            Self::Invariant(message) => {
                write!(
                    f,
                    "{message} (a bug of ours: please report it, with the journal of --journal FILE)"
                )
            }
            Self::Closed => f.write_str("the output was closed"),
        }
    }
}

impl From<InputError> for Failure {
    fn from(error: InputError) -> Self {
        Self::input(error)
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Input(error) => error.into(),
            RunError::Write(error) => Self::Run(error.to_string()),
            RunError::Sim(error) => match error {
                // A fault far into a trace is bad input all the same.
                SimError::Workload(_) | SimError::ArrivalsGoBack { .. } => Self::input(error),
                SimError::Journal(_) => Self::Run(error.to_string()),
                SimError::Deadlock { .. } | SimError::Livelock { .. } => {
                    Self::Invariant(error.to_string())
                }
            },
        }
    }
}

impl From<SearchError> for Failure {
    fn from(error: SearchError) -> Self {
        match error {
            SearchError::Setting(message) => Self::Input(message),
            SearchError::Run(error) => error.into(),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Run(error.to_string()),
        }
    }
}
