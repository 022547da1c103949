//! What became of each class, and of the workflows of those whose steps share a limit.

use super::{SloReport, ratio};
use crate::record::{Outcome, RequestRecord};
use crate::stats::Summary;
use conductor_core::config::{ClassConfig, ClassLimits, PolicyConfig};
use conductor_core::ids::{ClassId, WorkflowId};
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
        let (Outcome::Completed, Some(ttft), Some(e2e)) =
            (record.outcome, record.ttft, record.e2e())
        else {
            return false;
        };
        let workflow = record.workflow.and_then(|workflow| self.0.get(&workflow));
        let since = match in_workflow(policy, record) {
            true => *workflow.unwrap_or(&record.arrival),
            false => record.arrival,
        };
        let limits = policy.class(record.class).limits;
        limits.met(ttft, record.tbt, since, record.arrival + e2e)
    }
}

fn in_workflow(policy: &PolicyConfig, record: &RequestRecord) -> bool {
    let limits = policy.class(record.class).limits;
    matches!(limits, ClassLimits::Workflow { .. })
}

/// One entry a class, in the policy's order; none for a policy that lists none.
pub(super) fn reports(
    policy: &PolicyConfig,
    records: &[RequestRecord],
    beginnings: &Beginnings,
) -> Vec<ClassReport> {
    if policy.classes == ClassConfig::only(policy.slo) {
        return Vec::new();
    }
    let time = |record: &RequestRecord| record.prefills().time.as_secs_f64();
    let all: f64 = records.iter().map(time).sum();
    let class = |(i, class): (usize, &ClassConfig)| {
        let own = || {
            let id = ClassId(i as u8);
            records.iter().filter(move |record| record.class == id)
        };
        let completed = || own().filter(|record| record.outcome == Outcome::Completed);
        let effective = own().filter(|record| beginnings.effective(policy, record));
        let requests = own().count() as u64;
        // A workflow is as good as its worst step.
        let mut workflows: BTreeMap<_, bool> = BTreeMap::new();
        if let ClassLimits::Workflow { .. } = class.limits {
            for record in own() {
                let id = record.workflow.ok_or(record.id);
                *workflows.entry(id).or_insert(true) &= beginnings.effective(policy, record);
            }
        }
        let good = workflows.values().filter(|good| **good).count();
        let (slo, total) = match class.limits {
            ClassLimits::Answer(slo) => (Some(SloReport::of(slo)), None),
            ClassLimits::Workflow { total } | ClassLimits::Completion { total } => {
                (None, Some(total.as_secs_f64()))
            }
        };
        ClassReport {
            name: class.name.clone(),
            requests,
            completed: completed().count() as u64,
            rejected: requests - completed().count() as u64,
            effective_ratio: ratio(effective.count() as f64, requests as f64),
            prefill_share: ratio(own().map(time).sum(), all),
            ttft_s: Summary::of(own().filter_map(|record| record.ttft).collect()),
            e2e_s: Summary::of(completed().filter_map(RequestRecord::e2e).collect()),
            slo,
            total_s: total,
            workflows: workflows.len() as u64,
            workflows_effective_ratio: ratio(good as f64, workflows.len() as f64),
        }
    };
    policy.classes.iter().enumerate().map(class).collect()
}
