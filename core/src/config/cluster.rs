//! A cluster: which nodes there are, what each can hold, and how wrong the Conductor's picture of them may be.
//!
//! Built-in names are `<P>p<D>d`, with or without `a800-` before: `8p8d`, `a800-10p1d`. A plain count of nodes means
//! coupled nodes, which do not exist yet.

use super::profile::{checked_name, within};
use super::{ConfigError, Profile, ProfileText};
use crate::cost::{CostModel, Costs, Factor, Scaled};
use crate::units::Tokens;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Computes prompts and caches their blocks.
    Prefill,
    /// Makes answers.
    Decode,
    /// Both.
    Coupled,
}

/// One node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeSpec {
    /// What it does.
    pub role: Role,
    /// Which of the cluster's profiles it has.
    pub profile: u8,
    /// Blocks that its cache holds.
    pub cache_blocks: u32,
    /// Blocks that its HBM holds for decoding.
    pub hbm_blocks: u32,
}

/// A parsed cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterConfig {
    /// What reports call it.
    pub name: String,
    /// Tokens in a KV block.
    pub block: Tokens,
    /// Node `i` is `NodeId(i)`.
    pub nodes: Vec<NodeSpec>,
    /// The profiles that nodes refer to.
    pub profiles: Vec<Profile>,
    /// Requests that may be in the system at once; one more is rejected.
    pub live_requests_max: u32,
    /// Distinct blocks that the index holds.
    pub index_blocks_max: u64,
    /// Factor on estimated prefill times.
    pub estimate_prefill: Factor,
    /// Factor on estimated decode steps.
    pub estimate_decode: Factor,
    text: ClusterText,
}

/// A cluster file as written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterText {
    /// Name in reports.
    pub name: String,
    /// Profile of nodes that name none.
    #[serde(default = "default_profile")]
    pub profile: String,
    /// Tokens in a KV block, 16 to 4096.
    #[serde(default = "default_block")]
    pub block_tokens: u64,
    /// `[[nodes]]`: groups of equal nodes, in order.
    pub nodes: Vec<NodesText>,
    /// `[limits]`
    #[serde(default)]
    pub limits: LimitsText,
    /// `[estimate]`: how the Conductor's estimates differ from the profiles.
    #[serde(default)]
    pub estimate: EstimateText,
    /// `[truth]`: how a simulated cluster differs from the profiles. The Conductor never sees it.
    #[serde(default)]
    pub truth: TruthText,
}

/// `[[nodes]]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodesText {
    /// How many.
    pub count: u64,
    /// What they do.
    pub role: Role,
    /// Profile, if not the cluster's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// DRAM cache in tokens, if not the profile's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_tokens: Option<u64>,
    /// HBM for KV in tokens, if not the profile's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hbm_kv_tokens: Option<u64>,
}

/// `[limits]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsText {
    /// See [`ClusterConfig::live_requests_max`].
    pub live_requests: u64,
    /// See [`ClusterConfig::index_blocks_max`]; by default what all caches hold together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index_blocks: Option<u64>,
}

impl Default for LimitsText {
    fn default() -> Self {
        Self {
            live_requests: 1 << 20,
            index_blocks: None,
        }
    }
}

/// `[estimate]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EstimateText {
    /// Estimated prefill times are the profile's times this.
    pub prefill_factor: f64,
    /// Estimated decode steps are the profile's times this.
    pub decode_factor: f64,
}

impl Default for EstimateText {
    fn default() -> Self {
        Self {
            prefill_factor: 1.0,
            decode_factor: 1.0,
        }
    }
}

/// `[truth]`
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TruthText {
    /// Half width of the uniform factor on each prefill: 0.1 means 0.9 to 1.1.
    pub prefill_noise: f64,
    /// Half width of the uniform factor on the steps of each batch.
    pub decode_noise: f64,
}

fn default_profile() -> String {
    "a800-llama3-70b".to_string()
}

/// FAST'25: trace ids stand for blocks of 512 tokens.
const fn default_block() -> u64 {
    512
}

impl ClusterConfig {
    /// More nodes than this do not fit in a node number.
    pub const NODES_MAX: u64 = 60_000;

