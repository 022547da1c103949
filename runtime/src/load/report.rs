//! What a load run says: the fields of `conductor replay --json` that a client can know.

use super::{LoadOptions, Sample, SampleOutcome};
use conductor_core::units::Nanos;
use serde::Serialize;

/// Mean and nearest-rank percentiles, in seconds. All zero if there is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Summary {
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Largest.
    pub max: f64,
}

impl Summary {
    /// Of durations, in any order.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = Nanos>) -> Self {
        let mut values: Vec<Nanos> = values.into_iter().collect();
        values.sort_unstable();
        let Some(&max) = values.last() else {
            return Self::default();
        };
        let count = values.len();
        let rank = |percent: usize| values[(count * percent).div_ceil(100).max(1) - 1];
        let sum: f64 = values.iter().map(|value| value.as_secs_f64()).sum();
        Self {
            mean: sum / count as f64,
            p50: rank(50).as_secs_f64(),
            p90: rank(90).as_secs_f64(),
            p95: rank(95).as_secs_f64(),
            p99: rank(99).as_secs_f64(),
            max: max.as_secs_f64(),
        }
    }
}

/// Limits that were used.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Slo {
    /// Of the time to first token.
    pub ttft_s: f64,
    /// Of the time between tokens.
    pub tbt_s: f64,
}

/// See the module; names as in the lab's JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LoadReport {
    /// Version of the form.
    pub schema: u32,
    /// What was replayed.
    pub trace: String,
    /// How many times faster than its stamps.
    pub speed: f64,
    /// Requests that were sent.
    pub requests: u64,
    /// With a complete answer.
    pub completed: u64,
    /// Turned away.
    pub rejected: u64,
    /// Neither.
    pub failed: u64,
    /// Why the first that failed did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_failure: Option<String>,
    /// Time to first token, from when the request was due.
    pub ttft_s: Summary,
    /// Mean of the longest 10 % of a request's token gaps.
    pub tbt_s: Summary,
    /// Mean gap of a request.
    pub tpot_s: Summary,
    /// To the last token.
    pub e2e_s: Summary,
    /// From sending to being turned away.
    pub rejected_after_s: Summary,
    /// How much later than due requests were sent.
    pub late_s: Summary,
    /// Share of all requests that met both limits.
    pub effective_ratio: f64,
    /// Share of the answered requests that met both limits.
    pub accepted_within_slo: f64,
    /// The limits.
    pub slo: Slo,
    /// Requests within the limits, a second.
    pub goodput_rps: f64,
    /// Their tokens, a second.
    pub goodput_tokens_per_s: f64,
    /// Share of the prompts' tokens that were cached, as the server says.
    pub hit_ratio_tokens: f64,
    /// Prompt tokens of answered requests.
    pub input_tokens: u64,
    /// Answer tokens.
    pub output_tokens: u64,
    /// From the start to the last end.
    pub wall_s: f64,
}

impl LoadReport {
    /// Of all that was sent, in `wall_s` seconds.
    #[must_use]
    pub fn new(trace: &str, samples: &[Sample], options: &LoadOptions, wall_s: f64) -> Self {
        let (mut ttfts, mut tbts, mut tpots, mut e2es) = (vec![], vec![], vec![], vec![]);
        let (mut within, mut within_tokens, mut rejected_after) = (0_u64, 0, vec![]);
        let (mut inputs, mut outputs, mut cached_all) = (0, 0, 0);
        let (mut failed, mut first_failure) = (0, None);
        for sample in samples {
            match &sample.outcome {
                SampleOutcome::Completed {
                    output,
                    cached,
                    ttft,
                    tbt,
                    tpot,
                    e2e,
                } => {
                    ttfts.push(*ttft);
                    tbts.extend(*tbt);
                    tpots.extend(*tpot);
                    e2es.push(*e2e);
                    inputs += sample.input.0;
                    outputs += output.0;
                    cached_all += cached.0;
                    let fluent = tbt.is_none_or(|tbt| tbt <= options.slo_tbt);
                    if *ttft <= options.slo_ttft && fluent {
                        within += 1;
                        within_tokens += output.0;
                    }
                }
                SampleOutcome::Rejected { after } => rejected_after.push(*after),
                SampleOutcome::Failed { why } => {
                    failed += 1;
                    first_failure.get_or_insert_with(|| why.clone());
                }
            }
        }
        let ratio = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
        let rate = |count: u64| count as f64 / wall_s.max(f64::MIN_POSITIVE);
        Self {
            schema: 1,
            trace: trace.to_string(),
            speed: options.speed,
            requests: samples.len() as u64,
            completed: ttfts.len() as u64,
            rejected: rejected_after.len() as u64,
            failed,
            first_failure,
            effective_ratio: ratio(within, samples.len() as u64),
            accepted_within_slo: ratio(within, ttfts.len() as u64),
            ttft_s: Summary::of(ttfts),
            tbt_s: Summary::of(tbts),
            tpot_s: Summary::of(tpots),
            e2e_s: Summary::of(e2es),
            rejected_after_s: Summary::of(rejected_after),
            late_s: Summary::of(samples.iter().map(|sample| sample.late)),
            slo: Slo {
                ttft_s: options.slo_ttft.as_secs_f64(),
                tbt_s: options.slo_tbt.as_secs_f64(),
            },
            goodput_rps: rate(within),
            goodput_tokens_per_s: rate(within_tokens),
            hit_ratio_tokens: ratio(cached_all, inputs),
            input_tokens: inputs,
            output_tokens: outputs,
            wall_s,
        }
    }
}
