//! Specifications from text, and the built-in ones, which are text too.
//!
//! Callers do the file reading: text in, errors with line and key out.

use super::check::check;
use super::spec::{Arrivals, Workload, WorkloadError};
use serde::Deserialize;
use serde::de::DeserializeOwned;

impl Workload {
    /// Reads and checks a specification.
    ///
    /// # Errors
    /// The line and what is wrong there, or the key and the range that its value leaves.
    pub fn from_toml(text: &str) -> Result<Self, WorkloadError> {
        let workload: Self = parse(text)?;
        check(&workload)?;
        Ok(workload)
    }

    /// The specification as TOML; [`Workload::from_toml`] reads it back unchanged.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a workload has only keys and values that TOML has")
    }

    /// A built-in workload.
    ///
    /// # Errors
    /// There is none of this name; the error lists those there are.
    pub fn builtin(name: &str) -> Result<Self, WorkloadError> {
        match BUILTINS.iter().find(|(known, _)| *known == name) {
            Some((_, text)) => Self::from_toml(text),
            None if name == KIMI_DAY.0 => Variant::workload(KIMI_DAY.1),
            None => Err(WorkloadError::UnknownName {
                name: name.to_owned(),
                known: builtin_names().collect::<Vec<_>>().join(", "),
            }),
        }
    }
}

/// The names of the built-in workloads.
pub fn builtin_names() -> impl Iterator<Item = &'static str> {
    BUILTINS.iter().chain([&KIMI_DAY]).map(|(name, _)| *name)
}

/// A built-in that has the conversations of another at other times.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Variant {
    name: String,
    description: String,
    like: String,
    rate: f64,
    requests: u64,
    arrivals: Arrivals,
}

impl Variant {
    fn workload(text: &str) -> Result<Workload, WorkloadError> {
        let variant: Self = parse(text)?;
        let workload = Workload {
            name: variant.name,
            description: variant.description,
            rate: variant.rate,
            requests: variant.requests,
            arrivals: variant.arrivals,
            ..Workload::builtin(&variant.like)?
        };
        check(&workload)?;
        Ok(workload)
    }
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, WorkloadError> {
    toml::from_str(text).map_err(|error| WorkloadError::Toml {
        line: 1 + error.span().map_or(0, |span| {
            text[..span.start.min(text.len())].matches('\n').count()
        }),
        message: error.message().lines().collect::<Vec<_>>().join("; "),
    })
}

const KIMI_DAY: (&str, &str) = ("kimi-day", include_str!("../../workloads/kimi-day.toml"));

const BUILTINS: [(&str, &str); 9] = [
    (
        "kimi-conversation",
        include_str!("../../workloads/kimi-conversation.toml"),
    ),
    (
        "kimi-toolagent",
        include_str!("../../workloads/kimi-toolagent.toml"),
    ),
    (
        "poisson-fixed",
        include_str!("../../workloads/poisson-fixed.toml"),
    ),
    (
        "simulated-16k",
        include_str!("../../workloads/simulated-16k.toml"),
    ),
    (
        "simulated-32k",
        include_str!("../../workloads/simulated-32k.toml"),
    ),
    (
        "simulated-64k",
        include_str!("../../workloads/simulated-64k.toml"),
    ),
    (
        "simulated-128k",
        include_str!("../../workloads/simulated-128k.toml"),
    ),
    (
        "arxiv-summarization",
        include_str!("../../workloads/arxiv-summarization.toml"),
    ),
    ("l-eval", include_str!("../../workloads/l-eval.toml")),
];
