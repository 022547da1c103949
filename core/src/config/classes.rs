//! `[[classes]]` of the policy file: kinds of requests, each with its own limits, share and place in line.
//!
//! Priorities are for who is admitted; a decode node's own check knows no classes.
//!
//! Listed from the highest priority to the lowest: a class never passes a load test that one before it, with the same
//! limits, would fail, unless it is owed work (see `books::Shares` for what that guarantees). Load is latency over the
//! class's own limit, so one that may wait longer is admitted to longer queues. Without a list there is one class, with
//! the limits of `[slo]`.

use super::ConfigError;
use super::policy::{Ratio, Slo, positive_seconds};
use super::profile::checked_name;
use crate::ids::ClassId;
use crate::units::Nanos;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// At most so many classes: more are a sign that something else is meant.
pub const CLASSES_MAX: usize = 16;

/// A kind of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassConfig {
    /// What reports call it, and what workloads name.
    pub name: String,
    /// What its requests should meet.
    pub limits: ClassLimits,
    /// Its share of admitted work under contention, in relation to the other classes that want some.
    pub weight: u32,
    /// The part of the admission thresholds that it may use.
    pub ceiling: Ratio,
}

/// What the requests of a class should meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassLimits {
    /// Each answer for itself: time to first token, time between tokens.
    Answer(Slo),
    /// All steps of a workflow together: from the arrival of its first step to the end of its last, pauses of the
    /// client included.
    Workflow {
        /// Longest time.
        total: Nanos,
    },
    /// A job: from arrival to the end of the answer. It waits for idle capacity as long as that can be met.
    Completion {
        /// Longest time.
        total: Nanos,
    },
}

impl ClassLimits {
    /// True if an answer that has ended met them. `ttft` and `tbt` are its own, `arrived` is when it arrived, or when
    /// the first step of its workflow did.
    #[must_use]
    pub fn met(&self, ttft: Nanos, tbt: Option<Nanos>, arrived: Nanos, ended: Nanos) -> bool {
        match *self {
            Self::Answer(slo) => ttft <= slo.ttft && tbt.is_none_or(|tbt| tbt <= slo.tbt),
            Self::Workflow { total } | Self::Completion { total } => ended - arrived <= total,
        }
    }
}

/// One entry of `[[classes]]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassText {
    /// Letters, digits, dots, dashes.
    pub name: String,
    /// Limit of time to first token, seconds; by default that of `[slo]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttft_s: Option<f64>,
    /// Limit of time between tokens, seconds; by default that of `[slo]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tbt_s: Option<f64>,
    /// Limit of a whole workflow, seconds; in place of `ttft_s` and `tbt_s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow_s: Option<f64>,
    /// Limit of a job, seconds; in place of `ttft_s` and `tbt_s`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion_s: Option<f64>,
    /// See [`ClassConfig::weight`].
    #[serde(default = "one")]
    pub weight: u32,
    /// See [`ClassConfig::ceiling`].
    #[serde(default = "whole")]
    pub ceiling: f64,
}

const fn one() -> u32 {
    1
}

const fn whole() -> f64 {
    1.0
}

impl ClassConfig {
    /// The one class of a policy that lists none.
    #[must_use]
    pub fn only(slo: Slo) -> Vec<Self> {
        vec![Self {
            name: "default".to_string(),
            limits: ClassLimits::Answer(slo),
            weight: 1,
            ceiling: Ratio::ONE,
        }]
    }

    /// Checks the list.
    pub(super) fn from_texts(texts: &[ClassText], slo: Slo) -> Result<Vec<Self>, ConfigError> {
        if texts.is_empty() {
            return Ok(Self::only(slo));
        }
        if texts.len() > CLASSES_MAX {
            let message = format_args!(
                "expected at most {CLASSES_MAX} classes, found {}",
                texts.len()
            );
            return Err(ConfigError::new("classes", message));
        }
        let mut classes: Vec<Self> = Vec::with_capacity(texts.len());
        for text in texts {
            if classes.iter().any(|class| class.name == text.name) {
                let message = format_args!("\"{}\" is listed twice", text.name);
                return Err(ConfigError::new("classes.name", message));
            }
            let class = Self::from_text(text, slo)?;
            if let Some(before) = classes.last()
                && before.ceiling < class.ceiling
            {
                let message = format_args!(
                    "\"{}\" may use more than \"{}\", which is listed before it: expected at most {}",
                    class.name,
                    before.name,
                    f64::from(before.ceiling.0) / 1000.0
                );
                return Err(ConfigError::new("classes.ceiling", message));
            }
            classes.push(class);
        }
        Ok(classes)
    }

