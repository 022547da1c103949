//! Decode nodes in the loop: loads, joins, runs of steps, ends.

use super::{Engine, Mode};
use crate::error::SimError;
use crate::queue::Source;
use crate::record::Outcome;
use crate::world::{DecodeNode, Node, Steps};
use conductor_core::event::Event;
use conductor_core::ids::NodeId;
use conductor_core::node::{Room, Sequence, SequenceId};

impl Engine<'_> {
    pub(super) fn decode_node(&mut self, node: NodeId) -> &mut DecodeNode {
        match &mut self.nodes[node.index()] {
            Node::Decode(machine) => machine,
            Node::Prefill(_) | Node::Coupled(_) => {
                unreachable!("{node} is asked for as a decode node, as the cluster says it is")
            }
        }
    }

    /// A sequence's KV is complete in the node's DRAM. If the policy says so, the node's own scheduler checks
    /// once more
    /// whether it can take it within the limit; if not, the prefill was in vain.
    pub(super) fn offer(&mut self, node: NodeId, sequence: Sequence) -> Result<(), SimError> {
        let now = self.now;
        let check = self.config.policy.admission.decode_check();
        let cluster = &self.config.cluster;
        let (spec, cost) = (&cluster.nodes[node.index()], self.estimate.of(node));
        let room = Room::new(&self.config.policy, cluster.block, spec, cost);
        let Node::Decode(machine) = &mut self.nodes[node.index()] else {
            unreachable!("{node} is asked for as a decode node, as the cluster says it is")
        };
        let complete = machine.running.map_or(0, |running| running.complete(now));
        let accepted = check.is_none_or(|load| {
            let room = room.at_load(load);
            machine.batch.accepts(complete, sequence.context, &room)
        });
        if !accepted {
            let ticket = sequence.ticket;
            return self.tell(&Event::Refused { ticket });
        }
        let request = sequence.ticket.request.0;
        let id = machine.batch.offer(sequence);
        self.live_mut(request).sequence = Some(id);
        self.start_loads(node);
        Ok(())
    }

    /// Gives HBM to who waits, as far as there is room. A run that is under way may have to end sooner: the batch has
    /// less to grow into.
    pub(super) fn start_loads(&mut self, node: NodeId) {
        let now = self.now;
        let machine = self.decode_node(node);
        let complete = machine.running.map_or(0, |running| running.complete(now));
        let mut loads = Vec::new();
        while let Some(load) = machine.batch.next_load(complete) {
            loads.push(load);
        }
        if loads.is_empty() {
            return;
        }
        if let Some(running) = &mut machine.running {
            running.steps = running.steps.min(machine.batch.room().max(complete + 1));
            let end = running.ends_at();
            self.queue.set(Source::Node(node), Some(end));
        }
        for (sequence, tokens) in loads {
            self.start_load(node, sequence, tokens);
        }
    }

    /// A sequence is in HBM: it joins at the next step.
    pub(super) fn load_ended(
        &mut self,
        node: NodeId,
        sequence: SequenceId,
    ) -> Result<(), SimError> {
        let now = self.now;
        let machine = self.decode_node(node);
        let request = machine.batch.ticket(sequence).request.0;
        self.live_mut(request).load = None;
        let machine = self.decode_node(node);
        machine.batch.loaded(sequence);
        let request = machine.batch.ticket(sequence).request.0;
        let moments = &mut self.live_mut(request).record.moments;
        // One that is put back to wait is loaded again.
        moments.loaded.get_or_insert(now);
        match &mut self.decode_node(node).running {
            None => self.start_steps(node),
            Some(running) => {
                running.steps = running.steps.min(running.complete(now) + 1);
                let end = running.ends_at();
                self.queue.set(Source::Node(node), Some(end));
                Ok(())
            }
        }
    }

    /// A run of steps is over.
    pub(super) fn decode_due(&mut self, node: NodeId) -> Result<(), SimError> {
        let mut ended = std::mem::take(&mut self.ended);
        ended.clear();
        let machine = self.decode_node(node);
        let running = machine.running.take().expect("a due node runs");
        machine.priced = machine
            .priced
            .filter(|(_, run)| running.steps < run.steps)
            .map(|(composition, run)| (composition, run.after(running.steps)));
        machine
            .batch
            .finish(running.started, running.run, running.steps, &mut ended);
        self.ended = ended;
        self.queue.set(Source::Node(node), None);
        self.report_ended()?;
        self.start_loads(node);
        self.start_steps(node)
    }

    /// Starts the next run of steps, if there is a batch.
    fn start_steps(&mut self, node: NodeId) -> Result<(), SimError> {
        let (now, mode) = (self.now, self.config.mode);
        let mut ended = std::mem::take(&mut self.ended);
        ended.clear();
        let machine = self.decode_node(node);
        let planned = machine.batch.start(&mut ended);
        let composition = machine.batch.composition();
        let priced = machine.priced.filter(|priced| priced.0 == composition);
        self.ended = ended;
        if let Some(planned) = planned {
            let run = priced.map_or_else(
                || {
                    let (batch, context) = (planned.batch, planned.context);
                    let run = self.truth.decode(node, composition, batch, context);
                    self.faults.slowness(node).of_run(run)
                },
                |(_, run)| run,
            );
            let steps = match mode {
                Mode::FastForward => planned.steps.min(run.steps),
                Mode::StepByStep => 1,
            };
            let running = Steps {
                started: now,
                run,
                steps,
            };
            self.queue.set(Source::Node(node), Some(running.ends_at()));
            let machine = self.decode_node(node);
            machine.running = Some(running);
            machine.priced = Some((composition, run));
        }
        let gave_up = !self.ended.is_empty();
        self.report_ended()?;
        if gave_up && planned.is_none() {
            // What was given up has left room for who waits.
            self.start_loads(node);
        }
        Ok(())
    }

    /// Tells the Conductor who has left, and closes their records.
    pub(super) fn report_ended(&mut self) -> Result<(), SimError> {
        let ended = std::mem::take(&mut self.ended);
        for &conductor_core::node::Ended {
            ticket,
            complete,
            tbt,
        } in &ended
        {
            let now = self.now;
            let request = ticket.request.0;
            let live = self.live_mut(request);
            (live.sequence, live.place) = (None, None);
            live.record.tbt = tbt;
            live.record.decode = Some(now - live.first_token);
            let output = live.request.output;
            if complete {
                live.record.outcome = Outcome::Completed;
                self.tell(&Event::Finished {
                    ticket,
                    output,
                    tbt,
                })?;
                self.close(request);
            } else {
                self.tell(&Event::Refused { ticket })?;
            }
        }
        self.ended = ended;
        Ok(())
    }
}
