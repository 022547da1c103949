//! A profile: one kind of node with one model on it, and what things cost there.
//!
//! Each constant of a built-in profile cites its source in the profile's own text (`core/profiles/*.toml`).

use super::{Compression, ConfigError};
use crate::cost::{CostModel, DecodeCoefficients, Grid, Polynomial, PrefillCoefficients, Table};
use crate::steps::fixed_from_nanos;
use crate::units::{Bytes, Nanos, Tokens};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// A built-in profile: its name, and the file of that name.
macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../profiles/", $name, ".toml")))),*]
    };
}

/// The built-in profiles. `llama3` without `fp8` is composed of kernels, `llama2` and `fp8` are measured; all but the
/// first are written by `conductor calibrate`, with the commands of `experiments/CALIBRATION.md`.
const BUILT_IN: [(&str, &str); 13] = built_in![
    "a800-llama3-70b",
    "a100-llama3-70b-tp4",
    "a100-llama3-70b-tp8",
    "h100-llama3-70b-tp4",
    "h100-llama3-70b-tp8",
    "h800-llama3-70b-tp8",
    "a100-llama2-70b-tp4",
    "a100-llama2-70b-tp8",
    "h100-llama2-70b-tp4",
    "h100-llama2-70b-tp8",
    "h100-llama3-70b-fp8-tp2",
    "h100-llama3-70b-fp8-tp4",
    "h100-llama3-70b-fp8-tp8",
];

/// A parsed profile.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    /// The text that it was parsed from, for journals and reports.
    pub text: ProfileText,
    /// KV bytes of one token, all layers.
    pub kv_bytes_per_token: Bytes,
    /// Layers of the model: KV is streamed layer by layer.
    pub layers: u32,
    /// From a decision to the node's having the request in its queue.
    pub schedule: Nanos,
    /// KV tokens that the node's DRAM caches.
    pub cache: Tokens,
    /// KV tokens that the node's HBM holds for decoding.
    pub hbm: Tokens,
    /// Longest piece of a prompt that is computed at once.
    pub prefill_chunk: Tokens,
    /// All NICs of the node together, one direction, bytes a second.
    pub nic_bytes_per_s: u64,
    /// DRAM to HBM, all GPUs together, bytes a second.
    pub load_bytes_per_s: u64,
    /// How KV is compressed outside HBM; `kv_bytes_per_token`, `cache` and `load_bytes_per_s` are after that.
    pub compression: Option<Compression>,
    /// What a token carries from one layer to the next, if it is known: a pipeline's nodes send it to each other.
    pub activation_bytes_per_token: Option<Bytes>,
}

/// A profile file as written.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileText {
    /// `<gpu>-<model>`.
    pub name: String,
    /// Where the numbers are from.
    pub source: String,
    /// Serving engine and version that was measured: its age shifts costs.
    pub engine: String,
    /// When it was measured.
    pub date: String,
    /// See [`Profile::kv_bytes_per_token`].
    pub kv_bytes_per_token: u64,
    /// See [`Profile::layers`].
    pub layers: u32,
    /// See [`Profile::schedule`].
    pub schedule_s: f64,
    /// See [`Profile::cache`].
    pub cache_tokens: u64,
    /// See [`Profile::hbm`].
    pub hbm_kv_tokens: u64,
    /// See [`Profile::prefill_chunk`].
    pub prefill_chunk_tokens: u64,
    /// See [`Profile::nic_bytes_per_s`]; here in 10^9.
    pub nic_gbytes_per_s: f64,
    /// See [`Profile::load_bytes_per_s`]; here in 10^9.
    pub load_gbytes_per_s: f64,
    /// See [`Profile::activation_bytes_per_token`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activation_bytes_per_token: Option<u64>,
    /// Cost of prefill.
    pub prefill: CostText,
    /// Cost of decode steps.
    pub decode: CostText,
    /// `[mixed]`: cost of passes that compute pieces of prompts and a batch together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mixed: Option<MixedText>,
}

/// `[mixed]`
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MixedText {
    /// See [`CostModel::pass`]; by default the smaller of the fixed parts of prefill and decode.
    pub pass_s: f64,
}

