//! What a search turns: one setting of a job, or the shape of its cluster.
//!
//! A knob is any dotted key that a specification can set ([`Key`]), or one of two that go through several keys at once:
//! `split`, the prefill nodes of a cluster whose number of nodes stays, and `nodes`, the number of nodes of a cluster
//! whose shares stay. Its values are a range or a list of choices ([`Param`]).

mod param;

pub use param::{Domain, Param, Scale};

use crate::error::ExperimentError;
use crate::execute::Job;
use crate::plan::{set_cluster, set_policy, set_workload};
use crate::shape;
use crate::spec::{Key, Part, Setting, Value};
use std::fmt;
use std::str::FromStr;

/// One thing that can be set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Knob {
    /// A key of the workload, the cluster, the profiles or the policy.
    Key(Key),
    /// Prefill nodes; the rest of the cluster's nodes decode.
    Split,
    /// Nodes in all, with the cluster's own shares.
    Nodes,
}

impl Knob {
    /// Sets it in a job.
    ///
    /// # Errors
    /// If the part's own parser refuses the value; one line that names the key.
    pub fn set(&self, job: &mut Job, value: &Value) -> Result<(), String> {
        match self {
            Self::Key(key) => set_key(job, key, value),
            Self::Split | Self::Nodes => {
                let wrong = |message: String| format!("`{self}`: {message}");
                let expected = || format!("`{self}`: expected a whole number, found {value}");
                let Value::Whole(count @ 1..) = value else {
                    return Err(expected());
                };
                without_faults(job, self)?;
                job.cluster = match self {
                    Self::Split => {
                        let total = shape::split_of(&job.cluster).map_err(wrong)?;
                        let (total, prefill) = (total.0 + total.1, count.unsigned_abs());
                        let decode = total.checked_sub(prefill).filter(|decode| *decode > 0);
                        let range = || wrong(format!("expected 1 to {}, found {count}", total - 1));
                        shape::split(&job.cluster, prefill, decode.ok_or_else(range)?)
                    }
                    Self::Nodes | Self::Key(_) => shape::scaled(&job.cluster, count.unsigned_abs()),
                }
                .map_err(wrong)?;
                Ok(())
            }
        }
    }

    /// What it is in a job, where that is one value that is written down.
    #[must_use]
    pub fn current(&self, job: &Job) -> Option<Value> {
        match self {
            Self::Split => {
                let (prefill, _) = shape::split_of(&job.cluster).ok()?;
                Some(Value::Whole(prefill as i64))
            }
            Self::Nodes => Some(Value::Whole(job.cluster.nodes.len() as i64)),
            Self::Key(key) => {
                let text = match key.part {
                    Part::Cluster => toml::Value::try_from(job.cluster.text()).ok()?,
                    Part::Policy => toml::Value::try_from(job.policy.to_text()).ok()?,
                    Part::Profile => {
                        toml::Value::try_from(job.cluster.profile_texts().first()?).ok()?
                    }
                    Part::Workload => {
                        let speed = key.path == ["speed"];
                        return speed.then_some(Value::Number(job.workload.speed));
                    }
                    Part::Pool | Part::Seed => return None,
                };
                look_up(&text, &key.path)?.clone().try_into().ok()
            }
        }
    }

    /// True if it is part of a policy file.
    #[must_use]
    pub fn is_policy(&self) -> bool {
        matches!(self, Self::Key(key) if key.part == Part::Policy)
    }

    /// True if it is part of a cluster file.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        match self {
            Self::Key(key) => key.part == Part::Cluster,
            Self::Split | Self::Nodes => true,
        }
    }
}

/// Faults name nodes by their number.
fn without_faults(job: &Job, what: &impl fmt::Display) -> Result<(), String> {
    match job.faults.is_empty() {
        true => Ok(()),
        false => Err(format!(
            "`{what}`: expected no faults, which name nodes by number"
        )),
    }
}

