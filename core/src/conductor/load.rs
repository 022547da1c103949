//! Load as the paper defines it: predicted latency over its limit (v3 section 7).
//!
//! Prefill load of a node: the largest predicted TTFT among the requests that wait or run there, over the TTFT limit.
//! A request's TTFT is predicted when it is placed; one that has waited longer than predicted counts what it has
//! waited. Decode load of a node: the predicted step of those that decode there, over the TBT limit. A pool's load is
//! the mean over its nodes. An idle node's load is 0.

use super::{Conductor, Phase};
use crate::config::Role;
use crate::ids::NodeId;
use crate::units::Nanos;
use alloc::vec::Vec;

/// Loads of all nodes at one moment, and what they are made of; scratch space that is used again.
#[derive(Clone, Debug, Default)]
pub struct Loads {
    /// Predicted largest TTFT (prefill nodes) or predicted TBT (decode nodes), by node.
    pub latency: Vec<Nanos>,
    /// Latency over its limit, by node; for reports, never for a decision.
    pub load: Vec<f64>,
    /// Mean load of the prefill nodes that are up.
    pub prefill: f64,
    /// Mean load of the decode nodes that are up.
    pub decode: f64,
}

impl Conductor {
    /// Computes the loads of all nodes now. Costs O(requests + nodes): for sampling, not for decisions.
    pub fn loads(&self, loads: &mut Loads) {
        let nodes = self.cluster.nodes.len();
        loads.latency.clear();
        loads.latency.resize(nodes, Nanos::ZERO);
        for live in self.live.iter().flatten() {
            if matches!(live.phase, Phase::Queued | Phase::Prefilling) {
                let latency = &mut loads.latency[live.prefill.index()];
                *latency = (*latency)
                    .max(live.predicted_ttft)
                    .max(self.now - live.arrived);
            }
        }
        loads.load.clear();
        loads.load.resize(nodes, 0.0);
        (loads.prefill, loads.decode) = (0.0, 0.0);
        let slo = self.policy.slo;
        for &node in self.prefill_books.up() {
            let load = loads.latency[node.index()].0 as f64 / slo.ttft.0 as f64;
            loads.load[node.index()] = load;
            loads.prefill += load / self.prefill_books.up().len() as f64;
        }
        for node in (0..nodes)
            .map(|i| NodeId(i as u16))
            .filter(|&node| self.decode_books.is_up(node))
        {
            let latency = self.decode_books.predicted_tbt(node, &self.costs);
            loads.latency[node.index()] = latency;
            let load = latency.0 as f64 / slo.tbt.0 as f64;
            loads.load[node.index()] = load;
            loads.decode += load / self.decode_books.by_count().len() as f64;
        }
        // A node that drains has a load of its own, which is no longer the pool's.
        if let Some((node, to)) = self.leaving() {
            let (latency, limit) = match to {
                Role::Decode => (loads.latency[node.index()], slo.ttft),
                _ => (self.decode_books.predicted_tbt(node, &self.costs), slo.tbt),
            };
            loads.latency[node.index()] = latency;
            loads.load[node.index()] = latency.0 as f64 / limit.0 as f64;
        }
    }
}
