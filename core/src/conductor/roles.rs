//! A node changes its role: which one, how it drains, and what becomes of the books.
//!
//! A node that is to go takes no new work and finishes what it has. A prefill node: its queue, the KV that it streams
//! to decode nodes, the copies that it sends; as long as it has work of its own its cache is a source like any (after
//! that no new copy is asked of it, else a popular cache would never be left alone). A decode node: everything that was
//! assigned to it, also what is still in prefill. When nothing is left the driver is ordered to switch it, and when it
//! says that it has, the node joins the other pool, empty: the Conductor forgets its cache by itself, no eviction needs
//! to be reported.
//!
//! One node at a time. The loads are looked at before the first fact that comes a second after the last look, not at a
//! deadline: a pool that is loaded has facts to tell, where none come nothing changes, and a driver need not keep a
//! timer. Before the fact, because who looks just after an arrival always finds somebody there.
//!
//! A node that goes down while it drains is not changed; one that comes up has the role of the cluster file, because a
//! process that starts reads its own configuration. If the pool that it leaves shrinks below the minimum in the
//! meantime it stays.
//!
//! The load of a pool is made after v3 section 7 of what the books have, in thousandths. Prefill: the predicted wait in
//! the queue over the TTFT limit. Decode: the predicted step over the strictest TBT limit, or the part of its HBM that
//! holds KV of those who decode, if that is more: a node that is full is loaded, however fast its steps are. Requests
//! that are not there yet do not count, or a backlog of prefill would look like load of decode.

use super::Conductor;
use crate::action::{Action, Actions};
use crate::config::{ClusterConfig, Role, RolesConfig};
use crate::ids::NodeId;
use crate::policy::roles::{LoadGap, Pool};
use alloc::vec::Vec;

/// A node on its way to the other pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Leaving {
    node: NodeId,
    to: Role,
    /// It is empty, and the driver has been told to switch it.
    ordered: bool,
}

/// Roles of the nodes, and who changes.
pub(super) struct Roles {
    watch: Option<LoadGap>,
    role: Vec<Role>,
    leaving: Option<Leaving>,
}

impl Roles {
    pub(super) fn new(config: RolesConfig, cluster: &ClusterConfig) -> Self {
        Self {
            watch: match config {
                // A coupled node has no other pool to go to.
                RolesConfig::LoadGap(config) if cluster.count(Role::Coupled) == 0 => {
                    Some(LoadGap::new(config))
                }
                RolesConfig::LoadGap(_) | RolesConfig::Off => None,
            },
            role: cluster.nodes.iter().map(|node| node.role).collect(),
            leaving: None,
        }
    }

    /// True if the node is in neither pool because it changes.
    pub(super) fn is_leaving(&self, node: NodeId) -> bool {
        self.leaving.is_some_and(|leaving| leaving.node == node)
    }

    /// The node has started anew, with the role of the cluster file.
    pub(super) fn restarted(&mut self, node: NodeId, role: Role) {
        self.role[node.index()] = role;
    }
}

impl Conductor {
    /// The role of a node as it is: until it is switched, the one that it leaves.
    #[must_use]
    pub fn role(&self, node: NodeId) -> Option<Role> {
        self.roles.role.get(node.index()).copied()
    }

    /// The node that takes no work because it changes its role, and the role that it will have.
    #[must_use]
    pub fn leaving(&self) -> Option<(NodeId, Role)> {
        self.roles.leaving.map(|leaving| (leaving.node, leaving.to))
    }

    /// Looks at the loads if it is time to, and lets a node go if it must. Costs O(nodes), once a second.
    pub(super) fn watch_roles(&mut self) {
        if self.roles.leaving.is_some() {
            return;
        }
        let Some(watch) = &self.roles.watch else {
            return;
        };
        if !watch.is_due(self.now) {
            return;
        }
        let (prefill, decode) = self.pools();
        let watch = self.roles.watch.as_mut().expect("it was there");
        let Some(giver) = watch.look(self.now, prefill, decode) else {
            return;
        };
        let found = match giver {
            Role::Prefill => self.prefill_node_to_go().map(|node| (node, Role::Decode)),
            _ => self.decode_node_to_go().map(|node| (node, Role::Prefill)),
        };
        if let Some((node, to)) = found {
            match to {
                Role::Decode => self.prefill_books.drain(node),
                _ => self.decode_books.node_down(node),
            }
            self.roles.leaving = Some(Leaving {
                node,
                to,
                ordered: false,
            });
        }
    }

