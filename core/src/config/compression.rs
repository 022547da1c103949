//! Compression of KV outside HBM: a factor, and what it costs.
//!
//! KV that is stored or sent is smaller by the factor. A prefill node compresses what it computes and decompresses what
//! it
//! reuses, and both add to the prefill; a decode node decompresses while it loads, which bounds how fast it loads.
//! Sizes
//! and bandwidths of a compressed [`Profile`] are those of compressed KV.

use super::profile::bandwidth;
use super::{ConfigError, KvText, Profile};
use crate::cost::{CostModel, Factor};
use crate::steps::{FRACTION_BITS, StepRun};
use crate::units::{Bytes, Nanos, Tokens};
use alloc::boxed::Box;
use alloc::format;

/// How KV is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compression {
    factor: Factor,
    compress_bytes_per_s: u64,
    decompress_bytes_per_s: u64,
}

impl Compression {
    pub(super) fn parse(text: &KvText) -> Result<Self, ConfigError> {
        let factor = Factor::from_f64(text.compression).filter(|&factor| factor >= Factor::ONE);
        let factor = factor.ok_or_else(|| {
            let found = text.compression;
            ConfigError::new(
                "kv.compression",
                format!("expected a factor from 1 to 1024, found {found}"),
            )
        })?;
        Ok(Self {
            factor,
            compress_bytes_per_s: bandwidth(
                "kv.compress_gbytes_per_s",
                text.compress_gbytes_per_s,
            )?,
            decompress_bytes_per_s: bandwidth(
                "kv.decompress_gbytes_per_s",
                text.decompress_gbytes_per_s,
            )?,
        })
    }

    /// The tokens that fit where `tokens` fit uncompressed.
    pub(super) const fn times(self, tokens: u64) -> u64 {
        self.factor.of(tokens)
    }

    /// A size or bandwidth of uncompressed KV in compressed bytes.
    const fn shrunk(self, bytes: u64) -> u64 {
        let one = Factor::ONE.of(1 << 20);
        (bytes as u128 * one as u128 / self.factor.of(1 << 20) as u128) as u64
    }

    /// The profile's cost, with compressing and decompressing.
    pub(super) fn priced(self, profile: &Profile, cost: Box<dyn CostModel>) -> Box<dyn CostModel> {
        let bytes = u128::from(profile.text.kv_bytes_per_token);
        let fixed =
            |bandwidth: u64| ((bytes * 1_000_000_000) << FRACTION_BITS) / u128::from(bandwidth);
        Box::new(Compressed {
            inner: cost,
            compress: fixed(self.compress_bytes_per_s),
            decompress: fixed(self.decompress_bytes_per_s),
        })
    }
}

impl Profile {
    /// This profile with KV that is compressed outside HBM.
    #[must_use]
    pub(super) fn compressed(self, compression: Compression) -> Self {
        let load = self
            .load_bytes_per_s
            .min(compression.shrunk(compression.decompress_bytes_per_s));
        Self {
            kv_bytes_per_token: Bytes(compression.shrunk(self.kv_bytes_per_token.0).max(1)),
            cache: Tokens(compression.times(self.cache.0)),
            load_bytes_per_s: load.max(1),
            compression: Some(compression),
            ..self
        }
    }
}

/// A cost model with the time of compression; rates are 2^-20 ns a token.
struct Compressed {
    inner: Box<dyn CostModel>,
    compress: u128,
    decompress: u128,
}

impl Compressed {
    fn time(rate: u128, tokens: Tokens) -> Nanos {
        Nanos(((rate * u128::from(tokens.0)) >> FRACTION_BITS) as u64)
    }
}

impl CostModel for Compressed {
    fn prefill(&self, prompt: Tokens, cached: Tokens) -> Nanos {
        let new = prompt.saturating_sub(cached);
        self.inner.prefill(prompt, cached)
            + Self::time(self.compress, new)
            + Self::time(self.decompress, cached)
    }

    fn decode(&self, batch: u32, context: Tokens) -> StepRun {
        self.inner.decode(batch, context)
    }

    fn load(&self, cached: Tokens) -> Nanos {
        self.inner.load(cached) + Self::time(self.decompress, cached)
    }

    fn pass(&self) -> Nanos {
        self.inner.pass()
    }
}

#[cfg(test)]
mod tests {
    use crate::config::ClusterConfig;
    use crate::ids::NodeId;
    use crate::units::{Bytes, Tokens};

    #[test]
    fn half_the_size_is_half_the_bytes_and_twice_the_cache_at_a_price() {
        let plain = ClusterConfig::built_in("1p1d").expect("built in");
        let mut text = plain.to_toml();
        text += "[kv]\ncompression = 2.0\ncompress_gbytes_per_s = 327.68\ndecompress_gbytes_per_s = 163.84\n";
        let small = ClusterConfig::parse(&text, &[]).expect("valid");
        let (before, after) = (&plain.profiles[0], &small.profiles[0]);
        assert_eq!(
            after.kv_bytes_per_token,
            Bytes(before.kv_bytes_per_token.0 / 2)
        );
        assert_eq!(small.nodes[0].cache_blocks, 11_718, "6,000,000 / 512");
        assert_eq!(small.nodes[1].hbm_blocks, plain.nodes[1].hbm_blocks);
        assert_eq!(after.load_bytes_per_s, 81_920_000_000);
        // 327,680 bytes a token: 1 us to compress one, 2 us to decompress one.
        let node = NodeId(0);
        let (plain, small) = (plain.truth(), small.truth());
        let (prompt, cached) = (Tokens(9_000), Tokens(1_000));
        let more = small.prefill(node, prompt, cached) - plain.prefill(node, prompt, cached);
        assert_eq!(more.0 / 1_000, 8_000 + 2_000);
    }
}
