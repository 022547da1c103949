//! The simulated cluster: node machines and the links between them.

use crate::network::{LinkId, Network, Path, over};
use conductor_core::config::{ClusterConfig, EvictionConfig, NodeSpec, Role};
use conductor_core::ids::{NodeId, Ticket};
use conductor_core::node::{DecodeBatch, JobId, PrefillQueue};
use conductor_core::steps::StepRun;
use conductor_core::units::Nanos;

/// Links of a node: what it sends, what it receives, and its bus from DRAM to HBM.
const LINKS_PER_NODE: u32 = 3;

/// A node by role.
pub(crate) enum Node {
    Prefill(PrefillNode),
    Decode(DecodeNode),
}

/// A prefill node and what it is computing.
pub(crate) struct PrefillNode {
    pub(crate) queue: PrefillQueue,
    /// What is computed now.
    pub(crate) running: Option<Chunks>,
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

/// A run of decode steps that is under way.
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
    pub(crate) const fn is_running(&self) -> bool {
        match self {
            Self::Prefill(node) => node.running.is_some(),
            Self::Decode(node) => node.running.is_some(),
        }
    }
}

/// The machines of all nodes, with the roles of the cluster file.
pub(crate) fn nodes(cluster: &ClusterConfig, eviction: EvictionConfig) -> Vec<Node> {
    let machine =
        |(i, spec): (usize, &NodeSpec)| machine(cluster, eviction, NodeId(i as u16), spec.role);
    cluster.nodes.iter().enumerate().map(machine).collect()
}

/// The idle machine of a node with `role`.
pub(crate) fn machine(
    cluster: &ClusterConfig,
    eviction: EvictionConfig,
    node: NodeId,
    role: Role,
) -> Node {
    let spec = &cluster.nodes[node.index()];
    match role {
        Role::Prefill => {
            let chunk = cluster.profile_of(node).prefill_chunk;
            let queue = PrefillQueue::new(cluster.block, spec.cache_blocks, chunk, eviction);
            Node::Prefill(PrefillNode {
                queue,
                running: None,
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
        Role::Coupled => unreachable!("the cluster's parser refuses coupled nodes"),
    }
}

/// The network of a cluster: for each node its three links.
pub(crate) fn network(cluster: &ClusterConfig) -> Network {
    let links = (0..cluster.nodes.len()).flat_map(|i| {
        let profile = cluster.profile_of(NodeId(i as u16));
        [
            profile.nic_bytes_per_s,
            profile.nic_bytes_per_s,
            profile.load_bytes_per_s,
        ]
    });
    Network::new(links.collect())
}

/// The links of a node's NICs, and what they carry without faults.
pub(crate) fn nics(cluster: &ClusterConfig, node: NodeId) -> ([LinkId; 2], u64) {
    let first = u32::from(node.0) * LINKS_PER_NODE;
    let links = [LinkId(first), LinkId(first + 1)];
    (links, cluster.profile_of(node).nic_bytes_per_s)
}

/// From one node's memory to another's.
pub(crate) fn path_between(from: NodeId, to: NodeId) -> Path {
    [
        LinkId(u32::from(from.0) * LINKS_PER_NODE),
        LinkId(u32::from(to.0) * LINKS_PER_NODE + 1),
    ]
}

/// From a node's DRAM to its HBM.
pub(crate) fn path_load(node: NodeId) -> Path {
    over(LinkId(u32::from(node.0) * LINKS_PER_NODE + 2))
}