/// A cost as polynomial or table. Which keys belong to which is in the profile documentation.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CostText {
    /// `polynomial` or `table`.
    pub model: String,
    /// Polynomial: every prefill, or every step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_s: Option<f64>,
    /// Polynomial prefill: each token computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_s: Option<f64>,
    /// Polynomial prefill: each unit of n^2 - p^2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token2_s: Option<f64>,
    /// Prefill: every prefill that reuses blocks; of a table, the part of its rows with reuse that is this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hit_base_s: Option<f64>,
    /// Prefill: each token reused; of a table likewise. The two together are what loading takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_token_s: Option<f64>,
    /// Polynomial decode: each request in the batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_s: Option<f64>,
    /// Polynomial decode: each KV token of the batch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_token_s: Option<f64>,
    /// Table: cached tokens (prefill) or batch sizes (decode).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<Vec<u64>>,
    /// Table: tokens computed, without the cached ones (prefill), or context tokens a request (decode).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<u64>>,
    /// Table: seconds, one list a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<Vec<Vec<f64>>>,
}

/// The two halves of a cost model, which may be of different kinds.
struct Halves<P, D> {
    prefill: P,
    decode: D,
    pass: Nanos,
}

impl<P: CostModel, D: CostModel> CostModel for Halves<P, D> {
    fn prefill(&self, prompt: Tokens, cached: Tokens) -> Nanos {
        self.prefill.prefill(prompt, cached)
    }

    fn decode(&self, batch: u32, context: Tokens) -> crate::steps::StepRun {
        self.decode.decode(batch, context)
    }

    fn load(&self, cached: Tokens) -> Nanos {
        self.prefill.load(cached)
    }

    fn pass(&self) -> Nanos {
        self.pass
    }
}

impl CostModel for Box<dyn CostModel> {
    fn prefill(&self, prompt: Tokens, cached: Tokens) -> Nanos {
        (**self).prefill(prompt, cached)
    }

    fn decode(&self, batch: u32, context: Tokens) -> crate::steps::StepRun {
        (**self).decode(batch, context)
    }

    fn load(&self, cached: Tokens) -> Nanos {
        (**self).load(cached)
    }

    fn pass(&self) -> Nanos {
        (**self).pass()
    }
}

