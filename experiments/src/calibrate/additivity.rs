//! Does attention over a mixed batch cost the sum of its parts?
//!
//! A coupled engine's pass is priced as its parts alone, less what they share (`[mixed] pass_s`). For all but attention
//! that is how the work is done: weights are read once, and each token adds its own arithmetic. Attention is one kernel
//! over both kinds; this compares three rules with a grid of such kernels. The one constant, `overlap` (below 0 the
//! parts hinder each other), has the least median error on the grid's powers of two and is judged on its other lengths.

use super::adapters::AttentionPoint;
use super::errors::Errors;
use serde::Serialize;
use std::collections::BTreeMap;

/// What the comparison says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Additivity {
    /// Mixed batches that have both parts alone.
    pub points: usize,
    /// prefill + decode.
    pub sum: Errors,
    /// The longer one.
    pub max: Errors,
    /// prefill + decode - overlap x the shorter one, on the part of the grid that `overlap` was not fitted on.
    pub overlapped: Errors,
    /// `sum` on the same part.
    pub sum_there: Errors,
    /// The constant.
    pub overlap: f64,
    /// Median of sum / measured - 1: below 0, a mixed batch takes longer than its parts.
    pub sum_bias: f64,
    /// `sum` where the prompt's part is most of the work: a piece of 512 tokens or more and at least as long as decode.
    pub sum_prefill_heavy: Errors,
}

/// Compares each mixed batch with its parts.
#[must_use]
pub fn additivity(points: &[AttentionPoint]) -> Additivity {
    let (mut prefill, mut decode) = (BTreeMap::new(), BTreeMap::new());
    for point in points {
        if point.batch == 0 {
            prefill.insert((point.chunk, point.chunk_cached), point.seconds);
        } else if point.chunk == 0 {
            decode.insert((point.batch, point.context), point.seconds);
        }
    }
    let mut mixed = Vec::new();
    for point in points.iter().filter(|p| p.batch > 0 && p.chunk > 0) {
        let p = prefill.get(&(point.chunk, point.chunk_cached));
        let d = decode.get(&(point.batch, point.context));
        if let (Some(&p), Some(&d)) = (p, d) {
            mixed.push((point, p, d));
        }
    }
    let errors = |chosen: &[&(&AttentionPoint, f64, f64)], rule: &dyn Fn(f64, f64) -> f64| {
        let pairs: Vec<(f64, f64)> = chosen
            .iter()
            .map(|(point, p, d)| (rule(*p, *d), point.seconds))
            .collect();
        Errors::of(&pairs)
    };
    let sum = |p: f64, d: f64| p + d;
    let all: Vec<_> = mixed.iter().collect();
    let (fit, judge): (Vec<&_>, Vec<&_>) = mixed.iter().partition(|(point, ..)| powers(point));
    // The least median error: squares would follow the few batches that the sum prices twice too high.
    let rule = |overlap: f64| move |p: f64, d: f64| p + d - overlap * p.min(d);
    let candidates = (-40..=40).map(|step| f64::from(step) * 0.05);
    let (mut overlap, mut least) = (0.0, f64::INFINITY);
    for candidate in candidates {
        let median = errors(&fit, &rule(candidate)).median;
        if median < least {
            (overlap, least) = (candidate, median);
        }
    }
    let mut signed: Vec<f64> = mixed
        .iter()
        .map(|(point, p, d)| (p + d) / point.seconds - 1.0)
        .collect();
    signed.sort_by(f64::total_cmp);
    let heavy: Vec<_> = mixed
        .iter()
        .filter(|(point, p, d)| point.chunk >= 512 && p >= d)
        .collect();
    Additivity {
        points: mixed.len(),
        sum: errors(&all, &sum),
        max: errors(&all, &f64::max),
        overlapped: errors(&judge, &rule(overlap)),
        sum_there: errors(&judge, &sum),
        overlap,
        sum_bias: signed.get(signed.len() / 2).copied().unwrap_or_default(),
        sum_prefill_heavy: errors(&heavy, &sum),
    }
}

/// True if all lengths are powers of two, or 0.
fn powers(point: &AttentionPoint) -> bool {
    [point.chunk, point.chunk_cached, point.context]
        .iter()
        .all(|length| *length == 0 || length.is_power_of_two())
}
