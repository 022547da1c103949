//! Bodies of requests and answers, in the published form. Fields that are not known are ignored: the interface grows.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Whose tenant it is if it is not said.
fn default_tenant() -> String {
    "default".into()
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Register {
    pub(super) endpoint: String,
    pub(super) replay_endpoint: Option<String>,
    pub(super) r#type: String,
    pub(super) modelname: String,
    pub(super) lora_name: Option<String>,
    #[serde(default = "default_tenant")]
    pub(super) tenant_id: String,
    pub(super) instance_id: String,
    pub(super) block_size: u32,
    pub(super) dp_rank: u32,
    pub(super) additionalsalt: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct Registered {
    pub(super) status: &'static str,
    pub(super) instance_id: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Unregister {
    #[serde(default = "default_tenant")]
    pub(super) tenant_id: String,
    pub(super) instance_id: String,
    pub(super) dp_rank: u32,
}

#[derive(Debug, Serialize)]
pub(super) struct Unregistered {
    pub(super) status: &'static str,
    pub(super) removed_instances: Vec<String>,
}

/// What both queries say of the prompt besides its blocks.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct About {
    pub(super) model: String,
    pub(super) lora_name: Option<String>,
    #[serde(default = "default_tenant")]
    pub(super) tenant_id: String,
    pub(super) instance_id: Option<String>,
    pub(super) block_size: u32,
    pub(super) cache_salt: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Query {
    #[serde(flatten)]
    pub(super) about: About,
    pub(super) token_ids: Vec<u32>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct QueryByHash {
    #[serde(flatten)]
    pub(super) about: About,
    #[serde(alias = "block_hash")]
    pub(super) seq_hashes: Vec<u64>,
}

/// What an instance has of a prompt, in tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Hit {
    pub(super) longest_matched: u64,
    #[serde(rename = "GPU")]
    pub(super) gpu: u64,
    #[serde(rename = "DP")]
    pub(super) ranks: BTreeMap<String, u64>,
    #[serde(rename = "CPU")]
    pub(super) cpu: u64,
    #[serde(rename = "DISK")]
    pub(super) disk: u64,
}

/// By tenant and instance.
pub(super) type Hits = BTreeMap<String, BTreeMap<String, Hit>>;

#[derive(Debug, Serialize)]
pub(super) struct Failed<'a> {
    pub(super) error: &'a str,
}
