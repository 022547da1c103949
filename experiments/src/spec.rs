//! An experiment as data: which runs, which published values they stand beside, which checks they should pass.
//!
//! A specification is TOML. Its runs are the product of its axes: a run is the base settings and one value of each
//! axis. A setting is any number or name that a workload, cluster, profile or policy has, by its dotted key
//! ([`Key`]). Everything that names a run (a published value, a check, the fit) is resolved to the run's number when
//! the text is parsed, and every metric is looked up then: what a [`Spec`] holds can be run as it is.
//!
//! Not here: running (`runner`), and what settings mean (`plan`).

mod error;
mod key;
mod locate;
mod parse;
mod plot;
mod text;

pub use error::SpecError;
pub(crate) use error::in_plain_words;
pub use key::{Key, Part, Value};
pub use plot::{
    BarsPlot, BoxPlot, CdfPlot, Distribution, HeatPlot, Line, LinesPanel, LinesPlot, LoadsPlot,
    Measure, Plot, PlotKind, PublishedFile, ReplicasPlot, SearchPlot,
};

use crate::error::ExperimentError;
use crate::fit::Bracket;
use crate::inputs::{self, InputError};
use crate::metric::Metric;
use crate::nearest::hint;
use crate::search::{Condition, Range};
use crate::watch::Watch;
use std::path::{Path, PathBuf};

/// A built-in experiment: its name, and the file of that name.
macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../specs/", $name, ".toml")))),*]
    };
}

/// The built-in experiments, by name.
const BUILT_IN: [(&str, &str); 39] = built_in![
    "prefill-scheduling",
    "local-global",
    "seesaw",
    "overload-table3",
    "overload-table3-toolagent",
    "overload-table3-trace",
    "goodput-over-load",
    "decode-threshold",
    "decode-time",
    "prediction-moment",
    "sensitivity-threshold",
    "sensitivity-decode-time",
    "sensitivity-decode-bias",
    "sensitivity-prefill-bias",
    "sensitivity-noise",
    "retries",
    "role-switching",
    "pd-ratio",
    "bandwidth",
    "breakdown",
    "replicas",
    "cache-capacity",
    "prefill-scheduling-v3",
    "pipeline",
    "pipeline-alone",
    "tiers",
    "block-size",
    "compression",
    "capacity-tbt",
    "real-75",
    "throughput-525",
    "throughput-datasets",
    "kimi-day",
    "rates-arxiv-summarization",
    "rates-l-eval",
    "rates-simulated-16k",
    "rates-simulated-64k",
    "cache-policies",
    "prefill-latency",
];

/// A parsed experiment.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// What it is called: lower-case letters, digits and dashes.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// Where the published values are from.
    pub source: String,
    /// What is assumed, and why.
    pub description: String,
    /// True if it takes long: it runs with all others only when asked for.
    pub heavy: bool,
    /// What kind of runs it has.
    pub kind: RunKind,
    /// Blocks whose copies are counted, if any.
    pub watch: Option<Watch>,
    /// What all runs share, in the order in which it is set.
    pub base: Vec<Setting>,
    /// How many seeds every run is repeated with, 1 and up, if with more than its own one.
    pub seeds: Option<u64>,
    /// The first of these seeds.
    pub first_seed: u64,
    /// What varies; the first varies slowest.
    pub axes: Vec<Axis>,
    /// The one number that is fitted, if any.
    pub fit: Option<Fit>,
    /// What is sought in each run, if anything is.
    pub search: Option<Search>,
    /// Published values.
    pub published: Vec<Published>,
    /// Values that nobody has published, to be drawn.
    pub curves: Vec<CurvePoint>,
    /// What should hold.
    pub checks: Vec<Check>,
    /// What is drawn.
    pub plots: Vec<Plot>,
    /// The text that it was parsed from.
    pub text: String,
}

/// What a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RunKind {
    /// A cluster is simulated.
    #[default]
    Simulation,
    /// A workload goes through one cache, see [`crate::pool`].
    Pool,
}

/// One thing that is set.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// What.
    pub key: Key,
    /// To what.
    pub value: Value,
    /// Where the text says so, from 1.
    pub line: usize,
}

