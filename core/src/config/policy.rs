//! The policy file: everything that a person can decide about scheduling, in one place.
//!
//! Both worlds read the same file. A built-in policy is a name, `<prefill policy>[+<admission>]`; each built-in
//! equals
//! the file that [`PolicyConfig::to_text`] gives for it.

use super::ConfigError;
use super::admission::{AdmissionConfig, AdmissionText};
use super::classes::{ClassConfig, ClassLimits, ClassText};
use super::eviction::{EvictionText, Evictions};
use super::lost::{LostConfig, LostText};
use super::profile::checked_name;
use super::roles::{RolesConfig, RolesText};
use crate::ids::ClassId;
use crate::units::{Nanos, Tokens};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// A parsed policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyConfig {
    /// What reports call it.
    pub name: String,
    /// Which prefill node a request goes to.
    pub prefill: PrefillConfig,
    /// Which decode node a request goes to.
    pub decode: DecodeConfig,
    /// Who is turned away.
    pub admission: AdmissionConfig,
    /// What becomes of blocks that were fetched from another node.
    pub replication: ReplicationConfig,
    /// Which block a full cache gives up.
    pub eviction: Evictions,
    /// Who decides that a node changes its role.
    pub roles: RolesConfig,
    /// When a request whose attempts are lost is given up.
    pub lost: LostConfig,
    /// The limits that a request should meet, where its class has no others.
    pub slo: Slo,
    /// Kinds of requests, from the highest priority to the lowest; at least one.
    pub classes: Vec<ClassConfig>,
}

/// How the prefill node is chosen, and what it fetches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefillConfig {
    /// By what.
    pub select: PrefillSelect,
    /// Of Algorithm 1: a node fetches the best prefix if it is more than this many times longer than its own.
    pub balancing_threshold: Option<Ratio>,
}

/// What prefill nodes are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefillSelect {
    /// Nothing: any node, evenly.
    Random,
    /// Nothing: each in turn.
    RoundRobin,
    /// The fewest requests assigned.
    LeastLoaded,
    /// The shortest predicted queue.
    LeastQueued,
    /// The smallest predicted TTFT, each node with what it has itself.
    LocalCacheAware,
    /// The smallest predicted TTFT with fetching: Algorithm 1 of the paper.
    KvcacheCentric,
}

/// How the decode node is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeConfig {
    /// By what.
    pub select: DecodeSelect,
    /// KV tokens that are held for a request's answer, whose length is not known.
    pub output_reserve: Tokens,
}

/// What decode nodes are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DecodeSelect {
    /// The fewest requests assigned.
    LeastLoaded,
    /// The smallest predicted TBT.
    LeastTbt,
}

/// What becomes of fetched blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReplicationConfig {
    /// The copy stays in the node's cache (Algorithm 1, last step): hot blocks multiply.
    LeaveCopy,
    /// All caches are one pool: whatever node was chosen, by whatever policy, it fetches the longest match that
    /// any node
    /// has, and the copy stays. Policies then differ in the choice alone.
    OnePool,
    /// Nothing is fetched: each node has only what it computed.
    Off,
}

/// Service level objectives of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slo {
    /// Arrival to first token.
    pub ttft: Nanos,
    /// Mean of the longest 10 % of a request's token gaps.
    pub tbt: Nanos,
}

/// A ratio in thousandths, so that comparing lengths by it is exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ratio(pub u32);

impl Ratio {
    /// One.
    pub const ONE: Self = Self(1000);

    /// This ratio of a time, rounded down.
    #[must_use]
    pub const fn of(self, time: Nanos) -> Nanos {
        Nanos((time.0 as u128 * self.0 as u128 / 1000) as u64)
    }

    /// True if `long / short` is above this ratio; with `short` zero, if `long` is not zero.
    #[must_use]
    pub const fn exceeded_by(self, long: u32, short: u32) -> bool {
        long as u64 * 1000 > short as u64 * self.0 as u64
    }
}

