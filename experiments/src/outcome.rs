//! What is kept of a run, whoever asked for it: enough for every table and every plot of every experiment.
//!
//! Which distributions and loads are drawn depends on the experiment, so all are kept: a run is the same to all who
//! ask for it. Numbers survive being written and read to the last bit.

use crate::distributions;
use crate::execute::Done;
use crate::loads::{self, LoadSample};
use crate::pool::PoolCounts;
use crate::spec::Distribution;
use conductor_sim::RunReport;
use conductor_sim::replicas::{ReplicaSample, Replicas};
use serde::{Deserialize, Serialize};

/// What came out of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// Of a simulation.
    Simulated(Box<Simulated>),
    /// Of a run of kind `pool`.
    Pool(PoolCounts),
}

/// What came out of a simulation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Simulated {
    /// Its report, with what it cost whoever ran it.
    pub(crate) report: RunReport,
    /// Loads of the two pools over time.
    pub(crate) loads: Vec<LoadSample>,
    /// Quantiles over requests, in the order of [`Distribution::ALL`].
    distributions: Vec<Vec<f64>>,
    /// Copies of watched blocks over time.
    pub(crate) replicas: Option<Vec<ReplicaSample>>,
}

impl Simulated {
    /// Of a run that is done.
    pub(crate) fn of(mut done: Done, replicas: Option<Replicas>) -> Self {
        if let Some(replicas) = &replicas {
            done.report.replicas = replicas.reports();
        }
        let records = &done.result.records;
        let quantiles = |of| distributions::quantiles(of, records);
        Self {
            loads: loads::sample(&done.result.timeline),
            distributions: Distribution::ALL.map(quantiles).into(),
            replicas: replicas.map(|replicas| replicas.samples),
            report: done.report,
        }
    }

    /// Names of what a box plot has of a distribution, beside the median.
    pub(crate) const QUARTILES: [&str; 3] = ["q1", "q3", "whisker"];

    /// The quartiles of all distributions as metrics: to a quarter of a percent of requests, as they are kept. The
    /// upper whisker is one and a half times the box beyond it, or the largest value if that is less. Not numbers
    /// where there are no requests, or so many that their records were not kept.
    pub(crate) fn quartiles(&self) -> Vec<(String, f64)> {
        let mut numbers = Vec::new();
        for of in Distribution::ALL {
            let values = self.distribution(of);
            let at = |quarter: usize| values.get(values.len() * quarter / 4).copied();
            let (q1, q3) = (at(1).unwrap_or(f64::NAN), at(3).unwrap_or(f64::NAN));
            let most = match of {
                Distribution::Ttft => self.report.ttft_s.max,
                Distribution::Tbt => self.report.tbt_s.max,
                Distribution::Tpot => self.report.tpot_s.max,
                Distribution::E2e => self.report.e2e_s.max,
            };
            let reach = q3 + 1.5 * (q3 - q1);
            let whisker = if reach > most { most } else { reach };
            let named = Self::QUARTILES.iter().zip([q1, q3, whisker]);
            numbers.extend(named.map(|(name, value)| (format!("{}.{name}", of.name()), value)));
        }
        numbers
    }

    /// Quantiles of a distribution.
    pub(crate) fn distribution(&self, of: Distribution) -> &[f64] {
        let place = Distribution::ALL.iter().position(|known| *known == of);
        let found = place.and_then(|place| self.distributions.get(place));
        found.map_or(&[], Vec::as_slice)
    }
}
