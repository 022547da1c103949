//! Small measurements that a fit is made of: shares, ranks, likeness, paces, the stamps' grid.
//!
//! Not here: which rows are measured (`fit`).

use super::lineage::Node;
use super::spec::{Kind, Pace, Surge};
use super::surge::STEPS;
use super::table::{Table, round};
use crate::compare::arrivals_per_slot;
use conductor_core::units::Nanos;
use conductor_core::workload::WorkloadRequest;

/// Classes of prompts for the pauses behind them, each with about the same number of tokens.
const PACES: u64 = 6;

pub(super) fn table(sample: Vec<f64>, points: usize, step: f64, otherwise: f64) -> Table {
    Table::fit(sample, points, step).unwrap_or_else(|| constant(otherwise))
}

pub(super) fn constant(value: f64) -> Table {
    Table::new(vec![value]).expect("one finite number is a table")
}

/// The share of rows that are continued, with `prior` observations of share `mean` added.
pub(super) fn share<'a>(nodes: impl Iterator<Item = &'a Node>, prior: f64, mean: f64) -> f64 {
    let (mut continued, mut number) = (prior * mean, prior);
    for node in nodes {
        number += 1.0;
        continued += f64::from(u8::from(node.continued));
    }
    if number > 0.0 {
        round((continued / number).min(0.99), 1e-4)
    } else {
        0.0
    }
}

/// The correlation of normal scores that gives the rank correlation of these pairs, from 0 to 0.99.
pub(super) fn likeness(pairs: &[(f64, f64)]) -> f64 {
    if pairs.len() < 20 {
        return 0.0;
    }
    let left = ranks(pairs.iter().map(|pair| pair.0));
    let right = ranks(pairs.iter().map(|pair| pair.1));
    let middle = (pairs.len() - 1) as f64 / 2.0;
    let moment = |a: &[f64], b: &[f64]| {
        a.iter()
            .zip(b)
            .map(|(a, b)| (a - middle) * (b - middle))
            .sum::<f64>()
    };
    let spread = libm::sqrt(moment(&left, &left) * moment(&right, &right));
    if spread <= 0.0 {
        return 0.0;
    }
    let spearman = moment(&left, &right) / spread;
    // For normals, Spearman's r and Pearson's are related by r_p = 2 sin(pi r_s / 6).
    round(
        (2.0 * libm::sin(std::f64::consts::PI * spearman / 6.0)).clamp(0.0, 0.99),
        1e-3,
    )
}

/// The rank of each value, from 0; ties share their mean rank.
fn ranks(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut order: Vec<(f64, usize)> = values
        .enumerate()
        .map(|(index, value)| (value, index))
        .collect();
    order.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let mut ranks = vec![0.0; order.len()];
    let mut from = 0;
    while from < order.len() {
        let ties = order[from..]
            .iter()
            .take_while(|other| other.0.total_cmp(&order[from].0).is_eq())
            .count();
        for (_, index) in &order[from..from + ties] {
            ranks[*index] = from as f64 + (ties - 1) as f64 / 2.0;
        }
        from += ties;
    }
    ranks
}

/// One pause.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gap {
    /// Length of the prompt before it, in tokens.
    pub(super) input: u64,
    /// Kind of the turn behind it.
    pub(super) kind: Kind,
    pub(super) log_seconds: f64,
    /// How much it counts.
    pub(super) weight: f64,
}

