//! Names and files, as a person gives them, to parsed workloads, clusters and policies.
//!
//! A cluster, policy, profile or workload is a built-in name or a TOML file; a trace is a well-known name or a
//! file. An
//! argument that has a path separator or ends in `.toml` is a file.

use crate::blocks::Splitter;
use crate::classes::ClassShares;
use crate::single::{self, Single};
use crate::window::{Window, hastened};
use conductor_core::config::{
    ClusterConfig, ClusterText, ConfigError, PolicyConfig, Profile, ProfileText,
};
use conductor_core::units::{Nanos, Tokens};
use conductor_core::workload::WorkloadRequest;
use conductor_sim::{FaultError, FaultPlan, RetryConfig};
use conductor_traces::formats::{self, ReadOptions, TraceError};
use conductor_traces::generate::{GenerateOptions, Workload, WorkloadError, builtin_names};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

/// The built-in workload that is generated where nothing else is named.
pub const DEFAULT_WORKLOAD: &str = "kimi-conversation";
/// The cluster where nothing else is named.
pub const DEFAULT_CLUSTER: &str = "a800-8p8d";
/// The policy where nothing else is named.
pub const DEFAULT_POLICY: &str = "kvcache-centric";
/// The policies that are compared where none is named: those of FAST'25 Fig 5.
pub const COMPARED_POLICIES: [&str; 4] = [
    "random",
    "least-loaded",
    "local-cache-aware",
    "kvcache-centric",
];

/// Why an input is refused; each is one line.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// A file cannot be read.
    #[error("{path}: {error}")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why not.
        error: std::io::Error,
    },
    /// A configuration file is wrong.
    #[error("{path}: {error}")]
    Config {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        error: ConfigError,
    },
    /// A file of faults is wrong.
    #[error("{path}: {error}")]
    Faults {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        error: FaultError,
    },
    /// A built-in name is not known.
    #[error("{0}")]
    Name(ConfigError),
    /// A workload file is wrong.
    #[error("{path}: {error}")]
    WorkloadFile {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        error: WorkloadError,
    },
    /// A built-in workload is not known.
    #[error("unknown workload \"{name}\", expected one of: {known}, or a TOML file")]
    UnknownWorkload {
        /// As given.
        name: String,
        /// All there are.
        known: String,
    },
    /// A trace is wrong.
    #[error(transparent)]
    Trace(#[from] TraceError),
    /// A well-known trace is not on this machine.
    #[error(
        "trace \"{name}\" is neither in traces/data/ nor in ../shared/traces/: run traces/fetch.sh, or name a file"
    )]
    AbsentTrace {
        /// As given.
        name: String,
    },
    /// A workload's blocks cannot be made the cluster's.
    #[error(
        "workload \"{workload}\" has blocks of {ids} tokens, expected a multiple of the cluster's {block}: smaller blocks \
         of another size can be had with --block-tokens"
    )]
    BlockTokens {
        /// Which workload.
        workload: String,
        /// The cluster's.
        block: u64,
        /// The workload's.
        ids: u64,
    },
    /// A number is out of its range.
    #[error("{what}: expected {expected}, found {found}")]
    Range {
        /// Which number.
        what: &'static str,
        /// Its range.
        expected: &'static str,
        /// As given.
        found: String,
    },
}

/// Where requests come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A trace file.
    Trace(PathBuf),
    /// A generator.
    Generated(Box<Workload>),
    /// One request.
    Single(Single),
}

/// A workload that can be opened any number of times, each time with the same requests.
#[derive(Clone, Debug)]
pub struct WorkloadInput {
    /// Name in reports.
    pub name: String,
    /// Where requests come from.
    pub source: Source,
    /// How many times faster than its stamps it is replayed; above 0.
    pub speed: f64,
    /// At most this many requests.
    pub limit: Option<u64>,
    /// How many requests a generator makes, if not its own default.
    pub requests: Option<u64>,
    /// Requests a second of a generator, if not its own default.
    pub rate: Option<f64>,
    /// How long a generator makes requests, if not until there are as many as it shall make.
    pub duration: Option<Nanos>,
    /// Seconds that a generator rounds its stamps down to, if not its own; 0 leaves them alone.
    pub grid_s: Option<f64>,
    /// Which of its requests count.
    pub measure: Window,
    /// Answers of this length in place of the trace's.
    pub output: Option<Tokens>,
    /// How clients try again. Not in a workload's file: that says which requests there are, and a trace, which has
    /// no clients, can be made from it.
    pub retry: RetryConfig,
    /// A closed loop of this many clients: stamps are ignored, see [`conductor_sim::RunConfig::closed_loop`]. Not in
    /// a workload's file, as with `retry`.
    pub concurrency: Option<NonZeroU32>,
    /// Which share of the requests belongs to which class of the policy. Not in a workload's file either: classes are
    /// the policy's.
    pub classes: ClassShares,
    /// Tokens that a block id of the trace or the generator stands for.
    pub ids: Tokens,
    /// Tokens in a block of the cluster: ids are split into such.
    pub block: Tokens,
    /// Sort rows that are out of order, instead of refusing them.
    pub sort: bool,
    /// Seed of a generator.
    pub seed: u64,
}

