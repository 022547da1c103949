//! What each tier of the cache gave, and what that took.

use conductor_core::cache::Tier;
use conductor_core::units::Nanos;
use serde::{Deserialize, Serialize};

/// Of all prefills together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TierTotals {
    /// Blocks of prompts that were computed or reused.
    pub blocks: u64,
    /// Reused blocks, by [`Tier`].
    pub hits: [u64; Tier::ALL.len()],
    /// By [`Tier`]: of DRAM, the time that loading into HBM adds to prefills, whatever tier the KV came from; of the
    /// SSD,
    /// the time of reads; of other nodes, the time of copies. HBM takes none.
    pub time: [Nanos; Tier::ALL.len()],
}

impl TierTotals {
    /// Counts the hits of one prefill of `blocks` blocks.
    pub(crate) fn count(&mut self, blocks: u64, hits: [u32; Tier::ALL.len()]) {
        self.blocks += blocks;
        for (total, hits) in self.hits.iter_mut().zip(hits) {
            *total += u64::from(hits);
        }
    }

    /// Counts time that a tier took.
    pub(crate) fn took(&mut self, tier: Tier, time: Nanos) {
        self.time[tier as usize] += time;
    }
}

/// What one tier gave.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TierReport {
    /// Share of the blocks of all prompts that were reused from there.
    pub hit_ratio_blocks: f64,
    /// Time that it took, in all; see [`TierTotals::time`].
    pub seconds: f64,
}

/// The tiers of prefill nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TiersReport {
    /// HBM of the node.
    pub hbm: TierReport,
    /// Its DRAM.
    pub dram: TierReport,
    /// Its SSD.
    pub ssd: TierReport,
    /// Another node.
    pub remote: TierReport,
}

impl TiersReport {
    pub(crate) fn of(totals: &TierTotals) -> Self {
        let tier = |tier: Tier| TierReport {
            hit_ratio_blocks: totals.hits[tier as usize] as f64 / totals.blocks.max(1) as f64,
            seconds: totals.time[tier as usize].as_secs_f64(),
        };
        Self {
            hbm: tier(Tier::Hbm),
            dram: tier(Tier::Dram),
            ssd: tier(Tier::Ssd),
            remote: tier(Tier::Remote),
        }
    }
}
