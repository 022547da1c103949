//! `[roles]` of the policy file: whether a node may change from one pool to the other, and when.
//!
//! The papers say that a node *can* change its role and that it is done by hand; they give no rule and no number. All
//! values here are this project's assumptions, each with its reason.

use super::ConfigError;
use super::policy::Ratio;
use crate::units::Nanos;
use alloc::string::{String, ToString};
use serde::{Deserialize, Serialize};

/// Who decides that a node changes its role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RolesConfig {
    /// Nobody: every node keeps the role of the cluster file.
    #[default]
    Off,
    /// The gap between the loads of the two pools; see [`crate::policy::roles`].
    LoadGap(LoadGapConfig),
}

/// When the gap between the loads makes a node change its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoadGapConfig {
    /// By how much the load of the busier pool must exceed the other's.
    pub gap: Ratio,
    /// The load that the busier pool must have; and what part of its nodes the pool that gives one may need after it.
    pub busy_min: Ratio,
    /// For how long both must hold, without a break.
    pub hold: Nanos,
    /// For how long after a change nothing further is decided.
    pub cooldown: Nanos,
    /// The fewest nodes that a pool keeps.
    pub nodes_min: u32,
}

/// `[roles]`; parameters are of `load-gap` alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolesText {
    /// `off` or `load-gap`.
    pub select: String,
    /// See [`LoadGapConfig::gap`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<f64>,
    /// See [`LoadGapConfig::busy_min`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busy_min: Option<f64>,
    /// Seconds; see [`LoadGapConfig::hold`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_s: Option<f64>,
    /// Seconds; see [`LoadGapConfig::cooldown`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cooldown_s: Option<f64>,
    /// See [`LoadGapConfig::nodes_min`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nodes_min: Option<u64>,
}

/// Half a limit apart: the pools of a cluster that keeps its limits differ by a third of one all the time, because a
/// decode step has a fixed part and a prefill queue has none.
const GAP: f64 = 0.5;
/// A pool that turns requests away stays above it (admission by load keeps decode below 0.85 of its limits, and prefill
/// below 1 with the request's own prefill counted), and one that keeps its limits with room to spare stays below.
const BUSY_MIN: f64 = 0.7;
/// The TTFT limit: a burst that the pool works off within the limit is over by then.
const HOLD_S: f64 = 30.0;
/// Twice as long as a gap is watched: who waits when a node comes has been served, so that the next decision is about
/// the new split.
const COOLDOWN_S: f64 = 60.0;
/// One may fail.
const NODES_MIN: u64 = 2;

impl Default for RolesText {
    fn default() -> Self {
        Self {
            select: "off".to_string(),
            gap: None,
            busy_min: None,
            hold_s: None,
            cooldown_s: None,
            nodes_min: None,
        }
    }
}

impl RolesText {
    /// True of the default, which a resolved file leaves out: the digest of a run without it is what it always was.
    #[must_use]
    pub fn is_off(&self) -> bool {
        *self == Self::default()
    }
}

impl RolesConfig {
    /// Checks the text form.
    pub(super) fn from_text(text: &RolesText) -> Result<Self, ConfigError> {
        match text.select.as_str() {
            "off" => {
                let given = [
                    ("roles.gap", text.gap.is_some()),
                    ("roles.busy_min", text.busy_min.is_some()),
                    ("roles.hold_s", text.hold_s.is_some()),
                    ("roles.cooldown_s", text.cooldown_s.is_some()),
                    ("roles.nodes_min", text.nodes_min.is_some()),
                ];
                match given.iter().find(|(_, given)| *given) {
                    Some((key, _)) => {
                        Err(ConfigError::new(key, "has no meaning with roles \"off\""))
                    }
                    None => Ok(Self::Off),
                }
            }
            "load-gap" => Ok(Self::LoadGap(LoadGapConfig {
                gap: ratio("roles.gap", text.gap.unwrap_or(GAP))?,
                busy_min: ratio("roles.busy_min", text.busy_min.unwrap_or(BUSY_MIN))?,
                hold: seconds("roles.hold_s", text.hold_s.unwrap_or(HOLD_S))?,
                cooldown: seconds("roles.cooldown_s", text.cooldown_s.unwrap_or(COOLDOWN_S))?,
                nodes_min: nodes(text.nodes_min.unwrap_or(NODES_MIN))?,
            })),
            other => Err(ConfigError::new(
                "roles.select",
                format_args!("unknown role policy \"{other}\", expected one of: off, load-gap"),
            )),
        }
    }

