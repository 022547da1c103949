//! The simulator's times, for the runtime's virtual cluster.

use conductor_core::cache::Tier;
use conductor_core::config::ClusterConfig;
use conductor_core::ids::{NodeId, Ticket};
use conductor_core::node::{CoupledBatch, CoupledRun, DecodeRun, PrefillRun};
use conductor_core::steps::StepRun;
use conductor_core::units::Nanos;
use conductor_runtime::loopback::{Times, Transfer, Wire};
use conductor_sim::links::Links;
use conductor_sim::network::{FlowId, Network};
use conductor_sim::truth::Truth;
use std::collections::BTreeMap;

/// Times of nodes from the simulator's truth, of wires from its network.
pub(super) struct SimulatedTimes {
    cluster: ClusterConfig,
    truth: Truth,
    links: Links,
    network: Network,
    flows: BTreeMap<(Ticket, Wire), FlowId>,
    purposes: BTreeMap<u32, (Ticket, Wire)>,
    /// What is left of the steps that a node's batch was priced with.
    priced: Vec<Option<(u64, StepRun)>>,
}

impl SimulatedTimes {
    pub(super) fn new(cluster: &ClusterConfig, seed: u64) -> Self {
        let (links, network) = Links::new(cluster);
        Self {
            truth: Truth::new(cluster, seed),
            links,
            network,
            flows: BTreeMap::new(),
            purposes: BTreeMap::new(),
            priced: vec![None; cluster.nodes.len()],
            cluster: cluster.clone(),
        }
    }

    fn start(&mut self, now: Nanos, transfer: Transfer, limit: Option<u64>) {
        let Transfer {
            ticket,
            wire,
            from,
            to,
            tokens,
            ..
        } = transfer;
        let size = self.cluster.profile_of(from).kv_bytes_per_token * tokens.0;
        let path = match wire {
            Wire::Load => self.links.load(to),
            Wire::Copy | Wire::Stream => self.links.between(&self.network, from, to),
        };
        let flow = self.network.start(now, path, size, limit);
        self.flows.insert((ticket, wire), flow);
        self.purposes.insert(flow.0, (ticket, wire));
    }

    /// The step, from what its batch was priced with before or `price`.
    fn step_of(
        &mut self,
        node: NodeId,
        composition: u64,
        price: impl Fn(&Truth) -> StepRun,
    ) -> Nanos {
        let left = self.priced[node.index()].filter(|&(same, _)| same == composition);
        let run = left.map_or_else(|| price(&self.truth), |(_, run)| run);
        let rest = (run.steps > 1).then(|| (composition, run.after(1)));
        self.priced[node.index()] = rest;
        run.at(0)
    }
}

impl Times for SimulatedTimes {
    fn delivery(&self, node: NodeId) -> Nanos {
        self.cluster.profile_of(node).schedule
    }

    fn prefill(&mut self, node: NodeId, run: &PrefillRun) -> Nanos {
        let in_hbm = self.cluster.block * u64::from(run.hits[Tier::Hbm as usize]);
        let loaded = run.cached.saturating_sub(in_hbm);
        self.truth.prefill(node, run, run.input, loaded)
    }

    fn step(&mut self, node: NodeId, composition: u64, run: DecodeRun) -> Nanos {
        self.step_of(node, composition, |truth| {
            truth.decode(node, composition, run.batch, run.context)
        })
    }

    fn pass(&mut self, node: NodeId, batch: &CoupledBatch, run: CoupledRun) -> Nanos {
        match batch.first_piece() {
            Some(ticket) => {
                self.priced[node.index()] = None;
                self.truth
                    .pass(node, ticket, batch.pieces(), run.batch, run.context)
            }
            None => {
                let composition = batch.composition();
                self.step_of(node, composition, |truth| {
                    truth.decode(node, composition, run.batch, run.context)
                })
            }
        }
    }

    fn begin(&mut self, now: Nanos, transfer: Transfer) {
        let Some(time) = transfer.made_in else {
            return self.start(now, transfer, None);
        };
        let profile = self.cluster.profile_of(transfer.from);
        let size = profile.kv_bytes_per_token * transfer.tokens.0;
        let layers = u128::from(profile.layers);
        let early = u128::from(size.0) * (layers - 1) / layers;
        let limit = early * 1_000_000_000 / u128::from(time.0.max(1));
        if limit > 0 {
            self.start(now, transfer, Some(limit.min(u128::from(u64::MAX)) as u64));
        }
    }

    fn rest(&mut self, now: Nanos, transfer: Transfer) {
        match self.flows.get(&(transfer.ticket, transfer.wire)) {
            Some(&flow) => self.network.lift_limit(now, flow),
            None => self.start(now, transfer, None),
        }
    }

    fn end(&mut self, now: Nanos, ticket: Ticket, wire: Wire) {
        if let Some(flow) = self.flows.remove(&(ticket, wire)) {
            self.network.end(now, flow);
        }
    }

    fn next_end(&self) -> Option<Nanos> {
        self.network.next_end().map(|(at, _)| at)
    }

    fn pop_end(&mut self, now: Nanos) -> (Ticket, Wire) {
        let (_, flow) = self.network.next_end().expect("a flow is due");
        let (ticket, wire) = self.purposes[&flow.0];
        self.end(now, ticket, wire);
        (ticket, wire)
    }
}