/// A list of values of one setting, or of names for settings that go together.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    /// What selections and `raw.csv` call it.
    pub name: String,
    /// What it sets; none if its values are names for several settings each.
    pub key: Option<Key>,
    /// Its values.
    pub values: Vec<Value>,
    /// What each value sets, in order; nothing for the number that is fitted.
    pub settings: Vec<Vec<Setting>>,
    /// Where the text has it, from 1.
    pub line: usize,
}

/// One number, found by bisection so that a metric of one run meets a target.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// What is fitted; an axis value `"fitted"`, or the setting of all runs if no axis has this key.
    pub key: Key,
    /// The run that has to meet the target.
    pub run: usize,
    /// Its metric.
    pub metric: Metric,
    /// Where it is sought.
    pub bracket: Bracket,
}

/// The largest value of a setting at which conditions hold, sought in each run and for each seed. The report of the
/// run is the one at that value.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    /// What is sought.
    pub key: Key,
    /// What has to hold.
    pub conditions: Vec<SearchCondition>,
    /// Where, for each run.
    pub ranges: Vec<Range>,
}

/// A condition of a search, whose limit may depend on what the lowest values give.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchCondition {
    /// The metric and the limit, or a factor on it.
    pub condition: Condition,
    /// Where the limit is a factor: for each run the runs over which the mean of the metric at their lowest values is
    /// taken. Empty where the limit is a limit.
    pub of_first: Vec<Vec<usize>>,
}

/// A published value and the run that has its simulated counterpart.
#[derive(Clone, Debug, PartialEq)]
pub struct Published {
    /// Which line of a figure.
    pub series: String,
    /// Where on it.
    pub x: Value,
    /// The run.
    pub run: usize,
    /// Its metric.
    pub metric: Metric,
    /// The runs over whose mean the metric is taken, if it is published as a multiple of that.
    pub to: Vec<usize>,
    /// The published value is the metric, or that quotient, times this (a percentage: 100).
    pub scale: f64,
    /// The published value.
    pub value: f64,
    /// How far the simulated value may be from it, as a share of it.
    pub tolerance: f64,
    /// Its unit.
    pub unit: String,
    /// Where it is published, and how it was read.
    pub source: String,
}

/// A value to be drawn, and the run that has it.
#[derive(Clone, Debug, PartialEq)]
pub struct CurvePoint {
    /// Which line.
    pub series: String,
    /// Where on it.
    pub x: Value,
    /// The run.
    pub run: usize,
    /// Its metric.
    pub metric: Metric,
    /// The metric is drawn times this.
    pub scale: f64,
    /// Unit of what is drawn.
    pub unit: String,
}

/// Something that should hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// Short name.
    pub id: String,
    /// What it says, for people.
    pub what: String,
    /// The metric.
    pub metric: Metric,
    /// The published value, if there is one.
    pub published: Option<f64>,
    /// How it is judged.
    pub kind: CheckKind,
}

/// How a check is judged.
#[derive(Clone, Debug, PartialEq)]
pub enum CheckKind {
    /// The metric falls strictly from each run to the next.
    Order {
        /// The runs, two at least.
        runs: Vec<usize>,
    },
    /// The metric of a run lies within limits.
    Band {
        /// The run.
        run: usize,
        /// See [`Published::scale`].
        scale: f64,
        /// The limits.
        limits: Limits,
    },
    /// The quotient of two runs' metrics lies within limits.
    Ratio {
        /// The dividend.
        of: usize,
        /// The divisor.
        to: usize,
        /// The limits.
        limits: Limits,
    },
    /// The metric of the last run is at least so large a share of the largest.
    Flat {
        /// The runs, along an axis.
        runs: Vec<usize>,
        /// The share.
        low: f64,
    },
    /// The metric of one run less that of another, paired by seed, differs from 0: its 95 % interval lies on
    /// one side.
    Difference {
        /// What is subtracted from.
        of: usize,
        /// What is subtracted.
        to: usize,
        /// The metric of what is subtracted.
        minus: Metric,
        /// Which side.
        side: Side,
        /// The least size of the mean difference, as a share of the mean of what is subtracted; 0 asks for none.
        at_least: f64,
    },
}

/// A side of 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Negative.
    Below,
    /// Positive.
    Above,
}

/// Limits of a check; both belong to the allowed values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// The smallest allowed value.
    pub low: f64,
    /// The largest allowed value.
    pub high: f64,
}