    /// The text form with every parameter.
    pub(super) fn to_text(self) -> RolesText {
        match self {
            Self::Off => RolesText::default(),
            Self::LoadGap(config) => RolesText {
                select: "load-gap".to_string(),
                gap: Some(f64::from(config.gap.0) / 1000.0),
                busy_min: Some(f64::from(config.busy_min.0) / 1000.0),
                hold_s: Some(config.hold.as_secs_f64()),
                cooldown_s: Some(config.cooldown.as_secs_f64()),
                nodes_min: Some(u64::from(config.nodes_min)),
            },
        }
    }
}

fn ratio(key: &str, value: f64) -> Result<Ratio, ConfigError> {
    if (0.001..=100.0).contains(&value) {
        return Ok(Ratio((value * 1000.0 + 0.5) as u32));
    }
    let expected = format_args!("expected a number from 0.001 to 100, found {value}");
    Err(ConfigError::new(key, expected))
}

fn seconds(key: &str, value: f64) -> Result<Nanos, ConfigError> {
    let nanos = Nanos::from_secs_f64(value).filter(|nanos| !nanos.is_zero() && value <= 86_400.0);
    let expected = format_args!("expected seconds above 0, at most 86400, found {value}");
    nanos.ok_or_else(|| ConfigError::new(key, expected))
}

fn nodes(value: u64) -> Result<u32, ConfigError> {
    match u32::try_from(value) {
        Ok(nodes @ 1..=60_000) => Ok(nodes),
        _ => Err(ConfigError::new(
            "roles.nodes_min",
            format_args!("expected a whole number from 1 to 60000, found {value}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PolicyConfig;

    #[test]
    fn it_is_off_unless_asked_for_and_then_every_parameter_is_written_down() {
        let off = PolicyConfig::parse("").expect("empty is the default");
        assert_eq!(off.roles, RolesConfig::Off);
        assert!(!off.to_toml().contains("roles"), "{}", off.to_toml());
        let said = PolicyConfig::parse("[roles]\nselect = \"off\"\n").expect("valid");
        assert_eq!(said.to_toml(), off.to_toml());

        let on =
            PolicyConfig::parse("[roles]\nselect = \"load-gap\"\nhold_s = 5\n").expect("valid");
        let RolesConfig::LoadGap(config) = on.roles else {
            panic!("it is on")
        };
        assert_eq!((config.hold, config.gap), (Nanos::from_secs(5), Ratio(500)));
        assert_eq!(PolicyConfig::parse(&on.to_toml()), Ok(on));
    }

    #[test]
    fn errors_name_line_and_key() {
        let of = |text: &str| {
            let error = PolicyConfig::parse(text).expect_err(text);
            error.to_string()
        };
        for (text, expected) in [
            (
                "[roles]\nselect = \"auto\"\n",
                "line 2: `roles.select`: unknown role policy \"auto\", expected one of: off, load-gap",
            ),
            (
                "[roles]\nselect = \"off\"\nhold_s = 3\n",
                "line 3: `roles.hold_s`: has no meaning with roles \"off\"",
            ),
            (
                "[roles]\nselect = \"load-gap\"\ngap = 0.0\n",
                "line 3: `roles.gap`: expected a number from 0.001 to 100, found 0",
            ),
            (
                "[roles]\nselect = \"load-gap\"\ncooldown_s = 0\n",
                "line 3: `roles.cooldown_s`: expected seconds above 0",
            ),
            (
                "[roles]\nselect = \"load-gap\"\nnodes_min = 0\n",
                "line 3: `roles.nodes_min`: expected a whole number from 1 to 60000, found 0",
            ),
            ("[roles]\ngap = 0.5\n", "line 1: missing field `select`"),
        ] {
            let error = of(text);
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
