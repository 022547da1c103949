//! What a report says of requests, added up as they end.
//!
//! Why: records of a day's requests would be gigabytes. Nothing here grows with their number, but for what is exact
//! while it is small ([`crate::sketch`], [`super::overload`]), and for policies with limits for whole workflows, whose
//! steps are kept until all are known: when a workflow began, its first step may say last. Sums are of integers, so
//! neither the order of the records nor how they were split among tallies that are merged matters.

use super::classes::{self, ClassTally};
use super::overload::Prompts;
use super::within::Within;
use crate::parts::PartsTotals;
use crate::record::{Outcome, RequestRecord};
use crate::sketch::Quantiles;
use conductor_core::config::{ClassConfig, PolicyConfig};
use conductor_core::ids::WorkflowId;
use conductor_core::units::Nanos;
use std::collections::BTreeMap;

/// Requests in numbers.
#[derive(Clone, Debug)]
pub struct Tally {
    policy: PolicyConfig,
    pub(super) requests: u64,
    pub(super) attempts: u64,
    pub(super) completed: u64,
    pub(super) first_try_completed: u64,
    pub(super) rejected: u64,
    pub(super) rejected_after_prefill: u64,
    pub(super) good: Good,
    pub(super) ttft: Quantiles,
    pub(super) tbt: Quantiles,
    pub(super) tpot: Quantiles,
    pub(super) e2e: Quantiles,
    pub(super) within: Within,
    pub(super) prefills: PrefillTotals,
    /// Time of prefills for tries that were turned away after it.
    pub(super) wasted: u128,
    pub(super) prompts: Prompts,
    pub(super) parts: PartsTotals,
    /// By the policy's order, if it lists classes.
    pub(super) classes: Vec<ClassTally>,
    /// Steps of workflows that have a limit together.
    pub(super) steps: BTreeMap<WorkflowId, Vec<RequestRecord>>,
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
    /// First and last arrival.
    arrivals: Option<(Nanos, Nanos)>,
}

/// Requests that completed within the limits of their class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Good {
    pub(super) requests: u64,
    /// Tokens of their answers.
    pub(super) tokens: u64,
}

/// Prefills of all tries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PrefillTotals {
    /// Requests that had any.
    pub(super) requests: u64,
    pub(super) time: u128,
    /// Prompt tokens and blocks, and those of them that were reused.
    pub(super) tokens: u64,
    pub(super) hit_tokens: u64,
    pub(super) blocks: u64,
    pub(super) hit_blocks: u64,
}

impl Good {
    pub(super) fn add(&mut self, record: &RequestRecord) {
        self.requests += 1;
        self.tokens += record.output.0;
    }
}

impl PrefillTotals {
    fn add(&mut self, record: &RequestRecord) {
        let prefills = record.prefills();
        if prefills.count > 0 {
            self.requests += 1;
            self.time += u128::from(prefills.time.0);
            self.tokens += record.input.0 * u64::from(prefills.count);
            self.hit_tokens += prefills.hit.0;
            self.blocks += u64::from(record.blocks) * u64::from(prefills.count);
            self.hit_blocks += u64::from(prefills.hit_blocks);
        }
    }

    fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.time += other.time;
        self.tokens += other.tokens;
        self.hit_tokens += other.hit_tokens;
        self.blocks += other.blocks;
        self.hit_blocks += other.hit_blocks;
    }
}

impl Tally {
    /// Of nothing.
    #[must_use]
    pub fn new(policy: &PolicyConfig) -> Self {
        let listed = policy.classes != ClassConfig::only(policy.slo);
        let classes = if listed { policy.classes.len() } else { 0 };
        Self {
            policy: policy.clone(),
            requests: 0,
            attempts: 0,
            completed: 0,
            first_try_completed: 0,
            rejected: 0,
            rejected_after_prefill: 0,
            good: Good::default(),
            ttft: Quantiles::default(),
            tbt: Quantiles::default(),
            tpot: Quantiles::default(),
            e2e: Quantiles::default(),
            within: Within::default(),
            prefills: PrefillTotals::default(),
            wasted: 0,
            prompts: Prompts::default(),
            parts: PartsTotals::default(),
            classes: vec![ClassTally::default(); classes],
            steps: BTreeMap::new(),
            input_tokens: 0,
            output_tokens: 0,
            arrivals: None,
        }
    }