/// Requests of an opened workload.
pub type Requests = Box<dyn Iterator<Item = Result<WorkloadRequest, TraceError>>>;

impl WorkloadInput {
    /// A trace by well-known name or file, `root` being where `traces/data/` is looked for.
    ///
    /// # Errors
    /// If there is no such file.
    pub fn trace(name: &str, root: &Path) -> Result<Self, InputError> {
        let known = formats::NAMED_TRACES
            .iter()
            .any(|(known, _)| *known == name);
        let path = match formats::locate(name, root) {
            Some(path) => path,
            None if known => {
                return Err(InputError::AbsentTrace {
                    name: name.to_string(),
                });
            }
            None => PathBuf::from(name),
        };
        Ok(Self::new(name, Source::Trace(path)))
    }

    /// A generator by built-in name or TOML file.
    ///
    /// # Errors
    /// If there is no such workload or the file is wrong.
    pub fn workload(name: &str) -> Result<Self, InputError> {
        let workload = if is_file(name) {
            let path = PathBuf::from(name);
            Workload::from_toml(&read(&path)?)
                .map_err(|error| InputError::WorkloadFile { path, error })?
        } else {
            Workload::builtin(name).map_err(|_| {
                let known = builtin_names().collect::<Vec<_>>().join(", ");
                InputError::UnknownWorkload {
                    name: name.to_string(),
                    known,
                }
            })?
        };
        let block = Tokens(workload.block_tokens);
        let input = Self::new(name, Source::Generated(Box::new(workload)));
        Ok(Self {
            ids: block,
            block,
            ..input
        })
    }

    /// One request alone.
    #[must_use]
    pub(crate) fn single() -> Self {
        Self::new(single::NAME, Source::Single(Single::default()))
    }

    /// Requests at its beginning that are there only for those that follow; reports leave them out.
    #[must_use]
    pub fn warm_up(&self) -> u64 {
        match &self.source {
            Source::Single(single) => single.warm_up(self.block),
            Source::Trace(_) | Source::Generated(_) => 0,
        }
    }

    fn new(name: &str, source: Source) -> Self {
        Self {
            name: name.to_string(),
            source,
            speed: 1.0,
            limit: None,
            requests: None,
            rate: None,
            grid_s: None,
            duration: None,
            measure: Window::default(),
            output: None,
            retry: RetryConfig::default(),
            concurrency: None,
            classes: ClassShares::default(),
            ids: Tokens(512),
            block: Tokens(512),
            sort: false,
            seed: 1,
        }
    }

    /// Checks the numbers.
    ///
    /// # Errors
    /// If the speed or the rate is not a number above 0.
    pub fn check(&self) -> Result<(), InputError> {
        let positive = |what, value: f64| {
            if value.is_finite() && (1e-6..=1e6).contains(&value) {
                return Ok(());
            }
            let expected = "a number from 0.000001 to 1000000";
            Err(InputError::Range {
                what,
                expected,
                found: value.to_string(),
            })
        };
        // A single request is made of blocks of any size.
        let is_single = matches!(self.source, Source::Single(_));
        if !is_single && Splitter::new(self.ids, self.block).is_none() {
            return Err(InputError::BlockTokens {
                workload: self.name.clone(),
                block: self.block.0,
                ids: self.ids.0,
            });
        }
        if let Some(grid_s) = self.grid_s
            && !(0.0..=3600.0).contains(&grid_s)
        {
            return Err(InputError::Range {
                what: "grid",
                expected: "seconds from 0 to 3600",
                found: grid_s.to_string(),
            });
        }
        if !self.measure.is_whole() && self.concurrency.is_some() {
            return Err(InputError::Range {
                what: "measure",
                expected: "no window with a closed loop, which ignores stamps",
                found: self.measure.to_string(),
            });
        }
        positive("speed", self.speed)?;
        positive("rate", self.rate.unwrap_or(1.0))
    }

