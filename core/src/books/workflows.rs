//! Workflows: sessions of an agent whose steps share one limit.
//!
//! A workflow begins with the arrival of its first admitted step, and its limit counts from then. When the table is
//! full the oldest is forgotten; a later step of it begins it anew.

use crate::ids::WorkflowId;
use crate::map::Map;
use crate::units::Nanos;
use alloc::collections::VecDeque;

/// When each workflow began.
#[derive(Debug)]
pub struct Workflows {
    began: Map<Nanos>,
    /// In order of their beginning, the oldest first.
    order: VecDeque<WorkflowId>,
    most: usize,
}

impl Workflows {
    /// None, with room for `most`.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            began: Map::with_capacity(16),
            order: VecDeque::new(),
            most: most.max(1),
        }
    }

    /// When the workflow began, if it is known.
    #[must_use]
    pub fn began(&self, workflow: WorkflowId) -> Option<Nanos> {
        self.began.get(workflow.0)
    }

    /// A step of the workflow was admitted; if it is the first, the workflow began with its arrival.
    pub fn step(&mut self, workflow: WorkflowId, arrived: Nanos) {
        if self.began(workflow).is_some() {
            return;
        }
        if self.order.len() == self.most
            && let Some(oldest) = self.order.pop_front()
        {
            self.began.remove(oldest.0);
        }
        self.began.keep_room_for(self.order.len() + 1);
        self.began.insert_new(workflow.0, arrived);
        self.order.push_back(workflow);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_step_counts_and_the_oldest_is_forgotten() {
        let mut workflows = Workflows::new(2);
        for (id, at) in [(1, 10), (1, 20), (2, 30), (3, 40)] {
            workflows.step(WorkflowId(id), Nanos(at));
        }
        let began = [1, 2, 3].map(|id| workflows.began(WorkflowId(id)));
        assert_eq!(began, [None, Some(Nanos(30)), Some(Nanos(40))]);
    }
}
