//! What timings cannot say: sizes, links, host time. Each number has the reason why it is what it is.

use super::{CalibrateError, Options};
use crate::inputs;
use conductor_core::config::ProfileText;

/// Keys of a profile that can be set.
pub const SETTABLE: [&str; 11] = [
    "kv_bytes_per_token",
    "layers",
    "schedule_s",
    "cache_tokens",
    "hbm_kv_tokens",
    "prefill_chunk_tokens",
    "nic_gbytes_per_s",
    "load_gbytes_per_s",
    "activation_bytes_per_token",
    "hit_base_s",
    "cached_token_s",
];

/// A number in place of the base profile's, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Setting {
    /// One of [`SETTABLE`].
    pub key: String,
    /// In the unit of the profile's key.
    pub value: f64,
    /// Why.
    pub reason: String,
}

impl Setting {
    /// `KEY=VALUE`, or `KEY=VALUE # reason`.
    ///
    /// # Errors
    /// If it is not that, or there is no such key.
    pub fn parse(text: &str) -> Result<Self, CalibrateError> {
        let (number, reason) = text
            .split_once('#')
            .unwrap_or((text, "given on the command line"));
        let wrong = |expected: String| CalibrateError::Option {
            option: "--set".to_string(),
            expected,
            found: format!("\"{text}\""),
        };
        let form = || wrong("KEY=NUMBER, or \"KEY=NUMBER # reason\"".to_string());
        let (key, value) = number.split_once('=').ok_or_else(form)?;
        let key = key.trim();
        if !SETTABLE.contains(&key) {
            return Err(wrong(format!("one of the keys {}", SETTABLE.join(", "))));
        }
        let value = value.trim().replace('_', "").parse::<f64>();
        let value = value
            .ok()
            .filter(|value| value.is_finite())
            .ok_or_else(form)?;
        Ok(Self {
            key: key.to_string(),
            value,
            reason: reason.trim().to_string(),
        })
    }
}

/// What every computed token takes longer than the data says: a part that was not measured, as of slower links.
#[derive(Clone, Debug, PartialEq)]
pub struct Slower {
    /// Seconds a token.
    pub token_s: f64,
    /// Why.
    pub reason: String,
}

impl Slower {
    /// `SECONDS # reason`; without a reason nobody would know what the profile is.
    ///
    /// # Errors
    /// If it has another form.
    pub fn parse(text: &str) -> Result<Self, CalibrateError> {
        let wrong = || CalibrateError::Option {
            option: "--token-slower".to_string(),
            expected: "seconds from 0 to 1 and why, as in \"1e-6 # slower links\"".to_string(),
            found: format!("\"{text}\""),
        };
        let (number, reason) = text.split_once('#').ok_or_else(wrong)?;
        let token_s = number.trim().parse::<f64>().ok();
        let token_s = token_s.filter(|seconds| (0.0..=1.0).contains(seconds));
        let reason = reason.trim();
        match token_s {
            Some(token_s) if !reason.is_empty() => Ok(Self {
                token_s,
                reason: reason.to_string(),
            }),
            _ => Err(wrong()),
        }
    }
}

/// Where room for KV follows from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Memory {
    /// Of one accelerator, in 10^9 bytes.
    pub gpu_gb: f64,
    /// All weights together, in 10^9 bytes.
    pub weights_gb: f64,
}

/// The share of a GPU's memory that weights and KV may take: vLLM's `gpu_memory_utilization` by default.
const MEMORY_SHARE: f64 = 0.9;

/// One number of the profile.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Constant {
    pub(super) key: &'static str,
    pub(super) value: f64,
    pub(super) reason: String,
}

/// All of [`SETTABLE`], in its order.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Constants(pub(super) Vec<Constant>);

impl Constants {
    pub(super) fn new(options: &Options, tp: Option<u32>) -> Result<Self, CalibrateError> {
        let base = inputs::profile(&options.base)?.text;
        let mut constants: Vec<Constant> = SETTABLE
            .iter()
            .map(|&key| Constant {
                key,
                value: of_base(&base, key),
                reason: format!("as in {}", base.name),
            })
            .collect();
        for setting in &options.settings {
            let known = constants
                .iter_mut()
                .find(|constant| constant.key == setting.key);
            let Some(constant) = known else {
                return Err(CalibrateError::Option {
                    option: "--set".to_string(),
                    expected: format!("one of the keys {}", SETTABLE.join(", ")),
                    found: setting.key.clone(),
                });
            };
            (constant.value, constant.reason) = (setting.value, setting.reason.clone());
        }
        let mut constants = Self(constants);
        if let Some(memory) = options.memory {
            constants.room(memory, tp)?;
        }
        Ok(constants)
    }

    /// HBM for KV: what the GPUs have, less the weights.
    fn room(&mut self, memory: Memory, tp: Option<u32>) -> Result<(), CalibrateError> {
        let Some(tp) = tp else {
            return Err(CalibrateError::Option {
                option: "--memory-gb".to_string(),
                expected: "a number of GPUs (--tp) with it".to_string(),
                found: "none".to_string(),
            });
        };
        let Memory { gpu_gb, weights_gb } = memory;
        let kv = self.get("kv_bytes_per_token");
        let tokens = (f64::from(tp) * gpu_gb * MEMORY_SHARE - weights_gb) * 1e9 / kv;
        if tokens.is_nan() || tokens < 1.0 {
            return Err(CalibrateError::Option {
                option: "--memory-gb, --weights-gb".to_string(),
                expected: format!("room for KV: {tp} x memory x {MEMORY_SHARE} above the weights"),
                found: format!("{gpu_gb} and {weights_gb}"),
            });
        }
        let room = self
            .0
            .iter_mut()
            .find(|constant| constant.key == "hbm_kv_tokens");
        let room = room.expect("it is settable");
        // Whole thousands: the weights are not known better.
        room.value = ((tokens / 1e3) as u64).max(1) as f64 * 1e3;
        room.reason = format!(
            "{tp} x {gpu_gb} GB x {MEMORY_SHARE} (vLLM's default share) less {weights_gb} GB of weights, by {kv} bytes \
             a token"
        );
        Ok(())
    }

    pub(super) fn get(&self, key: &str) -> f64 {
        let constant = self.0.iter().find(|constant| constant.key == key);
        constant.expect("all settable keys are there").value
    }

    /// Sets what the data did say after all.
    pub(super) fn set(&mut self, key: &str, value: f64, reason: &str) {
        let constant = self.0.iter_mut().find(|constant| constant.key == key);
        let constant = constant.expect("all settable keys are there");
        (constant.value, constant.reason) = (value, reason.to_string());
    }
}

fn of_base(base: &ProfileText, key: &str) -> f64 {
    match key {
        "kv_bytes_per_token" => base.kv_bytes_per_token as f64,
        "layers" => f64::from(base.layers),
        "schedule_s" => base.schedule_s,
        "cache_tokens" => base.cache_tokens as f64,
        "hbm_kv_tokens" => base.hbm_kv_tokens as f64,
        "prefill_chunk_tokens" => base.prefill_chunk_tokens as f64,
        "nic_gbytes_per_s" => base.nic_gbytes_per_s,
        "load_gbytes_per_s" => base.load_gbytes_per_s,
        // A profile may not know it: 0 is not written.
        "activation_bytes_per_token" => base.activation_bytes_per_token.unwrap_or(0) as f64,
        "hit_base_s" => base.prefill.hit_base_s.unwrap_or_default(),
        "cached_token_s" => base.prefill.cached_token_s.unwrap_or_default(),
        _ => unreachable!("`SETTABLE` lists them"),
    }
}
