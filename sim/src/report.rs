//! The report of one run: the JSON of the command line, and the CSV files of `--out`.

mod classes;
mod files;
mod overload;
mod tally;
mod within;

pub use classes::ClassReport;
pub use files::{write_requests, write_roles, write_timeline};
pub use overload::{LoadCorrelation, correlation};
pub use tally::Tally;
pub use within::TbtWithin;

use crate::clients::RetryText;
use crate::faults::FaultCounts;
use crate::parts::PartsReport;
use crate::record::RequestRecord;
use crate::replicas::ReplicaReport;
use crate::run::{RunConfig, RunResult, Transfers};
use crate::stats::{Spread, Summary};
use crate::tiers::TiersReport;
use classes::Beginnings;
use conductor_core::config::{PolicyConfig, Role, Slo};
use conductor_core::units::Nanos;
use serde::{Deserialize, Serialize};
use std::num::NonZeroU32;

/// Version of the report's form.
const SCHEMA: u32 = 1;

/// What a run says of itself. Field names and meanings are fixed for scripts; seconds unless named otherwise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunReport {
    /// Version of this form.
    pub schema: u32,
    /// Name of the trace or workload.
    pub trace: String,
    /// Name of the cluster.
    pub cluster: String,
    /// Name of the policy.
    pub policy: String,
    /// True if admission was told true answer lengths, which no real system knows: a bound, not a policy.
    pub oracle: bool,
    /// Seed.
    pub seed: u64,
    /// How many times faster than its stamps the trace was replayed; clients' waits are as long as ever.
    pub speed: f64,
    /// How clients that were turned away tried again; `tries` is 0 if they did not.
    pub retry: RetryText,
    /// How many clients a closed loop had; absent if requests arrived when the workload said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<NonZeroU32>,
    /// Which requests count; absent if all do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measured: Option<MeasuredReport>,
    /// Requests that arrived; a request that is tried again is the same request.
    pub requests: u64,
    /// Tries of all requests.
    pub attempts: u64,
    /// Requests whose answer was completed.
    pub completed: u64,
    /// Those whose first try was.
    pub first_try_completed: u64,
    /// Those that were, at whichever try: `completed`, by the name that goes with the one above.
    pub eventually_completed: u64,
    /// `first_try_completed` as a share of all requests.
    pub first_try_ratio: f64,
    /// `eventually_completed` as a share of all requests.
    pub eventual_ratio: f64,
    /// Requests that were turned away for good, those after prefill included.
    pub rejected: u64,
    /// Requests whose last try was turned away after its prefill.
    pub rejected_after_prefill: u64,
    /// Requests that neither completed nor were rejected.
    pub unfinished: u64,
    /// First arrival to the last try's first token, of requests that got one. Waits between tries are part of it.
    pub ttft_s: Summary,
    /// Mean of the longest 10 % of a request's token gaps, of completed requests with a gap.
    pub tbt_s: Summary,
    /// Mean gap of a request, of completed requests with a gap.
    pub tpot_s: Summary,
    /// First arrival to last token, of completed requests.
    pub e2e_s: Summary,
    /// Share of all requests that completed within both limits, as users saw it: from the first arrival.
    pub effective_ratio: f64,
    /// Share of all requests that completed within the TTFT limit, whatever their TBT.
    pub ttft_ratio: f64,
    /// Share of all requests that completed within the TBT limit, whatever their TTFT.
    pub tbt_ratio: f64,
    /// Share of completed requests with a gap whose TBT is within limits other than the policy's.
    pub tbt_within: TbtWithin,
    /// The limits.
    pub slo: SloReport,
    /// Requests within the limits, a second of simulated time.
    pub goodput_rps: f64,
    /// Answer tokens of requests within the limits, a second of simulated time.
    pub goodput_tokens_per_s: f64,
    /// Share of the prompt tokens of all prefills that were reused.
    pub hit_ratio_tokens: f64,
    /// Share of the prompt blocks of all prefills that were reused.
    pub hit_ratio_blocks: f64,
    /// Mean prefill time alone of a request that had any; with another try after a prefill, of all its prefills.
    pub prefill_gpu_s_mean: f64,
    /// Load of the prefill pool over the samples.
    pub prefill_load: Spread,
    /// Load of the decode pool over the samples.
    pub decode_load: Spread,
    /// Load of the prefill pool while requests arrive, without the time in which the pools fill and empty.
    pub steady_prefill_load: Spread,
    /// The same of the decode pool.
    pub steady_decode_load: Spread,
    /// How the loads of the two pools go together while requests arrive.
    pub load_correlation: LoadCorrelation,
    /// Seconds of prefill for tries that were turned away after it.
    pub wasted_prefill_s: f64,
    /// Share of requests that completed, at whichever try, by quartile of prompt length, the shortest quarter first.
    pub accepted_by_prompt_quartile: [f64; 4],
    /// Each class of the policy, if it lists any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<ClassReport>,
    /// Where the time of completed requests went, on average.
    pub parts_s: PartsReport,
    /// KV that crossed the network between nodes.
    pub transfer: TransferReport,
    /// Where prefill nodes found what they reused.
    pub tiers: TiersReport,
    /// How often a request on a coupled node lost its KV and was computed anew.
    pub recomputed: u64,
    /// Copies of hot blocks.
    pub replications: u64,
    /// Copies over time of each block that was watched, if any was.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replicas: Vec<ReplicaReport>,
    /// Nodes that changed their role; counts and names of nodes are those of the cluster file all the same.
    pub role_switches: u64,
    /// What happened of faults, and of clients that went (who are neither completed nor rejected); none without faults.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub faults: Option<FaultCounts>,
    /// Simulated time at the end.
    pub simulated_s: f64,
    /// Time that the run took, as the caller measured it.
    pub wall_s: f64,
    /// Processor time that the run took, as the caller measured it.
    pub cpu_s: f64,
    /// Largest memory of the process so far, as the caller measured it.
    pub peak_rss_mb: f64,
    /// Events of the simulation.
    pub events: u64,
    /// Tries that were dispatched or turned away.
    pub decisions: u64,
    /// Prefill nodes.
    pub nodes_prefill: usize,
    /// Decode nodes.
    pub nodes_decode: usize,
    /// Coupled nodes.
    pub nodes_coupled: usize,
    /// Prompt tokens of all requests.
    pub input_tokens: u64,
    /// Answer tokens of completed requests.
    pub output_tokens: u64,
    /// Digest of the journal: equal inputs give equal digests on every machine.
    pub digest: String,
}