impl Profile {
    /// Names of the built-in profiles.
    pub fn built_in_names() -> impl Iterator<Item = &'static str> {
        BUILT_IN.iter().map(|(name, _)| *name)
    }

    /// A built-in profile.
    ///
    /// # Errors
    /// If there is none of that name; the message lists all.
    pub fn built_in(name: &str) -> Result<Self, ConfigError> {
        let Some((_, text)) = BUILT_IN.iter().find(|(known, _)| *known == name) else {
            let known = Self::built_in_names().collect::<Vec<_>>().join(", ");
            return Err(ConfigError::new(
                "profile",
                format_args!("unknown profile \"{name}\", expected one of: {known}"),
            ));
        };
        Self::parse(text)
    }

    /// Parses a profile file.
    ///
    /// # Errors
    /// Names line and key.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let parsed: ProfileText =
            toml::from_str(text).map_err(|error| ConfigError::from_toml(text, &error))?;
        Self::from_text(parsed).map_err(|error| error.located(text))
    }

    /// Checks the text form.
    ///
    /// # Errors
    /// Names the key.
    pub fn from_text(text: ProfileText) -> Result<Self, ConfigError> {
        checked_name("name", &text.name)?;
        let schedule = Nanos::from_secs_f64(text.schedule_s).filter(|_| text.schedule_s <= 3600.0);
        if let Some(MixedText { pass_s }) = text.mixed
            && !(0.0..=3600.0).contains(&pass_s)
        {
            return Err(seconds_expected("mixed.pass_s", pass_s));
        }
        let profile = Self {
            kv_bytes_per_token: Bytes(within(
                "kv_bytes_per_token",
                text.kv_bytes_per_token,
                1,
                1 << 30,
            )?),
            layers: within("layers", u64::from(text.layers), 1, 10_000)? as u32,
            schedule: schedule.ok_or_else(|| seconds_expected("schedule_s", text.schedule_s))?,
            cache: Tokens(within("cache_tokens", text.cache_tokens, 0, 1 << 40)?),
            hbm: Tokens(within("hbm_kv_tokens", text.hbm_kv_tokens, 1, 1 << 40)?),
            prefill_chunk: Tokens(within(
                "prefill_chunk_tokens",
                text.prefill_chunk_tokens,
                1,
                1 << 24,
            )?),
            nic_bytes_per_s: bandwidth("nic_gbytes_per_s", text.nic_gbytes_per_s)?,
            load_bytes_per_s: bandwidth("load_gbytes_per_s", text.load_gbytes_per_s)?,
            compression: None,
            activation_bytes_per_token: text
                .activation_bytes_per_token
                .map(|bytes| within("activation_bytes_per_token", bytes, 1, 1 << 30))
                .transpose()?
                .map(Bytes),
            text,
        };
        profile.cost_checked()?;
        Ok(profile)
    }

    /// The profile's cost model.
    #[must_use]
    pub fn cost(&self) -> Box<dyn CostModel> {
        let cost = self
            .cost_checked()
            .expect("parsing has built this model before");
        match self.compression {
            Some(compression) => compression.priced(self, cost),
            None => cost,
        }
    }

    fn cost_checked(&self) -> Result<Box<dyn CostModel>, ConfigError> {
        let none = Grid::new(Vec::from([0]), Vec::from([0, 1]), Vec::from([0, 0]))
            .expect("two zeros do not fall");
        let no_decode = DecodeCoefficients {
            base: 0,
            per_request: 0,
            per_context_token: 0,
        };
        let no_prefill = PrefillCoefficients {
            base: 0,
            per_token: 0,
            per_token2: 0,
            hit_base: 0,
            per_cached_token: 0,
        };
        let (p, d) = (&self.text.prefill, &self.text.decode);
        let prefill: Box<dyn CostModel> = if p.is_polynomial("prefill")? {
            p.refuse(
                "prefill",
                &[
                    ("request_s", p.request_s),
                    ("context_token_s", p.context_token_s),
                ],
            )?;
            let prefill = PrefillCoefficients {
                base: coefficient("prefill.base_s", p.base_s)?,
                per_token: coefficient("prefill.token_s", p.token_s)?,
                per_token2: coefficient("prefill.token2_s", p.token2_s)?,
                hit_base: coefficient("prefill.hit_base_s", p.hit_base_s)?,
                per_cached_token: coefficient("prefill.cached_token_s", p.cached_token_s)?,
            };
            Box::new(Polynomial {
                prefill,
                decode: no_decode,
            })
        } else {
            Box::new(Table {
                prefill: p.grid("prefill")?,
                decode: none.clone(),
                hit_base: coefficient("prefill.hit_base_s", p.hit_base_s.or(Some(0.0)))?,
                per_cached_token: coefficient(
                    "prefill.cached_token_s",
                    p.cached_token_s.or(Some(0.0)),
                )?,
            })
        };
        let decode: Box<dyn CostModel> = if d.is_polynomial("decode")? {
            let foreign = [
                ("token_s", d.token_s),
                ("token2_s", d.token2_s),
                ("hit_base_s", d.hit_base_s),
                ("cached_token_s", d.cached_token_s),
            ];
            d.refuse("decode", &foreign)?;
            let decode = DecodeCoefficients {
                base: coefficient("decode.base_s", d.base_s)?,
                per_request: coefficient("decode.request_s", d.request_s)?,
                per_context_token: coefficient("decode.context_token_s", d.context_token_s)?,
            };
            if decode.base == 0 {
                return Err(ConfigError::new(
                    "decode.base_s",
                    "expected more than 0: a step takes time",
                ));
            }
            Box::new(Polynomial {
                prefill: no_prefill,
                decode,
            })
        } else {
            Box::new(Table {
                prefill: none,
                decode: d.grid("decode")?,
                hit_base: 0,
                per_cached_token: 0,
            })
        };
        let pass = match self.text.mixed {
            Some(MixedText { pass_s }) => Nanos::from_secs_f64(pass_s)
                .filter(|_| pass_s <= 3600.0)
                .ok_or_else(|| seconds_expected("mixed.pass_s", pass_s))?,
            // The smaller of what a prefill of no token and a step of one request without context take.
            None => {
                let none = Tokens::ZERO;
                prefill.prefill(none, none).min(decode.decode_step(1, none))
            }
        };
        Ok(Box::new(Halves {
            prefill,
            decode,
            pass,
        }))
    }
}

