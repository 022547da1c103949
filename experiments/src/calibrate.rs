//! Cost models from data: the one place where anything is fitted to hardware.
//!
//! [`calibrate`] reads timings of one machine ([`data`] has the project's own CSV, [`adapters`] the files of others),
//! fits prefill and decode, tries each fit on what it was made without, and gives a profile that says where it is
//! from and how wrong it is. Cost is a polynomial (the paper's form) unless its held-out error is above
//! [`Limits`] and a table's is smaller. What timings cannot say (capacities, links, host time) comes from another
//! profile or from [`Setting`]s, each with its reason.
//!
//! The arithmetic has no function that differs between platforms and a profile's numbers have six digits: the same
//! data gives the same profile everywhere, which a test holds the built-in ones to.
//!
//! Not here: pricing (`conductor_core::cost`), drawing, and the measurements themselves.

pub mod adapters;
mod additivity;
mod constants;
pub mod data;
mod error;
mod errors;
mod fit;
mod forms;
mod grid;
mod halves;
mod moves;
mod outcome;
mod serving;
mod sheet;
mod write;

pub use adapters::Select;
pub use additivity::{Additivity, additivity};
pub use constants::{Memory, SETTABLE, Setting, Slower};
pub use error::CalibrateError;
pub use errors::Errors;
pub use outcome::{Curve, Other, Outcome, Part, Picture};

use adapters::Input;
use constants::Constants;
use std::path::Path;

/// Above which held-out error of a polynomial a table is tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Median, as a share.
    pub median: f64,
    /// 95th percentile, as a share.
    pub p95: f64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            median: 0.05,
            p95: 0.10,
        }
    }
}

/// What is asked for, besides the data.
#[derive(Clone, Debug)]
pub struct Options {
    /// Which rows.
    pub select: Select,
    /// Name of the profile.
    pub name: String,
    /// In place of what the data says of itself.
    pub source: Option<String>,
    /// See [`Self::source`].
    pub engine: Option<String>,
    /// See [`Self::source`].
    pub date: Option<String>,
    /// The profile that has what timings cannot say: a built-in name or a file.
    pub base: String,
    /// What is set in its place.
    pub settings: Vec<Setting>,
    /// Where the KV tokens of HBM follow from.
    pub memory: Option<Memory>,
    /// What is added to every timing.
    pub slower: Option<Slower>,
    /// When a table is tried.
    pub limits: Limits,
    /// Serving data: the numbers of clients that are fitted to, the others judge; all if empty.
    pub fit_concurrency: Vec<u32>,
    /// Serving data: requests that each client made.
    pub rounds: u32,
}

/// Requests of each client of a benchmark where nobody says: the usual `num_prompts = 10 x concurrency`. The
/// measured TTFTs say the same: `experiments/CALIBRATION.md`.
pub const ROUNDS: u32 = 10;

impl Options {
    /// Everything as the data and the default profile have it.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            select: Select::default(),
            name: name.to_string(),
            source: None,
            engine: None,
            date: None,
            base: "a800-llama3-70b".to_string(),
            settings: Vec::new(),
            memory: None,
            slower: None,
            limits: Limits::default(),
            fit_concurrency: Vec::new(),
            rounds: ROUNDS,
        }
    }
}

/// What data gave.
#[derive(Clone, Debug)]
pub enum Calibrated {
    /// A profile.
    Profile(Box<Outcome>),
    /// What a mixed batch's attention costs beside its parts.
    Additivity(Box<Additivity>),
}

/// Makes a profile of the timings in a file.
///
/// # Errors
/// If the file, a choice or an option is wrong, or there is too little to fit.
pub fn calibrate(path: &Path, options: &Options) -> Result<Calibrated, CalibrateError> {
    let data = match adapters::read(path, &options.select)? {
        Input::Attention(points) => {
            return Ok(Calibrated::Additivity(Box::new(additivity(&points))));
        }
        Input::Profile(data) => data,
    };
    let data = match &options.slower {
        Some(slower) => data.slower(slower.token_s),
        None => data,
    };
    let mut constants = Constants::new(options, data.facts.tp)?;
    moves::rates(&data, options, &mut constants);
    let fitted = if data.serving.is_empty() {
        halves::fit(path, &data, options, &constants)?
    } else {
        serving::fit(path, &data, options, &constants)?
    };
    outcome::finish(path, &data, options, fitted)
        .map(|outcome| Calibrated::Profile(Box::new(outcome)))
}
