//! The Conductor starts anew, with nothing in its memory, and rebuilds its picture from the nodes.
//!
//! The protocol, as small as can be right:
//!
//! 1. The sessions between nodes and the old Conductor end with it. A node gives up all that it was doing for it and
//!    keeps its cache; one that had another role than the cluster file says starts anew with that.
//! 2. The new Conductor hears `Restarted`, then `NodeUp` of every node that is there, each with its whole cache.
//! 3. Whoever holds the clients' connections gives all requests that were taken in and not answered in again, in order
//!    of their numbers, as their next attempts.
//!
//! Nothing is taken over in flight: what that would save is the work of the attempts, but a prompt's blocks that were
//! computed are in caches, and decoding must be able to begin again anyway, because nodes crash.
//!
//! The restart takes no time here: requests that come meanwhile would only wait.

use super::Engine;
use crate::error::SimError;
use conductor_core::event::Event;
use conductor_core::ids::NodeId;

impl Engine<'_> {
    pub(super) fn restart_conductor(&mut self) -> Result<(), SimError> {
        self.faults.counts.conductor_restarts += 1;
        let inside = self.all_live().filter(|(_, live)| live.away.is_none());
        let inside: Vec<u64> = inside.map(|(request, _)| request).collect();
        for &request in &inside {
            self.abort(request);
        }
        self.switches.clear();
        let nodes = (0..self.nodes.len() as u16).map(NodeId);
        for node in nodes.clone() {
            let role = self.config.cluster.nodes[node.index()].role;
            if self.conductor.role(node) != Some(role) {
                self.replace(node, role);
            }
        }
        self.tell(&Event::Restarted)?;
        for node in nodes
            .filter(|&node| self.faults.is_alive(node))
            .collect::<Vec<_>>()
        {
            self.tell(&Event::NodeUp { node })?;
            self.report_cache(node)?;
        }
        self.again.extend(inside);
        Ok(())
    }
}