    /// A built-in cluster by name.
    ///
    /// # Errors
    /// If the name is not understood, has no prefill or no decode node, or means coupled nodes.
    pub fn built_in(name: &str) -> Result<Self, ConfigError> {
        let error = |message: String| Err(ConfigError::new("cluster", message));
        let shape = name.strip_prefix("a800-").unwrap_or(name);
        if shape.parse::<u64>().is_ok() {
            return error(format!(
                "\"{name}\" means coupled nodes, which are not built yet: expected <P>p<D>d, for example \"8p8d\""
            ));
        }
        let counts = shape
            .strip_suffix('d')
            .and_then(|counts| counts.split_once('p'));
        let counts =
            counts.and_then(|(p, d)| Some((p.parse::<u64>().ok()?, d.parse::<u64>().ok()?)));
        let Some((prefill, decode)) = counts else {
            return error(format!(
                "unknown cluster \"{name}\", expected <P>p<D>d (for example \"a800-8p8d\" or \"10p1d\") or a TOML file"
            ));
        };
        Self::disaggregated(
            &format!("a800-{shape}"),
            &default_profile(),
            prefill,
            decode,
        )
    }

    /// `prefill` and `decode` nodes of one built-in profile.
    ///
    /// # Errors
    /// If a count is 0 or too large.
    pub fn disaggregated(
        name: &str,
        profile: &str,
        prefill: u64,
        decode: u64,
    ) -> Result<Self, ConfigError> {
        let group = |count, role| NodesText {
            count,
            role,
            profile: None,
            cache_tokens: None,
            hbm_kv_tokens: None,
        };
        Self::from_text(
            ClusterText {
                name: name.to_string(),
                profile: profile.to_string(),
                block_tokens: default_block(),
                nodes: Vec::from([group(prefill, Role::Prefill), group(decode, Role::Decode)]),
                limits: LimitsText::default(),
                estimate: EstimateText::default(),
                truth: TruthText::default(),
            },
            &[],
        )
    }

    /// Parses a cluster file; `profiles` are profile files by name, besides the built-in ones.
    ///
    /// # Errors
    /// Names line and key.
    pub fn parse(text: &str, profiles: &[Profile]) -> Result<Self, ConfigError> {
        let parsed: ClusterText =
            toml::from_str(text).map_err(|error| ConfigError::from_toml(text, &error))?;
        Self::from_text(parsed, profiles).map_err(|error| error.located(text))
    }

    /// Checks the text form.
    ///
    /// # Errors
    /// Names the key.
    pub fn from_text(text: ClusterText, profiles: &[Profile]) -> Result<Self, ConfigError> {
        checked_name("name", &text.name)?;
        let block = Tokens(within("block_tokens", text.block_tokens, 16, 4096)?);
        let mut used: Vec<Profile> = Vec::new();
        let mut nodes = Vec::new();
        for group in &text.nodes {
            within("nodes.count", group.count, 1, Self::NODES_MAX)?;
            if group.role == Role::Coupled {
                return Err(ConfigError::new(
                    "nodes.role",
                    "coupled nodes are not built yet",
                ));
            }
            let profile = profile_number(
                group.profile.as_ref().unwrap_or(&text.profile),
                profiles,
                &mut used,
            )?;
            let cache = group.cache_tokens.unwrap_or(used[profile].cache.0);
            let hbm = group.hbm_kv_tokens.unwrap_or(used[profile].hbm.0);
            let node = NodeSpec {
                role: group.role,
                profile: profile as u8,
                cache_blocks: within(
                    "nodes.cache_tokens",
                    cache / block.0,
                    0,
                    u64::from(u32::MAX),
                )? as u32,
                hbm_blocks: within("nodes.hbm_kv_tokens", hbm / block.0, 1, u64::from(u32::MAX))?
                    as u32,
            };
            within(
                "nodes.count",
                nodes.len() as u64 + group.count,
                1,
                Self::NODES_MAX,
            )?;
            nodes.extend((0..group.count).map(|_| node));
        }
        for (role, name) in [(Role::Prefill, "prefill"), (Role::Decode, "decode")] {
            if !nodes.iter().any(|node| node.role == role) {
                return Err(ConfigError::new(
                    "nodes.count",
                    format_args!("expected at least one {name} node"),
                ));
            }
        }
        let held: u64 = nodes.iter().map(|node| u64::from(node.cache_blocks)).sum();
        let factor = |key: &str, value: f64| {
            Factor::from_f64(value).ok_or_else(|| {
                ConfigError::new(
                    key,
                    format_args!("expected a factor above 0, at most 1024: {value}"),
                )
            })
        };
        for (key, noise) in [
            ("truth.prefill_noise", text.truth.prefill_noise),
            ("truth.decode_noise", text.truth.decode_noise),
        ] {
            if !(0.0..1.0).contains(&noise) {
                return Err(ConfigError::new(
                    key,
                    format_args!("expected at least 0 and less than 1, found {noise}"),
                ));
            }
        }
        Ok(Self {
            name: text.name.clone(),
            block,
            nodes,
            profiles: used,
            live_requests_max: within(
                "limits.live_requests",
                text.limits.live_requests,
                1,
                1 << 30,
            )? as u32,
            index_blocks_max: within(
                "limits.index_blocks",
                text.limits.index_blocks.unwrap_or(held),
                0,
                1 << 31,
            )?,
            estimate_prefill: factor("estimate.prefill_factor", text.estimate.prefill_factor)?,
            estimate_decode: factor("estimate.decode_factor", text.estimate.decode_factor)?,
            text,
        })
    }

