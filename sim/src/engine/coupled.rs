//! Coupled nodes in the loop: delivery, passes and steps, first tokens, ends.

use super::{Engine, Mode};
use crate::error::SimError;
use crate::queue::Source;
use crate::world::{CoupledNode, Node, Steps};
use conductor_core::cache::Tier;
use conductor_core::event::Event;
use conductor_core::ids::NodeId;
use conductor_core::steps::StepRun;
use conductor_core::units::{Nanos, Tokens};

impl Engine<'_> {
    pub(super) fn coupled_node(&mut self, node: NodeId) -> &mut CoupledNode {
        match &mut self.nodes[node.index()] {
            Node::Coupled(machine) => machine,
            Node::Prefill(_) | Node::Decode(_) => {
                unreachable!("{node} is asked for as a coupled node, as the cluster says it is")
            }
        }
    }

    /// How often a request has lost its KV, on all nodes.
    pub(super) fn recomputed(&self) -> u64 {
        let machines = self.nodes.iter().filter_map(|node| match node {
            Node::Coupled(machine) => Some(machine.batch.recomputed()),
            Node::Prefill(_) | Node::Decode(_) => None,
        });
        machines.sum()
    }

    /// A dispatched request reaches its node. Steps that are under way end at the next one, so that it can be taken in.
    pub(super) fn deliver_coupled(&mut self, node: NodeId, request: u64) -> Result<(), SimError> {
        let now = self.now;
        let live = self.live_mut(request);
        let (input, output, ticket) = (live.request.input, live.request.output, live.ticket());
        let blocks = std::mem::take(&mut live.request.blocks);
        let machine = self.coupled_node(node);
        let place = machine.batch.enqueue(ticket, input, output, &blocks);
        let cut = machine.running.as_mut().map(|running| {
            running.steps = running.steps.min(running.complete(now) + 1);
            running.ends_at()
        });
        let live = self.live_mut(request);
        live.request.blocks = blocks;
        live.place = Some(place);
        match cut {
            Some(end) => self.queue.set(Source::Node(node), Some(end)),
            None => self.start_coupled(node)?,
        }
        Ok(())
    }

    /// A pass or a run of steps is over.
    pub(super) fn coupled_due(&mut self, node: NodeId) -> Result<(), SimError> {
        let mut news = std::mem::take(&mut self.news);
        news.clear();
        let machine = self.coupled_node(node);
        let running = machine.running.take().expect("a due node runs");
        let steps = running.steps;
        // Beside a pass with pieces the batch may have grown by a step that was priced with them.
        let left = machine.priced.filter(|(_, run)| steps < run.steps);
        machine.priced = match machine.batch.pieces().is_empty() {
            true => left.map(|(composition, run)| (composition, run.after(steps))),
            false => None,
        };
        machine
            .batch
            .finish(running.started, running.run, steps, &mut news);
        self.news = news;
        self.queue.set(Source::Node(node), None);
        self.report_news(node)?;
        self.start_coupled(node)
    }

    /// Starts the next pass or run of steps, if there is anything to do.
    fn start_coupled(&mut self, node: NodeId) -> Result<(), SimError> {
        let (now, mode) = (self.now, self.config.mode);
        let mut news = std::mem::take(&mut self.news);
        news.clear();
        let Node::Coupled(machine) = &mut self.nodes[node.index()] else {
            unreachable!("{node} is asked for as a coupled node, as the cluster says it is")
        };
        if let Some(planned) = machine.batch.start(&mut news) {
            if mode == Mode::StepByStep {
                machine.batch.check();
            }
            let (batch, context) = (planned.batch, planned.context);
            let composition = machine.batch.composition();
            let slow = self.faults.slowness(node);
            let (run, steps) = match machine.batch.first_piece() {
                Some(ticket) => {
                    let pieces = machine.batch.pieces();
                    let time = self.truth.pass(node, ticket, pieces, batch, context);
                    (StepRun::once(Nanos(slow.of(time.0))), 1)
                }
                None => {
                    let priced = machine.priced.filter(|priced| priced.0 == composition);
                    let run = match priced {
                        Some((_, run)) => run,
                        None => {
                            let run = self.truth.decode(node, composition, batch, context);
                            slow.of_run(run)
                        }
                    };
                    machine.priced = Some((composition, run));
                    match mode {
                        Mode::FastForward => (run, planned.steps.min(run.steps)),
                        Mode::StepByStep => (run, 1),
                    }
                }
            };
            let running = Steps {
                started: now,
                run,
                steps,
            };
            machine.running = Some(running);
            self.queue.set(Source::Node(node), Some(running.ends_at()));
        }
        self.news = news;
        self.report_news(node)
    }

    /// Tells the Conductor what has happened on a node.
    fn report_news(&mut self, node: NodeId) -> Result<(), SimError> {
        let now = self.now;
        std::mem::swap(&mut self.changes, &mut self.news.cache);
        self.report_changes(node)?;
        std::mem::swap(&mut self.changes, &mut self.news.cache);
        for i in 0..self.news.started.len() {
            let started = self.news.started[i];
            let block = self.config.cluster.block;
            let live = self.live_mut(started.ticket.request.0);
            live.begun = now;
            live.record.moments.started = Some(now);
            let input = live.request.input;
            let hit = Tokens((block * u64::from(started.hit_blocks)).0.min(input.0));
            (live.record.hit, live.record.hit_blocks) = (hit, started.hit_blocks);
            let mut hits = [0; Tier::ALL.len()];
            hits[Tier::Hbm as usize] = started.hit_blocks;
            self.result
                .tiers
                .count(u64::from(input.blocks(block)), hits);
            self.tokens.input_tokens += input.0;
            self.tokens.hit_tokens += hit.0;
            self.tell(&Event::PrefillStarted {
                ticket: started.ticket,
                cached: started.cached,
            })?;
        }
        for i in 0..self.news.first.len() {
            let ticket = self.news.first[i];
            self.tell(&Event::PrefillFinished { ticket })?;
            let live = self.live_mut(ticket.request.0);
            live.record.ttft = Some(now - live.record.arrival);
            live.record.prefill = now - live.begun;
            live.first_token = now;
        }
        std::mem::swap(&mut self.ended, &mut self.news.ended);
        self.report_ended()
    }
}