/// The file as written. Sections that are absent have the defaults of `kvcache-centric`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyText {
    /// Name in reports; by default the prefill policy's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `[prefill]`
    pub prefill: PrefillText,
    /// `[decode]`
    pub decode: DecodeText,
    /// `[admission]`
    pub admission: AdmissionText,
    /// `[replication]`
    pub replication: ReplicationText,
    /// `[eviction]`
    pub eviction: EvictionText,
    /// `[roles]`
    #[serde(skip_serializing_if = "RolesText::is_off")]
    pub roles: RolesText,
    /// `[lost]`
    #[serde(skip_serializing_if = "LostText::is_default")]
    pub lost: LostText,
    /// `[slo]`
    pub slo: SloText,
    /// `[[classes]]`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<ClassText>,
}

/// `[prefill]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrefillText {
    /// Name of the prefill policy.
    pub select: String,
    /// Of `kvcache-centric` alone, at least 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub balancing_threshold: Option<f64>,
}

/// `[decode]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DecodeText {
    /// `least-tbt` or `least-loaded`.
    #[serde(default = "least_tbt")]
    pub select: DecodeSelect,
    /// See [`DecodeConfig::output_reserve`].
    #[serde(default = "output_reserve")]
    pub output_reserve_tokens: u64,
}

/// `[replication]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplicationText {
    /// `leave-copy`, `one-pool` or `off`.
    pub select: ReplicationConfig,
}

/// `[slo]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SloText {
    /// Limit of time to first token, seconds.
    pub ttft_s: f64,
    /// Limit of time between tokens, seconds.
    pub tbt_s: f64,
}

const fn least_tbt() -> DecodeSelect {
    DecodeSelect::LeastTbt
}

/// The mean answer of the conversation trace (FAST'25 Table 2): 343 tokens.
const fn output_reserve() -> u64 {
    343
}

/// The paper gives no value ("adjusted manually", section 6); 1.5 is this project's, swept in an experiment.
const BALANCING_THRESHOLD: f64 = 1.5;

impl Default for PrefillText {
    fn default() -> Self {
        Self {
            select: "kvcache-centric".to_string(),
            balancing_threshold: Some(BALANCING_THRESHOLD),
        }
    }
}

impl Default for DecodeText {
    fn default() -> Self {
        Self {
            select: least_tbt(),
            output_reserve_tokens: output_reserve(),
        }
    }
}

impl Default for ReplicationText {
    fn default() -> Self {
        Self {
            select: ReplicationConfig::LeaveCopy,
        }
    }
}

impl Default for SloText {
    /// FAST'25 section 5: TTFT 30 s; TBT threshold I, 100 ms.
    fn default() -> Self {
        Self {
            ttft_s: 30.0,
            tbt_s: 0.1,
        }
    }
}

impl PolicyConfig {
    /// Names of the built-in prefill policies; each is a built-in policy.
    pub const BUILT_IN: [&str; 6] = [
        "random",
        "round-robin",
        "least-loaded",
        "least-queued",
        "local-cache-aware",
        "kvcache-centric",
    ];

    /// Names of the built-in admission policies.
    pub const ADMISSIONS: [&str; 7] = [
        "none",
        "per-stage",
        "early",
        "early-predicted",
        "early-predicted-quantile",
        "early-predicted-survival",
        "early-predicted-oracle",
    ];

    /// The built-in policy `name`, which is `<prefill policy>` or `<prefill policy>+<admission>`.
    ///
    /// # Errors
    /// If there is none of that name; the message lists all.
    pub fn built_in(name: &str) -> Result<Self, ConfigError> {
        let (prefill, admission) = name.split_once('+').unwrap_or((name, "none"));
        let text = PolicyText {
            name: Some(name.to_string()),
            prefill: PrefillText {
                select: prefill.to_string(),
                balancing_threshold: None,
            },
            admission: AdmissionText::named(admission),
            ..PolicyText::default()
        };
        Self::from_text(&text)
    }