    /// Opens it from the start.
    ///
    /// # Errors
    /// If a trace cannot be opened or its first row is wrong.
    pub fn open(&self) -> Result<Requests, InputError> {
        self.check()?;
        let rows: Requests = match &self.source {
            Source::Trace(path) => {
                let options = ReadOptions {
                    block_tokens: self.ids,
                    sort: self.sort,
                };
                Box::new(formats::open(path, &options)?)
            }
            Source::Generated(workload) => {
                let options = GenerateOptions {
                    requests: self.requests,
                    duration: self.duration,
                    rate: self.rate,
                };
                let mut workload = workload.clone();
                workload.arrivals.grid_s = self.grid_s.unwrap_or(workload.arrivals.grid_s);
                Box::new(workload.generate(self.seed, &options).map(Ok))
            }
            Source::Single(single) => {
                return Ok(Box::new(single.requests(self.block).into_iter().map(Ok)));
            }
        };
        let (speed, output) = (self.speed, self.output);
        let until = self.measure.until.unwrap_or(Nanos::MAX);
        // What is wrong is shown, wherever it stands.
        let inside = move |row: &Result<WorkloadRequest, TraceError>| {
            row.as_ref().map_or(true, |row| row.arrival < until)
        };
        let splitter = match self.ids == self.block {
            true => None,
            false => Splitter::new(self.ids, self.block),
        };
        let limit = self.limit.map_or(usize::MAX, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        });
        Ok(Box::new(rows.take(limit).take_while(inside).map(
            move |row| {
                let mut row = row?;
                row.arrival = hastened(row.arrival, speed);
                row.output = output.unwrap_or(row.output);
                if let Some(splitter) = &splitter {
                    row.blocks = splitter.split(row.input, &row.blocks);
                }
                Ok(row)
            },
        )))
    }
}

/// A policy by built-in name or TOML file.
///
/// # Errors
/// If there is no such policy or the file is wrong.
pub fn policy(name: &str) -> Result<PolicyConfig, InputError> {
    if !is_file(name) {
        return PolicyConfig::built_in(name).map_err(InputError::Name);
    }
    let path = PathBuf::from(name);
    PolicyConfig::parse(&read(&path)?).map_err(|error| InputError::Config { path, error })
}

/// A plan of faults for a cluster of `nodes`, from a TOML file; `seed` feeds what is to be drawn.
///
/// # Errors
/// If the file is wrong.
pub fn faults(path: &Path, nodes: usize, seed: u64) -> Result<FaultPlan, InputError> {
    FaultPlan::parse(&read(path)?, nodes, seed).map_err(|error| InputError::Faults {
        path: path.to_path_buf(),
        error,
    })
}

/// A cluster by built-in name or TOML file. Profiles that a file names and that are not built in are looked for
/// beside
/// it, as `<name>.toml`.
///
/// # Errors
/// If there is no such cluster or a file is wrong.
pub fn cluster(name: &str, block: Option<Tokens>) -> Result<ClusterConfig, InputError> {
    let (config, path) = if is_file(name) {
        let path = PathBuf::from(name);
        let text = read(&path)?;
        let profiles = profiles_beside(&path, &text)?;
        let config = ClusterConfig::parse(&text, &profiles);
        (
            config.map_err(|error| InputError::Config {
                path: path.clone(),
                error,
            })?,
            path,
        )
    } else {
        (
            ClusterConfig::built_in(name).map_err(InputError::Name)?,
            PathBuf::from(name),
        )
    };
    let Some(block) = block else {
        return Ok(config);
    };
    let mut text = config.text().clone();
    text.block_tokens = block.0;
    // As in their files: those of a cluster that compresses are of compressed KV already.
    let profiles: Result<Vec<_>, _> = config.profile_texts().iter().map(profile_of).collect();
    profiles
        .and_then(|profiles| ClusterConfig::from_text(text, &profiles))
        .map_err(|error| InputError::Config { path, error })
}

/// A profile from its text form.
pub(crate) fn profile_of(text: &ProfileText) -> Result<Profile, ConfigError> {
    let text = toml::to_string(text);
    Profile::parse(&text.expect("a profile is plain tables of numbers and strings"))
}

/// A profile by built-in name or TOML file.
///
/// # Errors
/// If there is no such profile or the file is wrong.
pub fn profile(name: &str) -> Result<Profile, InputError> {
    if !is_file(name) {
        return Profile::built_in(name).map_err(InputError::Name);
    }
    let path = PathBuf::from(name);
    Profile::parse(&read(&path)?).map_err(|error| InputError::Config { path, error })
}

/// The profiles that lie beside a cluster file and that it names.
fn profiles_beside(cluster: &Path, text: &str) -> Result<Vec<Profile>, InputError> {
    let folder = cluster.parent().unwrap_or_else(|| Path::new("."));
    let mut profiles = Vec::new();
    // What is no cluster file is refused with its line by the cluster's own parser.
    let Ok(text) = ClusterText::parse(text) else {
        return Ok(profiles);
    };
    for name in text.profile_names() {
        let path = folder.join(format!("{name}.toml"));
        if Profile::built_in(name).is_err() && path.is_file() {
            profiles.push(profile(&path.to_string_lossy())?);
        }
    }
    Ok(profiles)
}

/// True if a workload's name means a generator, not a trace.
pub(crate) fn is_workload(name: &str) -> bool {
    name.ends_with(".toml") || builtin_names().any(|known| known == name)
}

/// True if an argument means a file, not a built-in name.
pub(crate) fn is_file(name: &str) -> bool {
    name.ends_with(".toml") || name.contains(std::path::MAIN_SEPARATOR)
}

fn read(path: &Path) -> Result<String, InputError> {
    std::fs::read_to_string(path).map_err(|error| InputError::Unreadable {
        path: path.to_path_buf(),
        error,
    })
}