/// A part of the requests, by their arrival: a report counts no others. Loads are those of its
/// samples, without idle time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeasuredReport {
    /// The first stamp of the trace that counts.
    pub from_s: f64,
    /// The first that does not any more; `null` if all to the end count.
    pub until_s: Option<f64>,
    /// Simulated time at `from_s`: rates are over the time from then on.
    pub begins_s: f64,
}

/// The limits that a report judges by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SloReport {
    /// Time to first token.
    pub ttft_s: f64,
    /// Time between tokens.
    pub tbt_s: f64,
}

impl SloReport {
    fn of(slo: Slo) -> Self {
        Self {
            ttft_s: slo.ttft.as_secs_f64(),
            tbt_s: slo.tbt.as_secs_f64(),
        }
    }
}

/// KV between nodes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TransferReport {
    /// Gigabytes (10^9) in all.
    pub gb: f64,
    /// Mean time that a transfer took once all of its data was there to be sent.
    pub mean_s: f64,
    /// Those from prefill node to prefill node: blocks to be reused.
    pub copies: FlowsReport,
    /// Those to decode nodes: the KV of whole prompts, sent while they are computed.
    pub streams: FlowsReport,
}

/// One kind of [`TransferReport`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlowsReport {
    /// How many.
    pub count: u64,
    /// Gigabytes (10^9) in all.
    pub gb: f64,
    /// See [`TransferReport::mean_s`].
    pub mean_s: f64,
    /// What `mean_s` would be if each had the network for itself and all data at once.
    pub alone_s: f64,
}

impl FlowsReport {
    fn of(flows: &Transfers) -> Self {
        let mean = |time: Nanos| ratio(time.as_secs_f64(), flows.count as f64);
        Self {
            count: flows.count,
            gb: flows.bytes.0 as f64 / 1e9,
            mean_s: mean(flows.time),
            alone_s: mean(flows.alone),
        }
    }
}

/// What only the caller knows of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunLabels {
    /// Name of the trace or workload.
    pub trace: String,
    /// See [`RunReport::speed`].
    pub speed: f64,
    /// See [`RunReport::wall_s`].
    pub wall_s: f64,
    /// See [`RunReport::cpu_s`].
    pub cpu_s: f64,
    /// See [`RunReport::peak_rss_mb`].
    pub peak_rss_mb: f64,
    /// See [`RunReport::measured`]. The records are those that count.
    pub measured: Option<MeasuredReport>,
}

impl RunReport {
    /// The report of a finished run that has kept its records.
    #[must_use]
    pub fn new(config: &RunConfig, result: &RunResult, labels: RunLabels) -> Self {
        let tally = Tally::of(&config.policy, &result.records);
        Self::of(config, &tally, result, labels)
    }