    /// Parses a policy file.
    ///
    /// # Errors
    /// Names line and key.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let parsed: PolicyText =
            toml::from_str(text).map_err(|error| ConfigError::from_toml(text, &error))?;
        Self::from_text(&parsed).map_err(|error| error.located(text))
    }

    /// Checks the text form.
    ///
    /// # Errors
    /// Names the key.
    pub fn from_text(text: &PolicyText) -> Result<Self, ConfigError> {
        let name = text.name.as_deref().unwrap_or(&text.prefill.select);
        let prefill = prefill(&text.prefill)?;
        checked_name("name", name)?;
        let admission = AdmissionConfig::from_text(&text.admission)?;
        let reserve = text.decode.output_reserve_tokens;
        if reserve > crate::cost::PROMPT_MAX.0 {
            return Err(ConfigError::new(
                "decode.output_reserve_tokens",
                "expected at most 16777216 tokens",
            ));
        }
        let slo = Slo {
            ttft: positive_seconds("slo.ttft_s", text.slo.ttft_s)?,
            tbt: positive_seconds("slo.tbt_s", text.slo.tbt_s)?,
        };
        Ok(Self {
            name: name.to_string(),
            prefill,
            decode: DecodeConfig {
                select: text.decode.select,
                output_reserve: Tokens(reserve),
            },
            admission,
            replication: text.replication.select,
            eviction: text.eviction.parsed(),
            roles: RolesConfig::from_text(&text.roles)?,
            lost: LostConfig::from_text(&text.lost)?,
            slo,
            classes: ClassConfig::from_texts(&text.classes, slo)?,
        })
    }

    /// The class of a request; what names none that there is belongs to the first.
    #[must_use]
    pub fn class(&self, class: ClassId) -> &ClassConfig {
        self.classes.get(class.index()).unwrap_or(&self.classes[0])
    }

    /// The shortest limit of time between tokens of any class: sequences of all classes share a batch.
    #[must_use]
    pub fn strictest_tbt(&self) -> Nanos {
        let limits = self.classes.iter().filter_map(|class| match class.limits {
            ClassLimits::Answer(slo) => Some(slo.tbt),
            ClassLimits::Workflow { .. } | ClassLimits::Completion { .. } => None,
        });
        limits.min().unwrap_or(self.slo.tbt)
    }

    /// The longest limit of time to first token of any class: no queue that admission by load allows takes longer.
    #[must_use]
    pub fn longest_ttft(&self) -> Nanos {
        let limits = self.classes.iter().filter_map(|class| match class.limits {
            ClassLimits::Answer(slo) => Some(slo.ttft),
            ClassLimits::Workflow { .. } | ClassLimits::Completion { .. } => None,
        });
        limits.max().unwrap_or(self.slo.ttft)
    }

    /// The text form with every parameter.
    #[must_use]
    pub fn to_text(&self) -> PolicyText {
        let threshold = self
            .prefill
            .balancing_threshold
            .map(|ratio| f64::from(ratio.0) / 1000.0);
        PolicyText {
            name: Some(self.name.clone()),
            prefill: PrefillText {
                select: self.prefill.select.name().to_string(),
                balancing_threshold: threshold,
            },
            decode: DecodeText {
                select: self.decode.select,
                output_reserve_tokens: self.decode.output_reserve.0,
            },
            admission: self.admission.to_text(),
            replication: ReplicationText {
                select: self.replication,
            },
            eviction: self.eviction.to_text(),
            roles: self.roles.to_text(),
            lost: self.lost.to_text(),
            slo: SloText {
                ttft_s: self.slo.ttft.as_secs_f64(),
                tbt_s: self.slo.tbt.as_secs_f64(),
            },
            classes: ClassConfig::to_texts(&self.classes, self.slo),
        }
    }

    /// The policy file with every parameter.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(&self.to_text()).expect("a policy is plain tables of numbers and strings")
    }
}

impl PrefillSelect {
    /// All there are.
    const ALL: [Self; 6] = [
        Self::Random,
        Self::RoundRobin,
        Self::LeastLoaded,
        Self::LeastQueued,
        Self::LocalCacheAware,
        Self::KvcacheCentric,
    ];