    /// The text form.
    #[must_use]
    pub const fn text(&self) -> &ClusterText {
        &self.text
    }

    /// The profiles in text form, for journals.
    #[must_use]
    pub fn profile_texts(&self) -> Vec<ProfileText> {
        self.profiles
            .iter()
            .map(|profile| profile.text.clone())
            .collect()
    }

    /// The cluster file.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(&self.text).expect("a cluster is plain tables of numbers and strings")
    }

    /// What the Conductor estimates with: the profiles' costs times the estimate factors.
    #[must_use]
    pub fn estimate(&self) -> Costs {
        self.costs(|profile| {
            Box::new(Scaled::new(
                profile.cost(),
                self.estimate_prefill,
                self.estimate_decode,
            ))
        })
    }

    /// The profiles' own costs.
    #[must_use]
    pub fn truth(&self) -> Costs {
        self.costs(Profile::cost)
    }

    /// The profile of a node.
    #[must_use]
    pub fn profile_of(&self, node: crate::ids::NodeId) -> &Profile {
        &self.profiles[usize::from(self.nodes[node.index()].profile)]
    }

    /// How many nodes have `role`.
    #[must_use]
    pub fn count(&self, role: Role) -> usize {
        self.nodes.iter().filter(|node| node.role == role).count()
    }

    fn costs(&self, cost: impl Fn(&Profile) -> Box<dyn CostModel>) -> Costs {
        Costs::new(
            self.profiles.iter().map(cost).collect(),
            self.nodes.iter().map(|node| node.profile).collect(),
        )
    }
}

/// The number of profile `name` among those used, adding it if it is new.
fn profile_number(
    name: &str,
    known: &[Profile],
    used: &mut Vec<Profile>,
) -> Result<usize, ConfigError> {
    if let Some(number) = used.iter().position(|profile| profile.text.name == name) {
        return Ok(number);
    }
    let profile = match known.iter().find(|profile| profile.text.name == name) {
        Some(profile) => profile.clone(),
        None => Profile::built_in(name)?,
    };
    used.push(profile);
    within("nodes.profile", used.len() as u64, 1, 256)?;
    Ok(used.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_files_give_the_same_cluster() {
        for name in ["a800-8p8d", "8p8d", "10p1d"] {
            let cluster = ClusterConfig::built_in(name).expect(name);
            assert_eq!(
                ClusterConfig::parse(&cluster.to_toml(), &[]),
                Ok(cluster),
                "{name}"
            );
        }
        let cluster = ClusterConfig::built_in("8p8d").expect("understood");
        assert_eq!(
            (cluster.count(Role::Prefill), cluster.count(Role::Decode)),
            (8, 8)
        );
        assert_eq!(cluster.nodes[0].cache_blocks, 5859);
    }

    #[test]
    fn bad_clusters_are_refused_with_a_reason() {
        for (name, expected) in [
            ("0p8d", "expected a whole number from 1 to 60000, found 0"),
            ("8p0d", "expected a whole number from 1 to 60000, found 0"),
            ("a800-16", "coupled nodes, which are not built yet"),
            ("huge", "unknown cluster \"huge\""),
            ("99999p1d", "found 99999"),
        ] {
            let error = ClusterConfig::built_in(name).expect_err(name).to_string();
            assert!(error.contains(expected), "{error}");
        }
        let text = "name = \"x\"\nprofile = \"z9\"\n[[nodes]]\ncount = 1\nrole = \"prefill\"\n";
        let error = ClusterConfig::parse(text, &[])
            .expect_err("no such profile")
            .to_string();
        let expected =
            "line 2: `profile`: unknown profile \"z9\", expected one of: a800-llama3-70b, ";
        assert!(error.starts_with(expected), "{error}");
        let text = "name = \"x\"\n[[nodes]]\ncount = 1\nrole = \"prefill\"\n";
        let error = ClusterConfig::parse(text, &[])
            .expect_err("no decode node")
            .to_string();
        assert!(
            error.contains("expected at least one decode node"),
            "{error}"
        );
    }
}