/// Pauses by length of the prompt before, in relation to those of their kind (geometric means).
pub(super) fn paces(gaps: &[Gap]) -> Vec<Pace> {
    let usual = Kind::ALL.map(|kind| {
        let of_kind = gaps.iter().filter(|gap| gap.kind == kind);
        weighted_mean(of_kind.map(|gap| (gap.log_seconds, gap.weight)))
    });
    let mut inputs: Vec<u64> = gaps.iter().map(|gap| gap.input).collect();
    inputs.sort_unstable();
    let total: u64 = inputs.iter().sum();
    let mut seen = 0;
    let mut bounds = Vec::new();
    for input in inputs {
        if seen * PACES >= total * (bounds.len() as u64 + 1) {
            bounds.push(input);
        }
        seen += input;
    }
    bounds.truncate(PACES as usize - 1);
    bounds.push(i64::MAX as u64);
    bounds.dedup();
    let mut low = 0;
    let pace = |below| {
        let within = gaps.iter().filter(|gap| (low..below).contains(&gap.input));
        let excess = weighted_mean(
            within.map(|gap| (gap.log_seconds - usual[gap.kind as usize], gap.weight)),
        );
        low = below;
        Pace {
            below,
            factor: round(libm::exp(excess), 1e-3),
        }
    };
    bounds.into_iter().map(pace).collect()
}

/// The mean of (value, weight) pairs; 0 where there are none.
fn weighted_mean(values: impl Iterator<Item = (f64, f64)>) -> f64 {
    let (sum, weight) = values.fold((0.0, 0.0), |(sum, all), (value, weight)| {
        (sum + value * weight, all + weight)
    });
    if weight > 0.0 { sum / weight } else { 0.0 }
}

/// The grid on which stamps lie, in seconds; 0 where there is none.
///
/// A grid is the distance of most neighbouring distinct stamps, give or take a millisecond.
pub(super) fn grid(rows: &[WorkloadRequest]) -> f64 {
    let mut distances: Vec<u64> = rows
        .windows(2)
        .map(|pair| (pair[1].arrival - pair[0].arrival).0)
        .filter(|distance| *distance > 0)
        .collect();
    distances.sort_unstable();
    let median = distances[distances.len() / 2];
    let near = distances
        .iter()
        .filter(|distance| distance.abs_diff(median) <= 1_500_000)
        .count();
    // A real grid has far fewer stamps than rows.
    let regular = near * 10 >= distances.len() * 9 && distances.len() * 2 <= rows.len();
    if regular {
        round(Nanos(median).as_secs_f64(), 1e-2)
    } else {
        0.0
    }
}

/// Swings of the rate that last some slots of time: the grid's, or three seconds where there is no grid.
///
/// Counts of independent arrivals do not resemble each other from slot to slot. What resemblance there is over
/// one to four slots, behind the trend of the whole trace, is a swing; `None` where chance explains it.
pub(super) fn surge(rows: &[WorkloadRequest], grid_s: f64) -> Option<Surge> {
    const LAGS: usize = 4;
    let slot_s = if grid_s > 0.0 { grid_s } else { 3.0 };
    let counts = arrivals_per_slot(rows, Nanos::from_secs_f64(slot_s)?);
    let number = counts.len() as f64;
    if counts.len() < 100 {
        return None;
    }
    let mean = counts.iter().sum::<u64>() as f64 / number;
    // A straight line through the counts.
    let middle = (number - 1.0) / 2.0;
    let places = || {
        counts
            .iter()
            .enumerate()
            .map(|(place, count)| (place as f64 - middle, *count as f64 - mean))
    };
    let slope =
        places().map(|(x, y)| x * y).sum::<f64>() / places().map(|(x, _)| x * x).sum::<f64>();
    let rest: Vec<f64> = places().map(|(x, y)| y - slope * x).collect();
    let alike = |lag: usize| {
        rest.iter()
            .zip(&rest[lag..])
            .map(|(a, b)| a * b)
            .sum::<f64>()
            / number
    };
    let reached = (1..=LAGS).map(alike).sum::<f64>() / LAGS as f64;
    let chance = alike(0) / libm::sqrt(LAGS as f64 * number);
    let per_variance = (1..=LAGS)
        .map(|lag| libm::exp(-(lag as f64) / STEPS))
        .sum::<f64>()
        / LAGS as f64;
    let deviation = libm::sqrt((reached / per_variance).max(0.0)) / mean;
    (reached > 3.0 * chance).then(|| Surge {
        deviation: round(deviation.min(0.5), 1e-3),
        persistence_s: round(slot_s * STEPS, 1e-2),
    })
}