    /// Orders the switch once the node that leaves is empty.
    pub(super) fn switch_if_empty(&mut self, actions: &mut Actions) {
        let Some(leaving) = self
            .roles
            .leaving
            .as_mut()
            .filter(|leaving| !leaving.ordered)
        else {
            return;
        };
        let Leaving { node, to, .. } = *leaving;
        let empty = match to {
            Role::Decode => self.prefill_books.is_idle(node),
            _ => self.decode_books.assigned(node) == 0,
        };
        if empty {
            leaving.ordered = true;
            self.prefill_books.node_down(node);
            actions.push(Action::SwitchRole { node, to });
        }
    }

    /// The driver has switched a node. What was not ordered, or not like this, is stale.
    pub(super) fn role_changed(&mut self, node: NodeId, role: Role) {
        let ordered = Leaving {
            node,
            to: role,
            ordered: true,
        };
        if self.roles.leaving != Some(ordered) {
            self.counters.stale += 1;
            return;
        }
        self.settle_roles();
        self.roles.role[node.index()] = role;
        self.counters.role_switches += 1;
        self.index.clear_node(node);
        self.join(node, role);
    }

    /// The node takes work in the pool of `role`.
    pub(super) fn join(&mut self, node: NodeId, role: Role) {
        match role {
            Role::Prefill => self.prefill_books.node_up(node, self.now),
            Role::Decode => self.decode_books.node_up(node, &self.costs),
            Role::Coupled => {
                self.prefill_books.node_up(node, self.now);
                self.decode_books.node_up(node, &self.costs);
            }
        }
    }

    /// A node is gone: if it was to change it does not, and if the pool that another leaves is now too small, that one
    /// stays.
    pub(super) fn keep_roles(&mut self, gone: NodeId) {
        let (Some(leaving), Some(watch)) = (self.roles.leaving, &self.roles.watch) else {
            return;
        };
        let Leaving { node, to, ordered } = leaving;
        let (from, left) = match to {
            Role::Decode => (Role::Prefill, self.prefill_books.up().len()),
            _ => (Role::Decode, self.decode_books.up().len()),
        };
        if node == gone {
            self.settle_roles();
        } else if !ordered && left < watch.nodes_min() as usize {
            self.settle_roles();
            self.join(node, from);
        }
    }

    fn settle_roles(&mut self) {
        self.roles.leaving = None;
        if let Some(watch) = &mut self.roles.watch {
            watch.settled(self.now);
        }
    }

    /// The two pools as they are: nodes that take work, prefill first.
    fn pools(&self) -> (Pool, Pool) {
        let slo = self.policy.slo;
        let (mut prefill, mut decode) = (Pool::default(), Pool::default());
        for &node in self.prefill_books.up() {
            let queue = self.prefill_books.queue(node, self.now);
            let busy = self.prefill_books.assigned(node) > 0;
            prefill.add(
                Pool::thousandths(queue.0, slo.ttft.0),
                u64::from(busy) * 1000,
            );
        }
        let limit = self.policy.strictest_tbt();
        for &node in self.decode_books.up() {
            let step = self.decode_books.predicted_tbt(node, &self.costs);
            let held = self.decode_books.decoding(node).1;
            let load = Pool::thousandths(step.0, limit.0).max(Pool::thousandths(
                held.0,
                self.decode_books.capacity(node).0,
            ));
            decode.add(load, load);
        }
        (prefill, decode)
    }

    /// The shortest queue, then the fewest transfers, then the lowest number. A node without HBM for KV cannot go.
    fn prefill_node_to_go(&self) -> Option<NodeId> {
        let books = &self.prefill_books;
        let able = |node: &NodeId| self.cluster.nodes[node.index()].hbm_blocks > 0;
        let up = books.up().iter().copied().filter(able);
        up.min_by_key(|&node| {
            let transfers = books.streaming(node) + books.sending(node);
            (books.queue(node, self.now), transfers, node)
        })
    }

    /// The fewest requests, then the fewest tokens reserved, then the lowest number. A node without a cache cannot go,
    /// nor the only one that can hold the largest requests.
    fn decode_node_to_go(&self) -> Option<NodeId> {
        let books = &self.decode_books;
        let up = books.up();
        let able = |&node: &NodeId| {
            let others = up.iter().filter(|&&other| other != node);
            self.cluster.nodes[node.index()].cache_blocks > 0
                && others.map(|&other| books.capacity(other)).max() >= Some(books.capacity(node))
        };
        let able = up.iter().copied().filter(able);
        able.min_by_key(|&node| (books.assigned(node), books.reserved(node), node))
    }
}
