//! What nodes say of their caches: each change, and the whole where a change may have been lost.

use super::Engine;
use crate::error::SimError;
use crate::faults::{Fate, Report};
use crate::world::Node;
use conductor_core::event::Event;
use conductor_core::ids::{BlockHash, NodeId};

impl Engine<'_> {
    /// Tells the Conductor what the node's cache gained and lost.
    pub(super) fn report_changes(&mut self, node: NodeId) -> Result<(), SimError> {
        let changes = std::mem::take(&mut self.changes);
        if changes.written > 0 {
            self.start_write(node, changes.written);
        }
        for (stored, blocks) in [(false, &changes.evicted), (true, &changes.stored)] {
            if !blocks.is_empty() {
                self.report(node, stored, blocks)?;
            }
        }
        self.changes = changes;
        Ok(())
    }

    fn report(&mut self, node: NodeId, stored: bool, blocks: &[BlockHash]) -> Result<(), SimError> {
        if self.faults.on() {
            let kept = || Report {
                stored,
                blocks: blocks.to_vec(),
            };
            match self.faults.send(self.now, node, kept) {
                Fate::Arrives => {}
                Fate::Late | Fate::Lost => return Ok(()),
            }
        }
        let blocks = blocks.into();
        self.tell(&match stored {
            true => Event::BlocksStored { node, blocks },
            false => Event::BlocksEvicted { node, blocks },
        })
    }

    /// A late report comes.
    pub(super) fn late_report(&mut self, node: NodeId, number: u64) -> Result<(), SimError> {
        let Some(Report { stored, blocks }) = self.faults.receive_late(self.now, node, number)
        else {
            return Ok(());
        };
        let blocks = blocks.into();
        self.tell(&match stored {
            true => Event::BlocksStored { node, blocks },
            false => Event::BlocksEvicted { node, blocks },
        })
    }

    /// A node reports all that it has, if it has a cache and is there.
    pub(super) fn report_cache(&mut self, node: NodeId) -> Result<(), SimError> {
        let blocks: Vec<BlockHash> = match &self.nodes[node.index()] {
            Node::Prefill(machine) => machine.queue.cache().blocks().collect(),
            Node::Coupled(machine) => machine.batch.cache().blocks().collect(),
            Node::Decode(_) => return Ok(()),
        };
        if !self.faults.is_alive(node) {
            return Ok(());
        }
        self.faults.void_reports(node);
        self.tell(&Event::CacheReported {
            node,
            blocks: blocks.into(),
        })
    }
}