    /// The report of a finished run whose requests have been counted as they ended.
    #[must_use]
    pub fn of(config: &RunConfig, tally: &Tally, result: &RunResult, labels: RunLabels) -> Self {
        let policy = &config.policy;
        let (good, classes) = tally.judged();
        let simulated_s = result.simulated.as_secs_f64();
        let begins_s = labels.measured.map_or(0.0, |measured| measured.begins_s);
        let measured_s = simulated_s - begins_s;
        let of_all = |part: u64| ratio(part as f64, tally.requests as f64);
        let prefills = &tally.prefills;
        // Idle time is counted over the whole run only; stamps never fall from sample to sample.
        let idle = if labels.measured.is_some() {
            0
        } else {
            result.timeline.idle
        };
        let pools = &result.timeline.pools;
        let pools = &pools[pools.partition_point(|sample| sample.at.as_secs_f64() < begins_s)..];
        let (from, to) = tally.arrivals_between().unwrap_or_default();
        let steady = || {
            let within = move |at: Nanos| (from..=to).contains(&at.as_secs_f64());
            pools.iter().filter(move |sample| within(sample.at))
        };
        Self {
            schema: SCHEMA,
            trace: labels.trace,
            cluster: config.cluster.name.clone(),
            policy: config.policy.name.clone(),
            oracle: config.policy.admission.is_oracle(),
            seed: config.seed,
            speed: labels.speed,
            retry: config.retry.to_text(),
            concurrency: config.closed_loop,
            measured: labels.measured,
            requests: tally.requests,
            attempts: tally.attempts,
            completed: tally.completed,
            first_try_completed: tally.first_try_completed,
            eventually_completed: tally.completed,
            first_try_ratio: of_all(tally.first_try_completed),
            eventual_ratio: of_all(tally.completed),
            rejected: tally.rejected,
            rejected_after_prefill: tally.rejected_after_prefill,
            unfinished: 0,
            ttft_s: tally.ttft.summary(),
            tbt_s: tally.tbt.summary(),
            tpot_s: tally.tpot.summary(),
            e2e_s: tally.e2e.summary(),
            effective_ratio: of_all(good.requests),
            ttft_ratio: tally.within.ttft_share(),
            tbt_ratio: tally.within.tbt_share(),
            tbt_within: tally.within.report(),
            slo: SloReport::of(policy.slo),
            goodput_rps: ratio(good.requests as f64, measured_s),
            goodput_tokens_per_s: ratio(good.tokens as f64, measured_s),
            hit_ratio_tokens: ratio(prefills.hit_tokens as f64, prefills.tokens as f64),
            hit_ratio_blocks: ratio(prefills.hit_blocks as f64, prefills.blocks as f64),
            prefill_gpu_s_mean: ratio(prefills.time as f64, prefills.requests as f64) / 1e9,
            prefill_load: Spread::of(pools.iter().map(|sample| sample.prefill_load), idle),
            decode_load: Spread::of(pools.iter().map(|sample| sample.decode_load), idle),
            steady_prefill_load: Spread::of(steady().map(|sample| sample.prefill_load), 0),
            steady_decode_load: Spread::of(steady().map(|sample| sample.decode_load), 0),
            load_correlation: tally
                .arrivals_between()
                .map(|(from, to)| LoadCorrelation::of(pools, from, to))
                .unwrap_or_default(),
            wasted_prefill_s: tally.wasted as f64 / 1e9,
            accepted_by_prompt_quartile: tally.prompts.accepted_by_quartile(),
            classes: classes::reports(policy, &classes),
            parts_s: tally.parts.report(),
            transfer: {
                let all = FlowsReport::of(&result.transfers());
                TransferReport {
                    gb: all.gb,
                    mean_s: all.mean_s,
                    copies: FlowsReport::of(&result.copies),
                    streams: FlowsReport::of(&result.streams),
                }
            },
            tiers: TiersReport::of(&result.tiers),
            recomputed: result.recomputed,
            replications: result.counters.replications,
            replicas: Vec::new(),
            role_switches: result.counters.role_switches,
            faults: (!config.faults.is_empty()).then_some(result.faults),
            simulated_s,
            wall_s: labels.wall_s,
            cpu_s: labels.cpu_s,
            peak_rss_mb: labels.peak_rss_mb,
            events: result.events,
            decisions: result.counters.dispatched + result.counters.rejected,
            nodes_prefill: config.cluster.machines(Role::Prefill),
            nodes_decode: config.cluster.count(Role::Decode),
            nodes_coupled: config.cluster.count(Role::Coupled),
            input_tokens: tally.input_tokens,
            output_tokens: tally.output_tokens,
            digest: result.digest.clone(),
        }
    }
}

/// The requests that completed within the limits of their class.
pub fn effective<'a>(
    policy: &'a PolicyConfig,
    records: &'a [RequestRecord],
) -> impl Iterator<Item = &'a RequestRecord> {
    let beginnings = Beginnings::of(policy, records);
    let met = move |record: &&RequestRecord| beginnings.effective(policy, record);
    records.iter().filter(met)
}

/// A share or rate; 0 of nothing is 0.
fn ratio(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}
