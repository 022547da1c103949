//! Distributions over requests, of the runs that a plot of an experiment names: quantiles, and as CSV.
//!
//! Not here: summaries, which every report has, and drawing.

use crate::spec::{Distribution, Spec};
use conductor_core::units::Nanos;

use conductor_sim::record::{Outcome, RequestRecord};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Quantiles of a distribution, each for an equal part of the requests: half a percent, by its middle.
const PARTS: usize = 200;

/// Quantiles of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Quantiles {
    /// Which, by its number and repetition: the place of its report among all.
    pub run: usize,
    /// Of what.
    pub of: Distribution,
    /// At 0.25 %, 0.75 %, ... of requests, in seconds; empty if there are none.
    pub values: Vec<f64>,
}

/// Places, among all runs and their repetitions, of those whose distributions are kept, with what of.
pub(crate) fn wanted(spec: &Spec) -> BTreeSet<(usize, Distribution)> {
    let mut wanted = BTreeSet::new();
    for plot in &spec.plots {
        if let Some((of, series)) = plot.distributions() {
            for (_, run) in series {
                let repeats = 0..spec.repeats();
                wanted.extend(repeats.map(|repeat| (run * spec.repeats() + repeat, of)));
            }
        }
    }
    wanted
}

/// Quantiles over the requests that a report summarises under the same name.
pub(crate) fn quantiles(of: Distribution, records: &[RequestRecord]) -> Vec<f64> {
    let completed = |record: &&RequestRecord| record.outcome == Outcome::Completed;
    let mut values: Vec<Nanos> = match of {
        Distribution::Ttft => records.iter().filter_map(|record| record.ttft).collect(),
        Distribution::Tbt => {
            let completed = records.iter().filter(completed);
            completed.filter_map(|record| record.tbt).collect()
        }
        Distribution::Tpot => {
            let completed = records.iter().filter(completed);
            completed.filter_map(RequestRecord::tpot).collect()
        }
        Distribution::E2e => {
            let completed = records.iter().filter(completed);
            completed.filter_map(RequestRecord::e2e).collect()
        }
    };
    values.sort_unstable();
    let parts = if values.is_empty() { 0 } else { PARTS };
    // Nearest rank of the middle of each part.
    let at = |part: usize| values[(values.len() * (2 * part + 1)) / (2 * PARTS)].as_secs_f64();
    (0..parts).map(at).collect()
}

/// All quantiles as one table; `cell` is the run's label.
pub(crate) fn csv<'a>(all: impl Iterator<Item = (String, u64, &'a Quantiles)>) -> String {
    let mut text = "cell,seed,of,share,value\n".to_string();
    for (cell, seed, quantiles) in all {
        let (cell, of) = (crate::results::cell(&cell), quantiles.of.name());
        for (part, value) in quantiles.values.iter().enumerate() {
            let share = (part as f64 + 0.5) / PARTS as f64;
            writeln!(text, "{cell},{seed},{of},{share:.4},{value:.6}")
                .expect("a string takes everything");
        }
    }
    text
}
