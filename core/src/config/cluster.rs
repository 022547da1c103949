//! A cluster: which nodes there are, what each can hold, and how wrong the Conductor's picture of them may be.
//!
//! Built-in names are `<P>p<D>d`, with or without `a800-` before: `8p8d`, `a800-10p1d`. A plain count of nodes means
//! coupled nodes: `16` or `a800-16`, with `-pc` behind it for prefix caching, `-cp` for chunked prefill. `2x4p8d`: the
//! prefill nodes are 2 pipelines of 4.

use super::coupled::{CoupledConfig, CoupledText};
mod text;

pub use text::{ClusterText, EstimateText, KvText, LimitsText, NetworkText, NodesText, TruthText};

use super::profile::{bandwidth, checked_name, within};
use super::{Compression, Price};
use super::{ConfigError, Profile, ProfileText};
use crate::cost::{CostModel, Costs, Factor, Pipeline, PromptCost, Scaled};
use crate::units::Tokens;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};
use text::{default_block, default_profile};

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
    /// Blocks that stay in a prefill node's HBM.
    pub hbm_cache_blocks: u32,
    /// Blocks that its SSD holds.
    pub ssd_blocks: u32,
    /// Machines that it consists of: more than 1 for a group that computes prompts as a pipeline.
    pub stages: u32,
    /// Longest piece of a prompt that is computed at once.
    pub chunk: Tokens,
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
    /// What each node's SSD moves, bytes a second; 0 without one.
    pub ssd_bytes_per_s: Vec<u64>,
    /// How coupled nodes batch.
    pub coupled: CoupledConfig,
    /// NICs of a node over which transfers are spread one by one; 1 if each goes over all.
    pub nics: u32,
    /// Requests that may be in the system at once; one more is rejected.
    pub live_requests_max: u32,
    /// Distinct blocks that the index holds.
    pub index_blocks_max: u64,
    /// Factor on estimated prefill times.
    pub estimate_prefill: Factor,
    /// Factor on estimated decode steps.
    pub estimate_decode: Factor,
    /// What it costs, if its file says so.
    pub price: Option<Price>,
    text: ClusterText,
}

impl ClusterConfig {
    /// More nodes than this do not fit in a node number.
    pub const NODES_MAX: u64 = 60_000;

    /// A built-in cluster by name.
    ///
    /// # Errors
    /// If the name is not understood, or a count is 0 or too large.
    pub fn built_in(name: &str) -> Result<Self, ConfigError> {
        let shape = name.strip_prefix("a800-").unwrap_or(name);
        let full = format!("a800-{shape}");
        let (counts, ending) = match shape.split_once('-') {
            Some((counts, ending)) => (counts, Some(ending)),
            None => (shape, None),
        };
        if let (Ok(count), Some(engine)) = (counts.parse(), CoupledText::built_in(ending)) {
            return Self::coupled(&full, &default_profile(), count, engine);
        }
        let counts = shape
            .strip_suffix('d')
            .and_then(|counts| counts.split_once('p'));
        let counts = counts.and_then(|(prefill, decode)| {
            let (groups, stages) = match prefill.split_once('x') {
                Some((groups, stages)) => (groups, Some(stages.parse::<u64>().ok()?)),
                None => (prefill, None),
            };
            Some((
                groups.parse::<u64>().ok()?,
                stages,
                decode.parse::<u64>().ok()?,
            ))
        });
        let Some((groups, pipeline, decode)) = counts else {
            return Err(ConfigError::new(
                "cluster",
                format_args!(
                    "unknown cluster \"{name}\", expected <P>p<D>d (for example \"a800-8p8d\" or \"10p1d\"; \"2x4p8d\": \
                     prefill nodes in 2 pipelines of 4), a count of coupled nodes (\"a800-16\", \"a800-16-pc\", \"a800-16-cp\") or a TOML file"
                ),
            ));
        };
        let nodes = [(groups, Role::Prefill), (decode, Role::Decode)];
        let engine = CoupledText::default();
        Self::of_groups(&full, &default_profile(), &nodes, pipeline, engine)
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
        let nodes = [(prefill, Role::Prefill), (decode, Role::Decode)];
        Self::of_groups(name, profile, &nodes, None, CoupledText::default())
    }

    /// `count` coupled nodes of one built-in profile, with this engine.
    ///
    /// # Errors
    /// If the count is 0 or too large, or a setting of the engine is out of its bounds.
    pub fn coupled(
        name: &str,
        profile: &str,
        count: u64,
        engine: CoupledText,
    ) -> Result<Self, ConfigError> {
        Self::of_groups(name, profile, &[(count, Role::Coupled)], None, engine)
    }