impl CostText {
    fn is_polynomial(&self, section: &str) -> Result<bool, ConfigError> {
        match self.model.as_str() {
            "polynomial"
                if self.rows.is_none() && self.columns.is_none() && self.seconds.is_none() =>
            {
                Ok(true)
            }
            "polynomial" => Err(ConfigError::new(
                &format!("{section}.model"),
                "a polynomial has no `rows`, `columns` or `seconds`: expected \"table\"",
            )),
            "table" => {
                let of_polynomials = [self.base_s, self.token_s, self.token2_s];
                let of_decode = [self.request_s, self.context_token_s];
                let mut foreign = of_polynomials.iter().chain(&of_decode);
                if foreign.any(Option::is_some) {
                    let message =
                        "a table has `rows`, `columns` and `seconds`: expected \"polynomial\"";
                    return Err(ConfigError::new(&format!("{section}.model"), message));
                }
                if section == "decode" {
                    let of_prefill = [
                        ("hit_base_s", self.hit_base_s),
                        ("cached_token_s", self.cached_token_s),
                    ];
                    self.refuse(section, &of_prefill)?;
                }
                Ok(false)
            }
            other => Err(ConfigError::new(
                &format!("{section}.model"),
                format_args!("unknown model \"{other}\", expected \"polynomial\" or \"table\""),
            )),
        }
    }

    /// Refuses coefficients of the other section.
    fn refuse(&self, section: &str, foreign: &[(&str, Option<f64>)]) -> Result<(), ConfigError> {
        match foreign.iter().find(|(_, value)| value.is_some()) {
            None => Ok(()),
            Some((key, _)) => Err(ConfigError::new(
                &format!("{section}.{key}"),
                format_args!("has no meaning in [{section}]"),
            )),
        }
    }

    fn grid(&self, section: &str) -> Result<Grid, ConfigError> {
        let key = |leaf: &str| format!("{section}.{leaf}");
        let missing = |leaf: &str| ConfigError::new(&key(leaf), "a table needs it");
        let rows = self.rows.clone().ok_or_else(|| missing("rows"))?;
        let columns = self.columns.clone().ok_or_else(|| missing("columns"))?;
        let seconds = self.seconds.as_ref().ok_or_else(|| missing("seconds"))?;
        if seconds.len() != rows.len() || seconds.iter().any(|row| row.len() != columns.len()) {
            let message = format!("expected {} lists of {} numbers", rows.len(), columns.len());
            return Err(ConfigError::new(&key("seconds"), message));
        }
        if section == "decode" && rows.first() == Some(&0) {
            return Err(ConfigError::new(
                "decode.rows",
                "a batch has at least 1 request",
            ));
        }
        let values: Option<Vec<u64>> = seconds
            .iter()
            .flatten()
            .map(|&s| fixed_from_nanos(s * 1e9))
            .collect();
        let values = values
            .ok_or_else(|| ConfigError::new(&key("seconds"), "expected numbers from 0 to 4000"))?;
        if section == "decode" && values.contains(&0) {
            return Err(ConfigError::new(
                "decode.seconds",
                "expected more than 0: a step takes time",
            ));
        }
        Grid::new(rows, columns, values).map_err(|error| match error {
            crate::cost::GridError::Shape => {
                ConfigError::new(&key("columns"), "expected at least 1 row, 2 columns")
            }
            crate::cost::GridError::Axis => {
                ConfigError::new(&key("rows"), "rows and columns must ascend strictly")
            }
            crate::cost::GridError::Falls { row, column } => ConfigError::new(
                &key("seconds"),
                format_args!(
                    "falls at row {row}, column {column} (from 0): cost must not fall along an axis"
                ),
            ),
        })
    }
}

