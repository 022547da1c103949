//! How coupled nodes batch: the settings of the engine that runs on them.
//!
//! The forms are those of vLLM 0.5.1, which the papers compare with: prompts go first and are computed whole, or in
//! chunks within a budget of tokens beside the batch. The paper does not give the engine's settings; the defaults here
//! are that version's own where it has any.

use super::profile::within;
use super::{ConfigError, Ratio};
use crate::units::Tokens;
use alloc::format;
use serde::{Deserialize, Serialize};

/// What a pass of a coupled node computes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CoupledSchedule {
    /// Whole prompts as long as any waits and fits, and the batch stands still; else a step of the batch.
    #[default]
    PrefillFirst,
    /// A step of the batch, and beside it as many tokens of prompts as the budget leaves.
    Chunked,
}

/// How coupled nodes batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CoupledConfig {
    /// What a pass computes.
    pub schedule: CoupledSchedule,
    /// Blocks of prompts stay in HBM after their request, as long as room is not needed.
    pub prefix_caching: bool,
    /// Tokens that a pass computes at most. One prompt is computed whole however long it is, if prompts are not
    /// chunked.
    pub pass_tokens: Tokens,
    /// Requests that are computed or decoded at once.
    pub batch_requests: u32,
    /// Part of HBM that is kept free when a prompt is taken in, in thousandths.
    pub watermark: Ratio,
}

/// `[coupled]`
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CoupledText {
    /// See [`CoupledConfig::schedule`].
    pub schedule: CoupledSchedule,
    /// See [`CoupledConfig::prefix_caching`].
    pub prefix_caching: bool,
    /// See [`CoupledConfig::pass_tokens`]; by default 131072 for whole prompts, 512 for chunks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pass_tokens: Option<u64>,
    /// See [`CoupledConfig::batch_requests`]; by default 256.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_requests: Option<u64>,
    /// See [`CoupledConfig::watermark`]; by default 0.01.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watermark: Option<f64>,
}

impl CoupledText {
    /// The engine that a built-in cluster's ending names: none, `pc` (prefix caching) or `cp` (chunked prefill).
    pub(super) fn built_in(ending: Option<&str>) -> Option<Self> {
        match ending {
            None => Some(Self::default()),
            Some("pc") => Some(Self {
                prefix_caching: true,
                ..Self::default()
            }),
            Some("cp") => Some(Self {
                schedule: CoupledSchedule::Chunked,
                ..Self::default()
            }),
            Some(_) => None,
        }
    }

    /// Checks the text form.
    ///
    /// # Errors
    /// Names the key.
    pub(super) fn checked(&self) -> Result<CoupledConfig, ConfigError> {
        // vLLM 0.5.1, `SchedulerConfig`: 512 tokens with chunked prefill, else the longest prompt that the model takes;
        // LLaMA3-70B as served by the paper takes 128k (FAST'25 Fig 14). 256 sequences. `BlockSpaceManager`: 0.01.
        let usual = match self.schedule {
            CoupledSchedule::PrefillFirst => 131_072,
            CoupledSchedule::Chunked => 512,
        };
        let watermark = self.watermark.unwrap_or(0.01);
        if !(0.0..=0.5).contains(&watermark) {
            return Err(ConfigError::new(
                "coupled.watermark",
                format!("expected a part from 0 to 0.5, found {watermark}"),
            ));
        }
        let pass = self.pass_tokens.unwrap_or(usual);
        let requests = self.batch_requests.unwrap_or(256);
        Ok(CoupledConfig {
            schedule: self.schedule,
            prefix_caching: self.prefix_caching,
            pass_tokens: Tokens(within("coupled.pass_tokens", pass, 1, 1 << 24)?),
            batch_requests: within("coupled.batch_requests", requests, 1, 1 << 20)? as u32,
            watermark: Ratio((watermark * 1000.0 + 0.5) as u32),
        })
    }
}
