//! What a setting sets, and to what.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The dotted key of a setting: a part, then the path of a value in that part's own text form.
///
/// `workload`, `cluster` and `policy` alone choose by name or file. `cluster.nodes.cache_tokens` goes through a list:
/// it sets the value in each group of nodes, and `cluster.nodes.prefill.chunk_tokens` in each of that role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The part.
    pub part: Part,
    /// Empty: the part is chosen by name.
    pub path: Vec<String>,
}

/// What settings belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Where requests come from: `name`, `cached` (of a single request), `classes`, `concurrency`, `duration_s`,
    /// `limit`, `measure` (a window, `600..1800`), `output_tokens`, `prompt_tokens` (of a single request), `rate`,
    /// `requests`, `seed`, `speed`, and below `retry` how clients try again (`conductor_sim::RetryText`).
    Workload,
    /// A cluster file's keys.
    Cluster,
    /// The keys of the profile file of every node.
    Profile,
    /// A policy file's keys.
    Policy,
    /// A cache alone: `capacity_tokens`, `policy`, `sub_block`.
    Pool,
    /// The seed of random policies, noise and generators; it has no path.
    Seed,
}

impl Key {
    /// Parses a dotted key.
    ///
    /// # Errors
    /// Says what was expected.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = text.split('.').map(str::to_string);
        let part = match parts.next().as_deref() {
            Some("workload") => Part::Workload,
            Some("cluster") => Part::Cluster,
            Some("profile") => Part::Profile,
            Some("policy") => Part::Policy,
            Some("pool") => Part::Pool,
            Some("seed") => Part::Seed,
            _ => {
                return Err(format!(
                    "unknown setting \"{text}\", expected workload, cluster, profile, policy or seed, or a key of one (\"cluster.nodes.cache_tokens\")"
                ));
            }
        };
        let mut path: Vec<_> = parts.collect();
        if part == Part::Workload && path == ["name"] {
            path.clear();
        }
        match (part, path.is_empty()) {
            (Part::Seed, false) => Err(format!("\"seed\" has no keys: {text}")),
            (Part::Pool, true) => Err(
                "expected a key of the pool (\"pool.capacity_tokens\")".to_string(),
            ),
            (Part::Profile, true) => Err(
                "expected a key of the profile (\"profile.nic_gbytes_per_s\"); a cluster names its profile itself"
                    .to_string(),
            ),
            _ => Ok(Self { part, path }),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.part {
            Part::Workload => "workload",
            Part::Cluster => "cluster",
            Part::Profile => "profile",
            Part::Policy => "policy",
            Part::Pool => "pool",
            Part::Seed => "seed",
        })?;
        self.path.iter().try_for_each(|key| write!(f, ".{key}"))
    }
}

/// A plain value. Two that print alike are the same to a selection: `1` selects `1.0`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(untagged, expecting = "expected a string, a number, or true or false")]
pub enum Value {
    /// `true` or `false`
    Flag(bool),
    /// A whole number.
    Whole(i64),
    /// A number.
    Number(f64),
    /// A string.
    Text(String),
}

impl Value {
    /// What stands on an axis in place of the number that is fitted.
    pub(crate) const FITTED: &str = "fitted";

    /// The number that it is, if it is one.
    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            Self::Whole(value) => Some(*value as f64),
            Self::Number(value) => Some(*value),
            Self::Flag(_) | Self::Text(_) => None,
        }
    }

    /// True for [`Self::FITTED`].
    pub(crate) fn is_fitted(&self) -> bool {
        matches!(self, Self::Text(text) if text == Self::FITTED)
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(value) => value.fmt(f),
            Self::Whole(value) => value.fmt(f),
            Self::Number(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
        }
    }
}
