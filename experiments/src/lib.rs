//! Runs from inputs to reports: what the command line, the experiments and the tests share.
//!
//! [`inputs`] turns names and files into parsed things, [`execute`] runs them and measures the run. An experiment is
//! a [`spec`]; [`run_all`] runs any number of them and gives a [`report`] of each, which [`results`] writes.
//! [`calibrate`] makes profiles of measurements: the one place where cost models are fitted.
//!
//! Not here: drawing (`conductor-plots`), and the terminal (the root package).

pub mod blocks;
mod cache;
pub mod calibrate;
pub mod capacity;
pub mod classes;
pub mod confidence;
pub mod distributions;
mod error;
pub mod execute;
mod files;
pub mod fit;
pub mod inputs;
mod key;
pub mod knob;
pub mod loads;
pub mod measure;
pub mod metric;
mod nearest;
mod outcome;
pub mod parallel;
mod plan;
pub mod pool;
pub mod prices;
mod published;
pub mod report;
mod resolved;
pub mod results;
mod runner;
mod runs;
mod schedule;
pub mod search;
pub mod shape;
pub mod single;
pub mod spec;
pub mod statistics;
pub mod tune;
pub mod verdicts;
pub mod watch;
pub mod window;

pub use error::{ExperimentError, SearchError};
pub use report::ExperimentReport;
pub use resolved::{Resolved, resolved};
pub use results::write_results;
pub use runs::Meter;
pub use schedule::{Ended, Progress, RunOptions, Shard, run, run_all};
pub use spec::{Spec, SpecInfo, list};