fn set_key(job: &mut Job, key: &Key, value: &Value) -> Result<(), String> {
    let setting = Setting {
        key: key.clone(),
        value: value.clone(),
        line: 1,
    };
    let (one, none) = (|| std::iter::once(&setting), std::iter::empty());
    let said = |error: ExperimentError| match error {
        ExperimentError::Spec(error) => format!("`{}`: {}", error.key, error.message),
        other => format!("`{key}`: {other}"),
    };
    match key.part {
        Part::Workload => set_workload(&mut job.workload, one()).map_err(said)?,
        Part::Policy => {
            let policy = set_policy(job.policy.clone(), one());
            job.policy = policy.map_err(|error| said(error.into()))?;
        }
        Part::Cluster | Part::Profile => {
            let cluster = job.cluster.clone();
            let nodes = cluster.nodes.len();
            let cluster = match key.part {
                Part::Cluster => set_cluster(cluster, none, one()),
                _ => set_cluster(cluster, one(), none),
            };
            let wrong = |message| format!("`{key}`: {message}");
            let cluster = cluster.map_err(said)?;
            job.cluster = shape::renamed(&job.cluster, cluster).map_err(wrong)?;
            if job.cluster.nodes.len() != nodes {
                without_faults(job, key)?;
            }
            job.workload.block = job.cluster.block;
            job.workload
                .check()
                .map_err(|error| format!("`{key}`: {error}"))?;
        }
        Part::Pool | Part::Seed => unreachable!("parsing has refused them"),
    }
    Ok(())
}

/// The value at a path; in a list, that of the first element, or of the first whose `role` is the path's next part.
fn look_up<'a>(place: &'a toml::Value, path: &[String]) -> Option<&'a toml::Value> {
    match (place, path) {
        (place, []) => Some(place),
        (toml::Value::Array(elements), [role, rest @ ..]) => {
            let has = |e: &&toml::Value| e.get("role").and_then(toml::Value::as_str) == Some(role);
            match elements.iter().find(has) {
                Some(element) => look_up(element, rest),
                None => look_up(elements.first()?, path),
            }
        }
        (toml::Value::Table(table), [key, rest @ ..]) => look_up(table.get(key)?, rest),
        _ => None,
    }
}

impl FromStr for Knob {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "split" => return Ok(Self::Split),
            "nodes" => return Ok(Self::Nodes),
            _ => {}
        }
        let parsed = Key::parse(text)
            .ok()
            .filter(|key| !matches!(key.part, Part::Pool | Part::Seed) && !key.path.is_empty());
        parsed.map(Self::Key).ok_or_else(|| {
            format!(
                "expected split, nodes, or a key below workload, cluster, profile or policy (\"policy.prefill.balancing_threshold\"), \
                 found \"{text}\""
            )
        })
    }
}

impl fmt::Display for Knob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => key.fmt(f),
            Self::Split => f.write_str("split"),
            Self::Nodes => f.write_str("nodes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::{self, WorkloadInput};
    use conductor_sim::FaultPlan;

    pub(crate) fn job(cluster: &str, policy: &str) -> Job {
        Job {
            workload: WorkloadInput::workload(inputs::DEFAULT_WORKLOAD).expect("built in"),
            cluster: inputs::cluster(cluster, None).expect("built in"),
            policy: inputs::policy(policy).expect("built in"),
            faults: FaultPlan::default(),
            seed: 1,
            node_samples: false,
            records: false,
        }
    }

    #[test]
    fn any_key_can_be_set_and_is_then_what_it_is() {
        let mut job = job("8p8d", "kvcache-centric+early-predicted");
        for (key, before, after) in [
            (
                "policy.prefill.balancing_threshold",
                Some(Value::Number(1.5)),
                Value::Number(2.0),
            ),
            (
                "policy.admission.predictor.decode_s",
                Some(Value::Number(46.0)),
                Value::Number(30.0),
            ),
            (
                "policy.decode.select",
                Some(Value::Text("least-tbt".into())),
                Value::Text("least-loaded".into()),
            ),
            (
                "cluster.nodes.prefill.chunk_tokens",
                None,
                Value::Whole(4096),
            ),
            (
                "workload.speed",
                Some(Value::Number(1.0)),
                Value::Number(3.0),
            ),
            ("split", Some(Value::Whole(8)), Value::Whole(10)),
            ("nodes", Some(Value::Whole(16)), Value::Whole(8)),
        ] {
            let knob: Knob = key.parse().expect(key);
            assert_eq!(knob.current(&job), before, "{key}");
            knob.set(&mut job, &after).expect(key);
            assert_eq!(knob.current(&job), Some(after), "{key}");
        }
        // 10:6 of 16 is 5:3 of 8.
        assert_eq!(job.cluster.name, "a800-5p3d");
    }
}
