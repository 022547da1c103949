//! Cost as a polynomial: the form of the paper's estimate (FAST'25 section 6, "polynomial regression").
//!
//! For a prompt of `n` tokens whose first `p` come from a cache:
//!
//! ```text
//! prefill(n, p) = base + per_token (n - p) + per_token2 (n^2 - p^2) + [p > 0] hit_base + per_cached_token p
//! step(b, kv)   = base + per_request b + per_context_token kv
//! ```
//!
//! Coefficients are stored in fixed point, 2^-20 ns; a sum is rounded down once. The quadratic terms are computed
//! in 128 bits: at [`super::PROMPT_MAX`] tokens nothing overflows.

use super::CostModel;
use crate::steps::{FRACTION_BITS, StepRun};
use crate::units::{Nanos, Tokens};

/// Prefill coefficients in 2^-20 ns; see the module for the formula.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefillCoefficients {
    /// Every prefill.
    pub base: u64,
    /// Each token that is computed.
    pub per_token: u64,
    /// Each unit of n^2 - p^2 (attention).
    pub per_token2: u64,
    /// Every prefill that reuses anything.
    pub hit_base: u64,
    /// Each token that is reused: loading its KV into the GPU.
    pub per_cached_token: u64,
}

/// Decode-step coefficients in 2^-20 ns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeCoefficients {
    /// Every step: reading the weights.
    pub base: u64,
    /// Each request in the batch.
    pub per_request: u64,
    /// Each KV token of the whole batch.
    pub per_context_token: u64,
}

/// A polynomial cost model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Polynomial {
    /// For prefill.
    pub prefill: PrefillCoefficients,
    /// For decode.
    pub decode: DecodeCoefficients,
}

impl CostModel for Polynomial {
    fn prefill(&self, prompt: Tokens, cached: Tokens) -> Nanos {
        let c = &self.prefill;
        let (n, p) = (u128::from(prompt.0), u128::from(cached.0.min(prompt.0)));
        let mut fixed = u128::from(c.base)
            + u128::from(c.per_token) * (n - p)
            + u128::from(c.per_token2) * (n * n - p * p)
            + u128::from(c.per_cached_token) * p;
        if p > 0 {
            fixed += u128::from(c.hit_base);
        }
        Nanos(u64::try_from(fixed >> FRACTION_BITS).unwrap_or(u64::MAX))
    }

    fn decode(&self, batch: u32, context: Tokens) -> StepRun {
        let c = &self.decode;
        StepRun {
            first: c.base + c.per_request * u64::from(batch) + c.per_context_token * context.0,
            slope: c.per_context_token * u64::from(batch),
            steps: u64::MAX,
        }
    }

    fn load(&self, cached: Tokens) -> Nanos {
        let c = &self.prefill;
        if cached.is_zero() {
            return Nanos::ZERO;
        }
        let fixed = u128::from(c.hit_base) + u128::from(c.per_cached_token) * u128::from(cached.0);
        Nanos(u64::try_from(fixed >> FRACTION_BITS).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NANO: u64 = 1 << FRACTION_BITS;

    #[test]
    fn the_formula_is_the_documented_one() {
        let model = Polynomial {
            prefill: PrefillCoefficients {
                base: 7 * NANO,
                per_token: 2 * NANO,
                per_token2: NANO,
                hit_base: 5 * NANO,
                per_cached_token: 3 * NANO,
            },
            decode: DecodeCoefficients {
                base: 100 * NANO,
                per_request: 10 * NANO,
                per_context_token: NANO / 2,
            },
        };
        assert_eq!(model.prefill(Tokens(10), Tokens(0)), Nanos(7 + 20 + 100));
        assert_eq!(
            model.prefill(Tokens(10), Tokens(4)),
            Nanos(7 + 12 + (100 - 16) + 5 + 12)
        );
        let run = model.decode(4, Tokens(40));
        assert_eq!([run.at(0), run.at(1)], [Nanos(160), Nanos(162)]);
    }

    #[test]
    fn the_largest_prompt_does_not_overflow() {
        let big = 1 << 40;
        let prefill = PrefillCoefficients {
            base: big,
            per_token: big,
            per_token2: big,
            hit_base: big,
            per_cached_token: big,
        };
        let decode = DecodeCoefficients {
            base: 0,
            per_request: 0,
            per_context_token: 0,
        };
        let model = Polynomial { prefill, decode };
        assert_eq!(
            model.prefill(super::super::PROMPT_MAX, Tokens(0)),
            Nanos(u64::MAX)
        );
    }
}
