//! The simulated cluster: the machines of its nodes.

use conductor_core::config::{ClusterConfig, Evictions, NodeSpec, Role};
use conductor_core::ids::{NodeId, Ticket};
use conductor_core::node::{CoupledBatch, DecodeBatch, JobId, PrefillQueue};
use conductor_core::steps::StepRun;
use conductor_core::units::Nanos;
use std::collections::VecDeque;

/// A node by role.
pub(crate) enum Node {
    Prefill(PrefillNode),
    Decode(DecodeNode),
    Coupled(CoupledNode),
}

/// A prefill node and what it is computing.
pub(crate) struct PrefillNode {
    pub(crate) queue: PrefillQueue,
    /// What is computed now, in order of the ends; several only in a pipeline.
    pub(crate) running: VecDeque<Chunks>,
    /// Until when each stage of the pipeline is busy; one stage if it is none.
    pub(crate) stages: Vec<Nanos>,
}

/// A prefill that is under way; in step-by-step mode, up to which chunk.
pub(crate) struct Chunks {
    pub(crate) job: JobId,
    pub(crate) ticket: Ticket,
    /// The try of the client that it is for.
    pub(crate) tries: u32,
    /// Its attempt has been given up: it is computed to its end for nobody.
    pub(crate) in_vain: bool,
    /// Ends of the chunks that are not finished, last first.
    pub(crate) ends: Vec<Nanos>,
}

/// A decode node and the run that it is in.
pub(crate) struct DecodeNode {
    pub(crate) batch: DecodeBatch,
    pub(crate) running: Option<Steps>,
    /// What is left of the steps that the present batch was priced with, and the composition that it has. A batch is
    /// priced once: noise rounds a run of steps as a whole, so pricing it again half way would depend on how many
    /// steps were taken at once.
    pub(crate) priced: Option<(u64, StepRun)>,
}

/// A coupled node and the run that it is in.
pub(crate) struct CoupledNode {
    pub(crate) batch: CoupledBatch,
    pub(crate) running: Option<Steps>,
    /// As of a decode node.
    pub(crate) priced: Option<(u64, StepRun)>,
}

/// A run of decode steps, or one pass of a coupled node, that is under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steps {
    pub(crate) started: Nanos,
    pub(crate) run: StepRun,
    /// After how many steps the run ends.
    pub(crate) steps: u64,
}

impl Steps {
    /// How many steps are complete at `now`; a step that ends at `now` is.
    pub(crate) fn complete(&self, now: Nanos) -> u64 {
        self.run.steps_to_reach(now - self.started + Nanos(1)) - 1
    }

    pub(crate) fn ends_at(&self) -> Nanos {
        self.started + self.run.total(self.steps)
    }
}

impl Node {
    /// True if a prefill or a step is under way.
    pub(crate) fn is_running(&self) -> bool {
        match self {
            Self::Prefill(node) => !node.running.is_empty(),
            Self::Decode(node) => node.running.is_some(),
            Self::Coupled(node) => node.running.is_some(),
        }
    }
}

/// The machines of all nodes, with the roles of the cluster file.
pub(crate) fn nodes(cluster: &ClusterConfig, evictions: Evictions) -> Vec<Node> {
    let machine =
        |(i, spec): (usize, &NodeSpec)| machine(cluster, evictions, NodeId(i as u16), spec.role);
    cluster.nodes.iter().enumerate().map(machine).collect()
}

/// The idle machine of a node with `role`.
pub(crate) fn machine(
    cluster: &ClusterConfig,
    evictions: Evictions,
    node: NodeId,
    role: Role,
) -> Node {
    let spec = &cluster.nodes[node.index()];
    match role {
        Role::Prefill => {
            let queue = PrefillQueue::new(cluster.block, spec, evictions);
            Node::Prefill(PrefillNode {
                queue,
                running: VecDeque::new(),
                stages: vec![Nanos::ZERO; spec.stages as usize],
            })
        }
        Role::Decode => {
            let batch = DecodeBatch::new(cluster.block, spec.hbm_blocks);
            Node::Decode(DecodeNode {
                batch,
                running: None,
                priced: None,
            })
        }
        Role::Coupled => {
            let (engine, block) = (cluster.coupled, cluster.block);
            let batch = CoupledBatch::new(engine, block, spec.hbm_blocks, evictions.main);
            Node::Coupled(CoupledNode {
                batch,
                running: None,
                priced: None,
            })
        }
    }
}