    fn of_groups(
        name: &str,
        profile: &str,
        groups: &[(u64, Role)],
        pipeline: Option<u64>,
        coupled: CoupledText,
    ) -> Result<Self, ConfigError> {
        let group = |&(count, role): &(u64, Role)| NodesText {
            count,
            role,
            profile: None,
            cache_tokens: None,
            hbm_kv_tokens: None,
            hbm_cache_tokens: None,
            ssd_tokens: None,
            ssd_gbytes_per_s: None,
            pipeline: pipeline.filter(|_| role == Role::Prefill),
            chunk_tokens: None,
            price_per_hour: None,
        };
        Self::from_text(
            ClusterText {
                name: name.to_string(),
                profile: profile.to_string(),
                block_tokens: default_block(),
                currency: None,
                nodes: groups.iter().map(group).collect(),
                coupled,
                kv: None,
                network: None,
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
        Self::from_text(ClusterText::parse(text)?, profiles).map_err(|error| error.located(text))
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
        let mut ssd_bytes_per_s = Vec::new();
        let compression = text.kv.as_ref().map(Compression::parse).transpose()?;
        for group in &text.nodes {
            within("nodes.count", group.count, 1, Self::NODES_MAX)?;
            let profile = profile_number(
                group.profile.as_ref().unwrap_or(&text.profile),
                profiles,
                compression,
                &mut used,
            )?;
            let stages = within("nodes.pipeline", group.pipeline.unwrap_or(1), 1, 1024)?;
            let chunk = group.chunk_tokens.unwrap_or(used[profile].prefill_chunk.0);
            let chunk = Tokens(within("nodes.chunk_tokens", chunk, 1, 1 << 24)?);
            for (key, given) in [
                ("nodes.hbm_cache_tokens", group.hbm_cache_tokens.is_some()),
                ("nodes.ssd_tokens", group.ssd_tokens.is_some()),
                ("nodes.ssd_gbytes_per_s", group.ssd_gbytes_per_s.is_some()),
                ("nodes.pipeline", group.pipeline.is_some()),
                ("nodes.chunk_tokens", group.chunk_tokens.is_some()),
            ] {
                if given && group.role != Role::Prefill {
                    return Err(ConfigError::new(key, "only prefill nodes have it"));
                }
            }
            if stages > 1 && used[profile].activation_bytes_per_token.is_none() {
                return Err(ConfigError::new(
                    "nodes.pipeline",
                    format_args!(
                        "profile \"{}\" has no `activation_bytes_per_token`, which a pipeline's nodes send to each other",
                        used[profile].text.name
                    ),
                ));
            }
            let ssd_bandwidth = match (group.ssd_tokens, group.ssd_gbytes_per_s) {
                (Some(_), Some(gbytes)) => bandwidth("nodes.ssd_gbytes_per_s", gbytes)? * stages,
                (None, None) => 0,
                (Some(_), None) => {
                    let message = "an SSD needs it";
                    return Err(ConfigError::new("nodes.ssd_gbytes_per_s", message));
                }
                (None, Some(_)) => {
                    let message = "an SSD needs it";
                    return Err(ConfigError::new("nodes.ssd_tokens", message));
                }
            };
            let blocks = |key, tokens: u64, least| {
                let blocks = within(key, tokens / block.0, least, u64::from(u32::MAX))?;
                Ok::<_, ConfigError>(blocks as u32)
            };
            let kept = |tokens: u64| compression.map_or(tokens, |kv| kv.times(tokens));
            // Capacities are given for KV as it is; a profile's own has been multiplied already.
            let cache = group.cache_tokens.map(kept);
            let cache = cache.unwrap_or(used[profile].cache.0) * stages;
            let ssd = kept(group.ssd_tokens.unwrap_or(0)) * stages;
            let hbm_cache = group.hbm_cache_tokens.unwrap_or(0) * stages;
            let hbm = group.hbm_kv_tokens.unwrap_or(used[profile].hbm.0);
            let node = NodeSpec {
                role: group.role,
                profile: profile as u8,
                cache_blocks: blocks("nodes.cache_tokens", cache, 0)?,
                hbm_blocks: blocks("nodes.hbm_kv_tokens", hbm, 1)?,
                hbm_cache_blocks: blocks("nodes.hbm_cache_tokens", hbm_cache, 0)?,
                ssd_blocks: blocks("nodes.ssd_tokens", ssd, 0)?,
                stages: stages as u32,
                chunk,
            };
            within(
                "nodes.count",
                nodes.len() as u64 + group.count,
                1,
                Self::NODES_MAX,
            )?;
            nodes.extend((0..group.count).map(|_| node));
            ssd_bytes_per_s.resize(nodes.len(), ssd_bandwidth);
        }
        let has = |role| nodes.iter().any(|node: &NodeSpec| node.role == role);
        for (role, name, other) in [
            (Role::Prefill, "prefill", Role::Decode),
            (Role::Decode, "decode", Role::Prefill),
        ] {
            if !has(role) && (has(other) || !has(Role::Coupled)) {
                return Err(ConfigError::new(
                    "nodes.count",
                    format_args!("expected at least one {name} node, or coupled nodes only"),
                ));
            }
        }
        if let Some(other) = used.iter().find(|other| {
            !has(Role::Coupled) && other.kv_bytes_per_token != used[0].kv_bytes_per_token
        }) {
            return Err(ConfigError::new(
                "nodes.profile",
                format_args!(
                    "\"{}\" and \"{}\" have different `kv_bytes_per_token`: nodes that hand KV over run one model",
                    used[0].text.name, other.text.name
                ),
            ));
        }
        let coupled = text.coupled.checked()?;
        let nics = match text.network {
            Some(network) => {
                let nics = within("network.nics", network.nics, 1, 64)? as u32;
                if network.striped { 1 } else { nics }
            }
            None => 1,
        };
        let held = |node: &NodeSpec| match node.role {
            Role::Coupled => u64::from(node.hbm_blocks),
            Role::Prefill | Role::Decode => {
                u64::from(node.cache_blocks) + u64::from(node.ssd_blocks)
            }
        };
        let held: u64 = nodes.iter().map(held).sum();
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
            ssd_bytes_per_s,
            coupled,
            nics,
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
            price: Price::of(&text)?,
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

    /// What one transfer gets at most, bytes a second, from or to a node of this kind.
    #[must_use]
    pub fn transfer_bytes_per_s(&self, node: crate::ids::NodeId) -> u64 {
        let machines = u64::from(self.nodes[node.index()].stages);
        self.profile_of(node).nic_bytes_per_s * machines / u64::from(self.nics)
    }

    /// The profile of a node.
    #[must_use]
    pub fn profile_of(&self, node: crate::ids::NodeId) -> &Profile {
        &self.profiles[usize::from(self.nodes[node.index()].profile)]
    }

    /// How many nodes have `role`; a pipeline is one.
    #[must_use]
    pub fn count(&self, role: Role) -> usize {
        self.nodes.iter().filter(|node| node.role == role).count()
    }

    /// How many machines have `role`: of a pipeline, each of its stages.
    #[must_use]
    pub fn machines(&self, role: Role) -> usize {
        let nodes = self.nodes.iter().filter(|node| node.role == role);
        nodes.map(|node| node.stages as usize).sum()
    }

    /// Which model prices a node, and how.
    fn priced(&self, node: &NodeSpec) -> (u8, PromptCost) {
        let profile = &self.profiles[usize::from(node.profile)];
        let prompt = match (node.role, profile.activation_bytes_per_token) {
            (Role::Coupled, _) => PromptCost::Resident,
            (Role::Prefill, Some(border_bytes)) if node.stages > 1 => {
                PromptCost::Pipelined(Pipeline {
                    stages: node.stages,
                    chunk: node.chunk,
                    border_bytes,
                    border_bytes_per_s: profile.nic_bytes_per_s,
                })
            }
            (Role::Prefill | Role::Decode, _) => PromptCost::Loaded,
        };
        (node.profile, prompt)
    }

    fn costs(&self, cost: impl Fn(&Profile) -> Box<dyn CostModel>) -> Costs {
        Costs::new(
            self.profiles.iter().map(cost).collect(),
            self.nodes.iter().map(|node| self.priced(node)),
        )
    }
}

/// The number of profile `name` among those used, adding it if it is new.
fn profile_number(
    name: &str,
    known: &[Profile],
    compression: Option<Compression>,
    used: &mut Vec<Profile>,
) -> Result<usize, ConfigError> {
    if let Some(number) = used.iter().position(|profile| profile.text.name == name) {
        return Ok(number);
    }
    let profile = match known.iter().find(|profile| profile.text.name == name) {
        Some(profile) => profile.clone(),
        None => Profile::built_in(name)?,
    };
    used.push(match compression {
        Some(compression) => profile.compressed(compression),
        None => profile,
    });
    within("nodes.profile", used.len() as u64, 1, 256)?;
    Ok(used.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_files_give_the_same_cluster() {
        for name in [
            "a800-8p8d",
            "8p8d",
            "10p1d",
            "16",
            "a800-4-pc",
            "2-cp",
            "2x4p8d",
        ] {
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
            ("a800-16-x", "unknown cluster \"a800-16-x\""),
            ("0", "expected a whole number from 1 to 60000, found 0"),
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
