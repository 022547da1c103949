//! A row of a trace as a request with tokens: the same block id gives the same tokens, so that prompts share what the
//! trace says that they share.

use conductor_core::rng::Stream;
use conductor_core::units::Tokens;
use conductor_core::workload::WorkloadRequest;
use serde_json::json;

/// How lengths become smaller, and which tokens are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    /// Tokens of the trace for one that is sent, at least 1.
    pub divisor: u64,
    /// Tokens in a block of the trace; divided, too.
    pub block: Tokens,
    /// Tokens are drawn from `low..high`.
    pub tokens: (u32, u32),
}

impl Scale {
    /// Prompt tokens that are sent for a row.
    #[must_use]
    pub fn input(&self, request: &WorkloadRequest) -> Tokens {
        Tokens((request.input.0 / self.divisor).max(1))
    }

    /// Answer tokens that are asked for.
    #[must_use]
    pub fn output(&self, request: &WorkloadRequest) -> Tokens {
        Tokens((request.output.0 / self.divisor).max(1))
    }

    /// The prompt's tokens.
    #[must_use]
    pub fn prompt(&self, request: &WorkloadRequest) -> Vec<u32> {
        let input = self.input(request).0;
        let block = (self.block.0 / self.divisor).max(1);
        let (low, high) = self.tokens;
        let span = u64::from(high.saturating_sub(low).max(1));
        let stream = Stream::new(0, "load-tokens");
        let token = |at: u64| {
            // A trace without block ids has prompts that share nothing.
            let of_block = request.blocks.get((at / block) as usize);
            let key = of_block.map_or(request.arrival.0 ^ at << 32, |block| block.0);
            let draw = stream.draw(key.wrapping_mul(1 << 20).wrapping_add(at % block));
            low + (draw % span) as u32
        };
        (0..input).map(token).collect()
    }

    /// The body of a completions request.
    #[must_use]
    pub fn body(&self, model: &str, request: &WorkloadRequest) -> String {
        json!({
            "model": model,
            "prompt": self.prompt(request),
            "max_tokens": self.output(request).0,
            "temperature": 0,
            "ignore_eos": true,
            "stream": true,
            "stream_options": {"include_usage": true},
        })
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use conductor_core::ids::{BlockHash, ClassId};
    use conductor_core::units::Nanos;

    fn row(input: u64, blocks: &[u64]) -> WorkloadRequest {
        WorkloadRequest {
            arrival: Nanos::ZERO,
            input: Tokens(input),
            output: Tokens(40),
            blocks: blocks.iter().copied().map(BlockHash).collect(),
            class: ClassId(0),
            workflow: None,
        }
    }

    #[test]
    fn prompts_share_the_blocks_that_the_trace_says() {
        let scale = Scale {
            divisor: 16,
            block: Tokens(512),
            tokens: (1, 200),
        };
        let (a, b) = (row(1_500, &[1, 2, 3]), row(1_600, &[1, 2, 4, 5]));
        let (a, b) = (scale.prompt(&a), scale.prompt(&b));
        assert_eq!((a.len(), b.len()), (93, 100));
        assert_eq!(a[..64], b[..64]);
        assert_ne!(a[64..80], b[64..80]);
        assert!(a.iter().chain(&b).all(|token| (1..200).contains(token)));
        assert_eq!(scale.output(&row(10, &[])), Tokens(2));
        assert_eq!(scale.prompt(&row(3, &[])).len(), 1);
    }
}