/// What a list of experiments says of one.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct SpecInfo {
    /// See [`Spec::name`].
    pub name: String,
    /// See [`Spec::title`].
    pub title: String,
    /// See [`Spec::source`].
    pub source: String,
    /// See [`Spec::heavy`].
    pub heavy: bool,
    /// How many runs it has, each seed counted, those of a fit or a search not.
    pub runs: usize,
}

/// The built-in experiments.
#[must_use]
pub fn list() -> Vec<SpecInfo> {
    let built_in = |(name, text): &(&str, &str)| {
        let spec =
            Spec::parse(text).unwrap_or_else(|error| unreachable!("tests parse {name}: {error}"));
        SpecInfo {
            runs: spec.run_count() * spec.repeats(),
            name: spec.name,
            title: spec.title,
            source: spec.source,
            heavy: spec.heavy,
        }
    };
    BUILT_IN.iter().map(built_in).collect()
}

impl Spec {
    /// How far a simulated value may be from the published one, as a share of it, where nothing else is said. ASSUMED,
    /// and the same for all values, whatever holds with it: a tenth.
    pub const TOLERANCE: f64 = 0.1;

    /// A built-in experiment by name.
    ///
    /// # Errors
    /// If there is none of that name; the message lists all.
    pub fn builtin(name: &str) -> Result<Self, ExperimentError> {
        let Some((_, text)) = BUILT_IN.iter().find(|(known, _)| *known == name) else {
            let hint = hint(name, BUILT_IN.map(|(known, _)| known));
            let known = BUILT_IN.map(|(known, _)| known).join(", ");
            let name = name.to_string();
            return Err(ExperimentError::Unknown { name, hint, known });
        };
        Ok(Self::parse(text)?)
    }

    /// A built-in experiment by name, or a TOML file.
    ///
    /// # Errors
    /// If there is no such experiment, or the file cannot be read or is wrong.
    pub fn load(name: &str) -> Result<Self, ExperimentError> {
        if !inputs::is_file(name) {
            return Self::builtin(name);
        }
        let path = PathBuf::from(name);
        let text = read(&path)?;
        Self::parse(&text).map_err(|error| ExperimentError::SpecFile { path, error })
    }

    /// Parses and checks a specification.
    ///
    /// # Errors
    /// Names line and key.
    pub fn parse(text: &str) -> Result<Self, SpecError> {
        parse::parse(text)
    }

    /// How many runs it has, those of the fit and repetitions with further seeds not counted.
    #[must_use]
    pub fn run_count(&self) -> usize {
        self.axes.iter().map(|axis| axis.values.len()).product()
    }

    /// How often each run is repeated, with a seed of its own.
    #[must_use]
    pub fn repeats(&self) -> usize {
        self.seeds.unwrap_or(1) as usize
    }

    /// The value of each axis in run number `run`.
    #[must_use]
    pub fn values_of(&self, run: usize) -> Vec<&Value> {
        values_of(&self.axes, run)
    }

    /// What the axes set in run number `run`, in their order.
    pub(crate) fn settings_of(&self, run: usize) -> impl Iterator<Item = &Setting> {
        let places = places_of(&self.axes, run);
        let settings = self.axes.iter().zip(places);
        settings.flat_map(|(axis, place)| &axis.settings[place])
    }

    /// What a run is called: its axes and their values.
    #[must_use]
    pub fn label(&self, run: usize) -> String {
        let values = self.values_of(run);
        let parts = self.axes.iter().zip(values);
        let parts: Vec<_> = parts
            .map(|(axis, value)| format!("{} {value}", axis.name))
            .collect();
        if parts.is_empty() {
            "the only run".to_string()
        } else {
            parts.join(", ")
        }
    }
}

/// Runs are numbered as an odometer counts: the last axis turns fastest. The place of a run on each axis.
fn places_of(axes: &[Axis], mut run: usize) -> Vec<usize> {
    let mut places: Vec<_> = axes
        .iter()
        .rev()
        .map(|axis| {
            let place = run % axis.values.len();
            run /= axis.values.len();
            place
        })
        .collect();
    places.reverse();
    places
}

/// The value of each axis in a run.
fn values_of(axes: &[Axis], run: usize) -> Vec<&Value> {
    let places = places_of(axes, run);
    let values = axes.iter().zip(places);
    values.map(|(axis, place)| &axis.values[place]).collect()
}

fn read(path: &Path) -> Result<String, InputError> {
    std::fs::read_to_string(path).map_err(|error| InputError::Unreadable {
        path: path.to_path_buf(),
        error,
    })
}
