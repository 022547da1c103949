//! Which block a full cache gives up first, by tier.

use serde::{Deserialize, Serialize};

/// Which block a full cache gives up first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EvictionConfig {
    /// Least recently used.
    #[default]
    Lru,
    /// Least frequently used, then least recently.
    Lfu,
    /// Least frequently used, then deepest in its prompt.
    LengthAware,
}

/// The rule of each tier of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Evictions {
    /// DRAM of a prefill node, HBM of a coupled node.
    pub main: EvictionConfig,
    /// HBM of a prefill node.
    pub hbm: EvictionConfig,
    /// SSD.
    pub ssd: EvictionConfig,
}

/// `[eviction]`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvictionText {
    /// `lru`, `lfu` or `length-aware`: the rule of a node's main cache.
    pub select: EvictionConfig,
    /// The rule of the copy in a prefill node's HBM.
    #[serde(default, skip_serializing_if = "is_lru")]
    pub hbm: EvictionConfig,
    /// The rule of the SSD.
    #[serde(default, skip_serializing_if = "is_lru")]
    pub ssd: EvictionConfig,
}

fn is_lru(config: &EvictionConfig) -> bool {
    *config == EvictionConfig::Lru
}

impl EvictionText {
    pub(super) const fn parsed(self) -> Evictions {
        Evictions {
            main: self.select,
            hbm: self.hbm,
            ssd: self.ssd,
        }
    }
}

impl Evictions {
    pub(super) const fn to_text(self) -> EvictionText {
        EvictionText {
            select: self.main,
            hbm: self.hbm,
            ssd: self.ssd,
        }
    }
}
