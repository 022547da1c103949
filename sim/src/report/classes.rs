//! What became of each class, and of the workflows of those whose steps share a limit.

use super::{SloReport, ratio};
use crate::record::{Outcome, RequestRecord};
use crate::sketch::Quantiles;
use crate::stats::Summary;
use conductor_core::config::{ClassConfig, ClassLimits, PolicyConfig};
use conductor_core::ids::WorkflowId;
use conductor_core::units::Nanos;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One class of the policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassReport {
    /// Its name.
    pub name: String,
    /// Requests that arrived.
    pub requests: u64,
    /// Requests whose answer was completed.
    pub completed: u64,
    /// Requests that were turned away, those after prefill included.
    pub rejected: u64,
    /// Share of its requests that completed within its limits.
    pub effective_ratio: f64,
    /// Its share of the time of all prefills.
    pub prefill_share: f64,
    /// Time to first token, of requests that got one; seconds.
    pub ttft_s: Summary,
    /// Arrival to last token, of completed requests; seconds.
    pub e2e_s: Summary,
    /// Limits of each answer, if it has such.
    pub slo: Option<SloReport>,
    /// Limit of a whole workflow or of a job, if it has such; seconds.
    pub total_s: Option<f64>,
    /// Workflows that arrived; 0 of other classes.
    pub workflows: u64,
    /// Share of them whose every step completed, the last one within the limit.
    pub workflows_effective_ratio: f64,
}

/// What is counted of a class.
#[derive(Clone, Debug, Default)]
pub(super) struct ClassTally {
    requests: u64,
    completed: u64,
    effective: u64,
    /// Time of its prefills.
    prefill: u128,
    ttft: Quantiles,
    e2e: Quantiles,
    workflows: u64,
    workflows_effective: u64,
}

impl ClassTally {
    pub(super) fn add(&mut self, record: &RequestRecord) {
        self.requests += 1;
        self.prefill += u128::from(record.prefills().time.0);
        self.ttft.extend(record.ttft);
        if record.outcome == Outcome::Completed {
            self.completed += 1;
            self.e2e.extend(record.e2e());
        }
    }

    /// A request was within its limits, or not.
    pub(super) fn judge(&mut self, effective: bool) {
        self.effective += u64::from(effective);
    }

    /// A workflow was as a whole.
    pub(super) fn judge_workflow(&mut self, effective: bool) {
        self.workflows += 1;
        self.workflows_effective += u64::from(effective);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.completed += other.completed;
        self.effective += other.effective;
        self.prefill += other.prefill;
        self.ttft.merge(&other.ttft);
        self.e2e.merge(&other.e2e);
        self.workflows += other.workflows;
        self.workflows_effective += other.workflows_effective;
    }
}

/// When each workflow began: the first arrival of any of its steps.
#[derive(Clone, Debug, Default)]
pub(super) struct Beginnings(BTreeMap<WorkflowId, Nanos>);

impl Beginnings {
    pub(super) fn of(policy: &PolicyConfig, records: &[RequestRecord]) -> Self {
        let mut began = BTreeMap::new();
        for record in records.iter().filter(|record| in_workflow(policy, record)) {
            if let Some(workflow) = record.workflow {
                began.entry(workflow).or_insert(record.arrival);
            }
        }
        Self(began)
    }

    /// True if the request completed within the limits of its class.
    pub(super) fn effective(&self, policy: &PolicyConfig, record: &RequestRecord) -> bool {
        let workflow = record.workflow.and_then(|workflow| self.0.get(&workflow));
        effective(policy, record, *workflow.unwrap_or(&record.arrival))
    }
}

/// True if the request completed within the limits of its class, its workflow having begun at `began`.
pub(super) fn effective(policy: &PolicyConfig, record: &RequestRecord, began: Nanos) -> bool {
    let (Outcome::Completed, Some(ttft), Some(e2e)) = (record.outcome, record.ttft, record.e2e())
    else {
        return false;
    };
    let since = match in_workflow(policy, record) {
        true => began,
        false => record.arrival,
    };
    let limits = policy.class(record.class).limits;
    limits.met(ttft, record.tbt, since, record.arrival + e2e)
}

pub(super) fn in_workflow(policy: &PolicyConfig, record: &RequestRecord) -> bool {
    let limits = policy.class(record.class).limits;
    matches!(limits, ClassLimits::Workflow { .. })
}

/// One entry a class, in the policy's order; none for a policy that lists none.
pub(super) fn reports(policy: &PolicyConfig, tallies: &[ClassTally]) -> Vec<ClassReport> {
    let all: u128 = tallies.iter().map(|tally| tally.prefill).sum();
    let class = |(class, tally): (&ClassConfig, &ClassTally)| {
        let (slo, total) = match class.limits {
            ClassLimits::Answer(slo) => (Some(SloReport::of(slo)), None),
            ClassLimits::Workflow { total } | ClassLimits::Completion { total } => {
                (None, Some(total.as_secs_f64()))
            }
        };
        ClassReport {
            name: class.name.clone(),
            requests: tally.requests,
            completed: tally.completed,
            rejected: tally.requests - tally.completed,
            effective_ratio: ratio(tally.effective as f64, tally.requests as f64),
            prefill_share: ratio(tally.prefill as f64, all as f64),
            ttft_s: tally.ttft.summary(),
            e2e_s: tally.e2e.summary(),
            slo,
            total_s: total,
            workflows: tally.workflows,
            workflows_effective_ratio: ratio(
                tally.workflows_effective as f64,
                tally.workflows as f64,
            ),
        }
    };
    policy.classes.iter().zip(tallies).map(class).collect()
}