    fn from_text(text: &ClassText, slo: Slo) -> Result<Self, ConfigError> {
        checked_name("classes.name", &text.name)?;
        let answer = text.ttft_s.is_some() || text.tbt_s.is_some();
        let limits = match (answer, text.workflow_s, text.completion_s) {
            (_, None, None) => ClassLimits::Answer(Slo {
                ttft: text
                    .ttft_s
                    .map_or(Ok(slo.ttft), |s| positive_seconds("classes.ttft_s", s))?,
                tbt: text
                    .tbt_s
                    .map_or(Ok(slo.tbt), |s| positive_seconds("classes.tbt_s", s))?,
            }),
            (false, Some(total), None) => ClassLimits::Workflow {
                total: positive_seconds("classes.workflow_s", total)?,
            },
            (false, None, Some(total)) => ClassLimits::Completion {
                total: positive_seconds("classes.completion_s", total)?,
            },
            _ => {
                return Err(ConfigError::new(
                    "classes",
                    format_args!(
                        "\"{}\" has limits of several kinds: expected `ttft_s` and `tbt_s`, or `workflow_s`, or \
                         `completion_s`",
                        text.name
                    ),
                ));
            }
        };
        if !(1..=1_000_000).contains(&text.weight) {
            let message = format_args!(
                "expected a whole number from 1 to 1000000, found {}",
                text.weight
            );
            return Err(ConfigError::new("classes.weight", message));
        }
        if !(text.ceiling >= 0.001 && text.ceiling <= 1.0) {
            let message = format_args!("expected a number from 0.001 to 1, found {}", text.ceiling);
            return Err(ConfigError::new("classes.ceiling", message));
        }
        Ok(Self {
            name: text.name.clone(),
            limits,
            weight: text.weight,
            ceiling: Ratio((text.ceiling * 1000.0 + 0.5) as u32),
        })
    }

    /// The list as written; none for the one class of a policy that lists none.
    pub(super) fn to_texts(classes: &[Self], slo: Slo) -> Vec<ClassText> {
        if classes == Self::only(slo) {
            return Vec::new();
        }
        let text = |class: &Self| {
            let (mut answer, mut workflow_s, mut completion_s) = (None, None, None);
            match class.limits {
                ClassLimits::Answer(slo) => answer = Some(slo),
                ClassLimits::Workflow { total } => workflow_s = Some(total.as_secs_f64()),
                ClassLimits::Completion { total } => completion_s = Some(total.as_secs_f64()),
            }
            ClassText {
                name: class.name.clone(),
                ttft_s: answer.map(|slo| slo.ttft.as_secs_f64()),
                tbt_s: answer.map(|slo| slo.tbt.as_secs_f64()),
                workflow_s,
                completion_s,
                weight: class.weight,
                ceiling: f64::from(class.ceiling.0) / 1000.0,
            }
        };
        classes.iter().map(text).collect()
    }
}

/// The class called `name`, or which there are.
///
/// # Errors
/// If there is none of that name; the message lists all.
pub fn class_named(classes: &[ClassConfig], name: &str) -> Result<ClassId, ConfigError> {
    let place = classes.iter().position(|class| class.name == name);
    place.map(|place| ClassId(place as u8)).ok_or_else(|| {
        let known: Vec<&str> = classes.iter().map(|class| &*class.name).collect();
        let message = format!("no class \"{name}\", expected one of: {}", known.join(", "));
        ConfigError::new("classes", message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PolicyConfig;

    const THREE: &str = "
        [[classes]]
        name = \"chat\"
        weight = 3
        ttft_s = 5
        [[classes]]
        name = \"agent\"
        workflow_s = 120
        ceiling = 0.9
        [[classes]]
        name = \"batch\"
        completion_s = 3600
        ceiling = 0.7
    ";

    #[test]
    fn limits_default_to_the_policys_and_the_list_survives_its_own_file() {
        let policy = PolicyConfig::parse(THREE).expect("three classes");
        let limits = policy.classes.iter().map(|class| class.limits);
        assert_eq!(
            limits.collect::<Vec<_>>(),
            [
                ClassLimits::Answer(Slo {
                    ttft: Nanos::from_secs(5),
                    tbt: policy.slo.tbt,
                }),
                ClassLimits::Workflow {
                    total: Nanos::from_secs(120),
                },
                ClassLimits::Completion {
                    total: Nanos::from_secs(3600),
                },
            ]
        );
        assert_eq!(PolicyConfig::parse(&policy.to_toml()).as_ref(), Ok(&policy));
        assert_eq!(class_named(&policy.classes, "batch"), Ok(ClassId(2)));
        let plain = PolicyConfig::parse("").expect("empty is the default");
        assert!(
            !plain.to_toml().contains("classes"),
            "one class is not written"
        );
    }

    #[test]
    fn errors_name_the_key() {
        for (text, expected) in [
            (
                "name = \"a\"\nttft_s = 1\ncompletion_s = 9",
                "`classes`: \"a\" has limits of several kinds",
            ),
            (
                "name = \"a\"\nceiling = 0",
                "`classes.ceiling`: expected a number",
            ),
            (
                "name = \"a\"\nweight = 0",
                "`classes.weight`: expected a whole number",
            ),
            (
                "name = \"a\"\n[[classes]]\nname = \"a\"",
                "`classes.name`: \"a\" is listed twice",
            ),
            (
                "name = \"a\"\nceiling = 0.5\n[[classes]]\nname = \"b\"",
                "`classes.ceiling`: \"b\" may use more than \"a\"",
            ),
            (
                "name = \"a\"\nworkflow_s = -1",
                "`classes.workflow_s`: expected seconds above 0",
            ),
        ] {
            let text = format!("[[classes]]\n{text}\n");
            let error = PolicyConfig::parse(&text).expect_err(&text).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
