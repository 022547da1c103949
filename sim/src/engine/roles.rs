//! Nodes that change their role: the machine of one kind is replaced by an idle one of the other.
//!
//! It takes no time: both kinds run the same model from the same weights, and what a change costs is the draining,
//! which the Conductor has seen to. An order is carried out when the event that led to it is over, because its rest may
//! still tidy up on the node: give back pins, look for the next request.
//!
//! Not here: which node changes and when (the core's).

use super::Engine;
use crate::error::SimError;
use crate::world::Node;
use conductor_core::config::Role;
use conductor_core::event::Event;
use conductor_core::ids::NodeId;
use conductor_core::units::Nanos;

/// A node that has changed its role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleChange {
    /// When.
    pub at: Nanos,
    /// Which.
    pub node: NodeId,
    /// What it does from then on.
    pub role: Role,
}

impl Engine<'_> {
    /// Carries out the switches that were ordered, and says so.
    pub(super) fn change_roles(&mut self) -> Result<(), SimError> {
        for _ in 0..self.switches.len() {
            let Some((node, role)) = self.switches.pop_front() else {
                break;
            };
            if !self.faults.is_alive(node) {
                continue;
            }
            if !self.nodes[node.index()].is_idle() {
                assert!(self.faults.on(), "{node} is empty when it is switched");
                // It computes for nobody; when that is over it is empty.
                self.switches.push_back((node, role));
                continue;
            }
            self.replace(node, role);
            let at = self.now;
            self.result.role_changes.push(RoleChange { at, node, role });
            self.tell(&Event::RoleChanged { node, role })?;
        }
        Ok(())
    }
}

impl Node {
    /// True if it has no work.
    fn is_idle(&self) -> bool {
        match self {
            Self::Prefill(node) => node.running.is_empty() && node.queue.queued() == 0,
            Self::Coupled(node) => node.running.is_none() && node.batch.is_idle(),
            Self::Decode(node) => {
                let batch = &node.batch;
                node.running.is_none() && batch.batch() + batch.waiting() == 0 && !batch.has_ready()
            }
        }
    }
}
