//! The cluster file as written.

use super::Role;
use crate::config::ConfigError;
use crate::config::coupled::CoupledText;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

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
    /// What prices are in, for example `USD`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// `[[nodes]]`: groups of equal nodes, in order.
    pub nodes: Vec<NodesText>,
    /// `[coupled]`: how coupled nodes batch.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub coupled: CoupledText,
    /// `[kv]`: how KV is kept and sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv: Option<KvText>,
    /// `[network]`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkText>,
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

impl ClusterText {
    /// Reads a cluster file as written, without checking what it says.
    ///
    /// # Errors
    /// If it is no such file.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| ConfigError::from_toml(text, &error))
    }

    /// The profiles that it names.
    pub fn profile_names(&self) -> impl Iterator<Item = &str> {
        let own = self
            .nodes
            .iter()
            .filter_map(|nodes| nodes.profile.as_deref());
        core::iter::once(self.profile.as_str()).chain(own)
    }
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
    /// Prefill: tokens that stay in HBM after a prompt, so that they need not be loaded; none by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hbm_cache_tokens: Option<u64>,
    /// Prefill: tokens that the SSD below DRAM holds; none by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssd_tokens: Option<u64>,
    /// What the SSD reads and writes together, 10^9 bytes a second; has to be given where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssd_gbytes_per_s: Option<f64>,
    /// HBM for KV in tokens, if not the profile's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hbm_kv_tokens: Option<u64>,
    /// Prefill: each node of this group stands for so many machines, which compute prompts as a pipeline and have their
    /// caches and links together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<u64>,
    /// Prefill: longest piece of a prompt that is computed at once, if not the profile's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chunk_tokens: Option<u64>,
    /// What one machine of this group costs an hour; see [`super::super::Price`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_per_hour: Option<f64>,
}

/// `[kv]`: compression of KV outside HBM.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KvText {
    /// How many times smaller KV is in DRAM, on SSD and on the wire than in HBM.
    pub compression: f64,
    /// What a node compresses, 10^9 bytes of uncompressed KV a second: added to each prefill.
    pub compress_gbytes_per_s: f64,
    /// What a node decompresses, likewise: added to a prefill for what it reuses, and a bound on loads into HBM for
    /// decoding.
    pub decompress_gbytes_per_s: f64,
}

/// `[network]`
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkText {
    /// NICs of a node, which share the profile's bandwidth equally.
    pub nics: u64,
    /// True if each transfer goes over all of them, as slices of Mooncake's transfer engine do; false: over one of the
    /// sender's and one of the receiver's, those that carry the fewest.
    pub striped: bool,
}

/// `[limits]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsText {
    /// See [`super::ClusterConfig::live_requests_max`].
    pub live_requests: u64,
    /// See [`super::ClusterConfig::index_blocks_max`]; by default what all caches hold together.
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

pub(super) fn default_profile() -> String {
    "a800-llama3-70b".to_string()
}

fn is_usual(coupled: &CoupledText) -> bool {
    *coupled == CoupledText::default()
}

/// FAST'25: trace ids stand for blocks of 512 tokens.
pub(super) const fn default_block() -> u64 {
    512
}