fn coefficient(key: &str, seconds: Option<f64>) -> Result<u64, ConfigError> {
    let seconds = seconds.ok_or_else(|| ConfigError::new(key, "a polynomial needs it"))?;
    fixed_from_nanos(seconds * 1e9).ok_or_else(|| seconds_expected(key, seconds))
}

fn seconds_expected(key: &str, found: f64) -> ConfigError {
    ConfigError::new(
        key,
        format_args!("expected seconds from 0 to 3600, found {found}"),
    )
}

pub(super) fn bandwidth(key: &str, gbytes: f64) -> Result<u64, ConfigError> {
    if !(0.001..=1e6).contains(&gbytes) {
        let message = format!("expected gigabytes a second from 0.001 to 1000000, found {gbytes}");
        return Err(ConfigError::new(key, message));
    }
    Ok((gbytes * 1e9 + 0.5) as u64)
}

/// A name that is safe in file names, tables and terminals.
pub(super) fn checked_name(key: &str, name: &str) -> Result<(), ConfigError> {
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_+.".contains(c);
    if (1..=64).contains(&name.len()) && name.chars().all(safe) && !name.starts_with('.') {
        return Ok(());
    }
    let expected =
        "expected 1 to 64 letters, digits, \"-\", \"_\", \"+\" or \".\", not beginning with \".\"";
    Err(ConfigError::new(key, format!("{expected}, found {name:?}")))
}

/// A whole number within bounds.
pub(super) fn within(key: &str, found: u64, least: u64, most: u64) -> Result<u64, ConfigError> {
    if (least..=most).contains(&found) {
        return Ok(found);
    }
    Err(ConfigError::new(
        key,
        format_args!("expected a whole number from {least} to {most}, found {found}").to_string(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_profile_prices_the_ten_points_of_fig_14() {
        // FAST'25 Fig 14, prefill seconds at 0 % and 95 % cached, decoded from the PDF.
        let published = [
            (8_192, 1.002, 0.135),
            (16_384, 2.055, 0.226),
            (32_768, 4.478, 0.407),
            (65_536, 10.587, 0.881),
            (131_072, 27.514, 2.329),
        ];
        let cost = Profile::built_in("a800-llama3-70b")
            .expect("built in")
            .cost();
        for (prompt, cold, warm) in published {
            for (cached, seconds) in [(0, cold), (prompt * 95 / 100, warm)] {
                let simulated = cost.prefill(Tokens(prompt), Tokens(cached)).as_secs_f64();
                let error = simulated / seconds - 1.0;
                assert!(
                    error.abs() <= 0.05,
                    "{prompt} tokens, {cached} cached: {simulated} against {seconds}"
                );
            }
        }
    }

    #[test]
    fn every_built_in_profile_is_valid_and_has_its_own_name() {
        for name in Profile::built_in_names() {
            let profile = Profile::built_in(name).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(profile.text.name, name);
            // A cached prefix is worth having on all of them, and a longer prompt never costs less.
            let cost = profile.cost();
            let prefill = |n, p| cost.prefill(Tokens(n), Tokens(p));
            assert!(prefill(8_192, 7_168) < prefill(8_192, 0), "{name}");
            assert!(prefill(8_192, 4_096) < prefill(9_000, 4_096), "{name}");
        }
    }

    #[test]
    fn errors_name_line_and_key() {
        let good = BUILT_IN[0].1;
        for (from, to, expected) in [
            (
                "layers = 80",
                "layers = 0",
                "`layers`: expected a whole number from 1 to 10000, found 0",
            ),
            (
                "schedule_s = 0.0547",
                "schedule_s = -1.0",
                "`schedule_s`: expected seconds from 0 to 3600, found -1",
            ),
            (
                "request_s = 0.211e-3",
                "token_s = 1.0",
                "`decode.token_s`: has no meaning in [decode]",
            ),
            (
                "request_s = 0.211e-3",
                "",
                "`decode.request_s`: a polynomial needs it",
            ),
            (
                "model = \"polynomial\"",
                "model = \"spline\"",
                "`prefill.model`: unknown model \"spline\"",
            ),
        ] {
            let error = Profile::parse(&good.replacen(from, to, 1))
                .expect_err(to)
                .to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
