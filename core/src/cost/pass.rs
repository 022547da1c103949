//! What one pass of an engine costs when it computes pieces of prompts and a step of a batch together.
//!
//! Each part alone is priced by the profile's prefill and decode costs. Together they read the weights and launch the
//! kernels once: the time is the sum of the parts less the fixed part of a pass ([`CostModel::pass`]) for each part
//! beyond the first. That the rest adds up is an assumption, which the documentation of calibration compares with
//! measured mixed batches.

use super::CostModel;
use crate::units::{Nanos, Tokens};

/// A piece of a prompt: its tokens from `start` up to `end`, of which there is at least one; KV of those before is in
/// HBM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// First token to compute, from 0.
    pub start: Tokens,
    /// First token that is not computed.
    pub end: Tokens,
}

impl Piece {
    /// Time of a pass for this piece alone.
    #[must_use]
    pub fn alone(&self, cost: &dyn CostModel) -> Nanos {
        let whole = cost.prefill(self.end, self.start);
        whole.saturating_sub(cost.load(self.start))
    }
}

/// Time of a pass that computes `pieces` and one step of `batch` requests that hold `context` KV tokens together.
#[must_use]
pub fn mixed(cost: &dyn CostModel, pieces: &[Piece], batch: u32, context: Tokens) -> Nanos {
    let mut time: Nanos = pieces.iter().map(|piece| piece.alone(cost)).sum();
    let mut parts = pieces.len() as u64;
    if batch > 0 {
        time += cost.decode_step(batch, context);
        parts += 1;
    }
    time.saturating_sub(cost.pass() * parts.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Profile;

    #[test]
    fn a_mixed_pass_pays_the_fixed_part_once() {
        let profile = Profile::built_in("a800-llama3-70b").expect("built in");
        let cost = profile.cost();
        let piece = |start, end| Piece {
            start: Tokens(start),
            end: Tokens(end),
        };
        let pieces = [piece(0, 512), piece(1_024, 1_536)];
        let step = cost.decode_step(4, Tokens(4_000));
        let parts = pieces[0].alone(&*cost) + pieces[1].alone(&*cost) + step;
        assert_eq!(
            mixed(&*cost, &pieces, 4, Tokens(4_000)),
            parts - cost.pass() * 2
        );
        assert_eq!(mixed(&*cost, &[], 4, Tokens(4_000)), step);
        // The smaller of the two fixed parts: FAST'25 Fig 14's prefill fit.
        assert_eq!(cost.pass(), Nanos(18_300_000));
        // Nothing is loaded: base + token (n - p) + token2 (n^2 - p^2).
        let seconds =
            0.0183 + 0.11362e-3 * 512.0 + 0.7162e-9 * (1_536.0 * 1_536.0 - 1_024.0 * 1_024.0);
        let found = pieces[1].alone(&*cost).as_secs_f64();
        assert!((found - seconds).abs() < 1e-6, "{found} against {seconds}");
    }
}
