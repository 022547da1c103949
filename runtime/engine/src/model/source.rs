//! Named tensors of a model, wherever they come from.

use super::ConfigError;
use std::path::PathBuf;
use thiserror::Error;

/// A tensor of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// One row a token.
    Embedding,
    /// The last norm.
    Norm,
    /// One row a token.
    Head,
    /// Of the layer of this number, from 0.
    Layer(usize, LayerPart),
}

/// A tensor of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of `super::Layer`")]
pub enum LayerPart {
    AttentionNorm,
    Query,
    Key,
    Value,
    Output,
    MlpNorm,
    Gate,
    Up,
    Down,
}

/// Gives tensors.
pub trait Source {
    /// The numbers of a tensor, row by row, each row being one output. `sizes` is what it must have.
    fn tensor(&mut self, part: Part, sizes: &[usize]) -> Result<Vec<f32>, LoadError>;
}

/// Why there is no model.
#[derive(Debug, Error)]
pub enum LoadError {
    /// A file cannot be read.
    #[error("{}: {error}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file is damaged or of another kind.
    #[error("{}: {what}", path.display())]
    Format {
        /// Which one.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The model's sizes.
    #[error("{}: {error}", path.display())]
    Config {
        /// Where they stand.
        path: PathBuf,
        /// What is wrong.
        error: ConfigError,
    },
    /// A tensor is not there, or has other sizes.
    #[error("{}: tensor {name}: {what}", path.display())]
    Tensor {
        /// In which file.
        path: PathBuf,
        /// Its name there.
        name: String,
        /// What is wrong.
        what: String,
    },
}

/// The first line of an error of candle's, which may have a backtrace behind it.
pub(crate) fn first_line(error: impl ToString) -> String {
    let error = error.to_string();
    error.lines().next().unwrap_or_default().to_owned()
}
