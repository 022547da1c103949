//! Load as the paper defines it: predicted latency over its limit (v3 section 7).
//!
//! Prefill load of a node: the largest predicted TTFT over its limit among the requests that wait or run there. A
//! request's TTFT is predicted when it is placed; one that has waited longer than predicted counts what it has waited.
//! A step of a workflow, whose limit is not its own, counts with the policy's TTFT limit; a job has none and does not
//! count. Decode load of a node: the predicted step of those that decode there, over the strictest TBT limit. A pool's
//! load is the mean over its nodes. An idle node's load is 0.

use super::{Conductor, Phase};
use crate::config::{ClassLimits, Role};
use crate::ids::NodeId;
use alloc::vec::Vec;

/// Loads of all nodes at one moment; scratch space that is used again. For reports, never for a decision.
#[derive(Clone, Debug, Default)]
pub struct Loads {
    /// Predicted latency over its limit, by node.
    pub load: Vec<f64>,
    /// Mean load of the prefill nodes that are up.
    pub prefill: f64,
    /// Mean load of the decode nodes that are up.
    pub decode: f64,
}

impl Conductor {
    /// Computes the loads of all nodes now. Costs O(requests + nodes): for sampling, not for decisions.
    pub fn loads(&self, loads: &mut Loads) {
        loads.load.clear();
        loads.load.resize(self.cluster.nodes.len(), 0.0);
        for live in self.live.iter().flatten() {
            let limit = match self.policy.class(live.class).limits {
                ClassLimits::Answer(slo) => slo.ttft,
                ClassLimits::Workflow { .. } => self.policy.slo.ttft,
                ClassLimits::Completion { .. } => continue,
            };
            if matches!(live.phase, Phase::Queued | Phase::Prefilling) {
                let latency = live.predicted_ttft.max(self.now - live.arrived);
                let load = &mut loads.load[live.prefill.index()];
                *load = load.max(latency.0 as f64 / limit.0 as f64);
            }
        }
        let up = self.prefill_books.up();
        let sum: f64 = up.iter().map(|node| loads.load[node.index()]).sum();
        loads.prefill = sum / up.len().max(1) as f64;
        let limit = self.policy.strictest_tbt();
        // By number, so that the sum is the same however the nodes are ordered by load.
        let nodes = (0..self.cluster.nodes.len()).map(|i| NodeId(i as u16));
        loads.decode = 0.0;
        // A node that drains has a load of its own, which is no longer the pool's.
        let leaving = self.leaving().filter(|(_, to)| *to != Role::Decode);
        for node in nodes {
            let up = self.decode_books.is_up(node);
            if up || leaving.is_some_and(|(leaves, _)| leaves == node) {
                let step = self.decode_books.predicted_tbt(node, &self.costs);
                loads.load[node.index()] = step.0 as f64 / limit.0 as f64;
            }
            if up {
                let nodes = self.decode_books.up().len();
                loads.decode += loads.load[node.index()] / nodes as f64;
            }
        }
    }
}