    /// Of these.
    #[must_use]
    pub fn of<'a>(
        policy: &PolicyConfig,
        records: impl IntoIterator<Item = &'a RequestRecord>,
    ) -> Self {
        let mut tally = Self::new(policy);
        records.into_iter().for_each(|record| tally.add(record));
        tally
    }

    /// Counts a request, whose record is final.
    pub fn add(&mut self, record: &RequestRecord) {
        let completed = record.outcome == Outcome::Completed;
        self.requests += 1;
        self.attempts += u64::from(record.tries);
        self.completed += u64::from(completed);
        self.first_try_completed += u64::from(completed && record.tries == 1);
        let after_prefill = record.outcome == Outcome::RejectedAfterPrefill;
        self.rejected_after_prefill += u64::from(after_prefill);
        self.rejected += u64::from(after_prefill || matches!(record.outcome, Outcome::Rejected(_)));
        self.input_tokens += record.input.0;
        self.ttft.extend(record.ttft);
        if completed {
            self.output_tokens += record.output.0;
            self.tbt.extend(record.tbt);
            self.tpot.extend(record.tpot());
            self.e2e.extend(record.e2e());
        }
        self.within.add(record, self.policy.slo);
        self.prefills.add(record);
        self.wasted += u128::from(record.wasted_prefill().0);
        self.prompts.add(record);
        self.parts.add(record);
        let (first, last) = self.arrivals.unwrap_or((record.arrival, record.arrival));
        self.arrivals = Some((first.min(record.arrival), last.max(record.arrival)));
        if let Some(class) = self.classes.get_mut(record.class.index()) {
            class.add(record);
        }
        match record.workflow {
            Some(workflow) if classes::in_workflow(&self.policy, record) => {
                self.steps.entry(workflow).or_default().push(*record);
            }
            _ => {
                let effective = classes::effective(&self.policy, record, record.arrival);
                let in_workflow = classes::in_workflow(&self.policy, record);
                if let Some(class) = self.classes.get_mut(record.class.index()) {
                    class.judge(effective);
                    if in_workflow {
                        class.judge_workflow(effective);
                    }
                }
                if effective {
                    self.good.add(record);
                }
            }
        }
    }

    /// Counts the requests of another, of the same policy.
    pub fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.attempts += other.attempts;
        self.completed += other.completed;
        self.first_try_completed += other.first_try_completed;
        self.rejected += other.rejected;
        self.rejected_after_prefill += other.rejected_after_prefill;
        self.good.requests += other.good.requests;
        self.good.tokens += other.good.tokens;
        self.ttft.merge(&other.ttft);
        self.tbt.merge(&other.tbt);
        self.tpot.merge(&other.tpot);
        self.e2e.merge(&other.e2e);
        self.within.merge(&other.within);
        self.prefills.merge(&other.prefills);
        self.wasted += other.wasted;
        self.prompts.merge(&other.prompts);
        self.parts.merge(&other.parts);
        for (class, other) in self.classes.iter_mut().zip(&other.classes) {
            class.merge(other);
        }
        for (&workflow, steps) in &other.steps {
            self.steps.entry(workflow).or_default().extend(steps);
        }
        self.input_tokens += other.input_tokens;
        self.output_tokens += other.output_tokens;
        if let Some((first, last)) = other.arrivals {
            let (own_first, own_last) = self.arrivals.unwrap_or((first, last));
            self.arrivals = Some((own_first.min(first), own_last.max(last)));
        }
    }

    /// How many requests were counted.
    #[must_use]
    pub const fn requests(&self) -> u64 {
        self.requests
    }

    /// The good requests and the classes, with the steps of workflows judged: each counts from its workflow's first
    /// arrival.
    pub(super) fn judged(&self) -> (Good, Vec<ClassTally>) {
        let (mut good, mut classes) = (self.good, self.classes.clone());
        for steps in self.steps.values() {
            let began = steps
                .iter()
                .map(|step| step.arrival)
                .min()
                .unwrap_or_default();
            // A workflow is as good as its worst step, in each class that has any of it.
            let mut whole: BTreeMap<usize, bool> = BTreeMap::new();
            for step in steps {
                let effective = classes::effective(&self.policy, step, began);
                if effective {
                    good.add(step);
                }
                if let Some(class) = classes.get_mut(step.class.index()) {
                    class.judge(effective);
                }
                *whole.entry(step.class.index()).or_insert(true) &= effective;
            }
            for (class, effective) in whole {
                if let Some(class) = classes.get_mut(class) {
                    class.judge_workflow(effective);
                }
            }
        }
        (good, classes)
    }

    /// From a tenth of the way between the first and the last arrival, when the pools have filled, to the last, in
    /// seconds.
    pub(super) fn arrivals_between(&self) -> Option<(f64, f64)> {
        let (first, last) = self.arrivals?;
        let (first, last) = (first.as_secs_f64(), last.as_secs_f64());
        Some((first + (last - first) / 10.0, last))
    }
}
