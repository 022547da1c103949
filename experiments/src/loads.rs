//! The loads of the two pools over time, of the runs that a plot of an experiment names: sampled, and as CSV.
//!
//! One sample every 15 s, as in Fig 9 of the paper: single samples, not means over the 15 s, so that a swing stays as
//! large as it is. Not here: drawing.

use crate::spec::{LoadsPlot, PlotKind, Spec};
use conductor_core::units::Nanos;
use conductor_sim::timeline::Timeline;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Time between samples.
const PERIOD: Nanos = Nanos::from_secs(15);

/// The loads of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadSeries {
    /// Which, by its number and repetition: the place of its report among all.
    pub run: usize,
    /// The samples, in order.
    pub samples: Vec<LoadSample>,
}

/// The pools at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadSample {
    /// Seconds since the start of the run.
    pub time_s: u64,
    /// Mean load of the prefill nodes: predicted TTFT over its limit.
    pub prefill: f64,
    /// Mean load of the decode nodes: predicted TBT over its limit.
    pub decode: f64,
}

/// Places, among all runs and their repetitions, of those whose loads are kept.
pub(crate) fn wanted(spec: &Spec) -> BTreeSet<usize> {
    let plots = spec.plots.iter().filter_map(|plot| match &plot.kind {
        PlotKind::Loads(plot) => Some(plot),
        _ => None,
    });
    let place = |plot: &LoadsPlot, run: usize| {
        let repeat = plot.seed.map_or(0, |seed| seed as usize - 1);
        run * spec.repeats() + repeat
    };
    let places = plots.flat_map(|plot| plot.panels.iter().map(move |(_, run)| place(plot, *run)));
    places.collect()
}

/// Samples a timeline.
pub(crate) fn sample(timeline: &Timeline) -> Vec<LoadSample> {
    let mut samples = Vec::new();
    let mut pools = timeline.pools.iter().peekable();
    let mut at = Nanos::ZERO;
    while pools.peek().is_some() {
        let mut found = None;
        while let Some(pool) = pools.next_if(|pool| pool.at <= at) {
            found = Some(pool).filter(|pool| pool.at + timeline.period > at);
        }
        if found.is_none() && pools.peek().is_none() {
            break; // past the end
        }
        // While nothing is in the system there are no samples: all loads are 0 then.
        samples.push(LoadSample {
            time_s: at.0 / Nanos::SECOND.0,
            prefill: found.map_or(0.0, |pool| pool.prefill_load),
            decode: found.map_or(0.0, |pool| pool.decode_load),
        });
        at += PERIOD;
    }
    samples
}

/// All series as one table; `cell` is the run's label, loads are shares of the limit.
pub(crate) fn csv<'a>(
    series: impl Iterator<Item = (String, &'a str, u64, &'a [LoadSample])>,
) -> String {
    let mut text = "cell,policy,seed,time_s,prefill_load,decode_load\n".to_string();
    for (cell, policy, seed, samples) in series {
        let (cell, policy) = (crate::results::cell(&cell), crate::results::cell(policy));
        for sample in samples {
            let LoadSample {
                time_s,
                prefill,
                decode,
            } = sample;
            writeln!(
                text,
                "{cell},{policy},{seed},{time_s},{prefill:.4},{decode:.4}"
            )
            .expect("a string takes everything");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use conductor_sim::timeline::PoolSample;

    #[test]
    fn one_sample_every_15_s_and_zero_while_idle() {
        let pool = |second: u64| PoolSample {
            at: Nanos::from_secs(second),
            prefill_load: second as f64,
            decode_load: 1.0,
            ..PoolSample::default()
        };
        let timeline = Timeline {
            pools: (0..20).chain(40..=46).map(pool).collect(),
            ..Timeline::default()
        };
        let found: Vec<_> = sample(&timeline)
            .iter()
            .map(|sample| (sample.time_s, sample.prefill as u64, sample.decode as u64))
            .collect();
        assert_eq!(found, [(0, 0, 1), (15, 15, 1), (30, 0, 0), (45, 45, 1)]);
    }

    #[test]
    fn tables_quote_what_has_commas() {
        let samples = [LoadSample {
            time_s: 15,
            prefill: 0.5,
            decode: 1.25,
        }];
        let text = csv([("split 2p1d, policy p".to_string(), "p", 3, &samples[..])].into_iter());
        assert_eq!(
            text.lines().nth(1),
            Some("\"split 2p1d, policy p\",p,3,15,0.5000,1.2500")
        );
    }
}