    /// The name in policy files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::RoundRobin => "round-robin",
            Self::LeastLoaded => "least-loaded",
            Self::LeastQueued => "least-queued",
            Self::LocalCacheAware => "local-cache-aware",
            Self::KvcacheCentric => "kvcache-centric",
        }
    }
}

fn prefill(text: &PrefillText) -> Result<PrefillConfig, ConfigError> {
    let Some(&select) = PrefillSelect::ALL
        .iter()
        .find(|select| select.name() == text.select)
    else {
        let known = PolicyConfig::BUILT_IN.join(", ");
        return Err(ConfigError::new(
            "prefill.select",
            format_args!(
                "unknown prefill policy \"{}\", expected one of: {known}",
                text.select
            ),
        ));
    };
    let key = "prefill.balancing_threshold";
    let threshold = match (select, text.balancing_threshold) {
        (PrefillSelect::KvcacheCentric, given) => Some(given.unwrap_or(BALANCING_THRESHOLD)),
        (_, None) => None,
        (_, Some(_)) => {
            let message = format!("has no meaning for prefill policy \"{}\"", text.select);
            return Err(ConfigError::new(key, message));
        }
    };
    if let Some(ratio) = threshold
        && !(1.0..=1000.0).contains(&ratio)
    {
        return Err(ConfigError::new(
            key,
            format_args!("expected a ratio from 1 to 1000, found {ratio}"),
        ));
    }
    Ok(PrefillConfig {
        select,
        balancing_threshold: threshold.map(|ratio| Ratio((ratio * 1000.0 + 0.5) as u32)),
    })
}

/// Seconds that must be more than zero and at most a day.
pub(super) fn positive_seconds(key: &str, seconds: f64) -> Result<Nanos, ConfigError> {
    Nanos::from_secs_f64(seconds)
        .filter(|nanos| !nanos.is_zero() && seconds <= 86_400.0)
        .ok_or_else(|| {
            ConfigError::new(
                key,
                format_args!("expected seconds above 0, at most 86400, found {seconds}"),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn built_ins_survive_their_own_file() {
        for prefill in PolicyConfig::BUILT_IN {
            for admission in PolicyConfig::ADMISSIONS {
                let name = format!("{prefill}+{admission}");
                let policy = PolicyConfig::built_in(&name).expect(&name);
                assert_eq!(PolicyConfig::parse(&policy.to_toml()), Ok(policy), "{name}");
            }
        }
    }

    #[test]
    fn the_default_file_is_kvcache_centric() {
        let policy = PolicyConfig::parse("").expect("empty is the default");
        assert_eq!(
            policy,
            PolicyConfig::built_in("kvcache-centric").expect("built in")
        );
    }

    #[test]
    fn errors_name_line_and_key() {
        for (text, expected) in [
            (
                "[prefill]\nselect = \"fifo\"\n",
                "line 2: `prefill.select`: unknown prefill policy \"fifo\"",
            ),
            (
                "[prefill]\nselect = \"random\"\nspeed = 1\n",
                "line 3: unknown field `speed`",
            ),
            (
                "name = 3\n",
                "line 1: invalid type: integer `3`, expected a string",
            ),
            (
                "[prefill]\nselect = \"random\"\nbalancing_threshold = 2.0\n",
                "line 3: `prefill.balancing_threshold`: has no meaning",
            ),
            (
                "name = \"../x\"\n",
                "line 1: `name`: expected 1 to 64 letters",
            ),
            (
                "[slo]\nttft_s = -1\n",
                "line 2: `slo.ttft_s`: expected seconds above 0",
            ),
            (
                "[slo]\ntbt_s = nan\n",
                "line 2: `slo.tbt_s`: expected seconds above 0",
            ),
            (
                "[eviction]\nselect = \"fifo\"\n",
                "line 2: unknown variant `fifo`, expected one of `lru`",
            ),
        ] {
            let error = PolicyConfig::parse(text).expect_err(text).to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn a_ratio_is_exact() {
        let ratio = Ratio(1500);
        assert!(!ratio.exceeded_by(3, 2) && ratio.exceeded_by(4, 2));
        assert!(ratio.exceeded_by(1, 0) && !ratio.exceeded_by(0, 0));
    }
}
