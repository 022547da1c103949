//! Prefill nodes in the loop: delivery, start, chunks, end.

use super::{Copy, Engine, Mode};
use crate::error::SimError;
use crate::queue::Source;
use crate::record::Outcome;
use crate::world::{Chunks, Node, PrefillNode};
use conductor_core::cache::Tier;
use conductor_core::cost::PromptCost;
use conductor_core::event::Event;
use conductor_core::ids::NodeId;
use conductor_core::node::{CacheChanges, PrefillQueue, PrefillRun};
use conductor_core::units::{Nanos, Tokens};
use std::cmp::Reverse;

impl Engine<'_> {
    pub(super) fn prefill_node(&mut self, node: NodeId) -> &mut PrefillNode {
        match &mut self.nodes[node.index()] {
            Node::Prefill(machine) => machine,
            Node::Decode(_) | Node::Coupled(_) => {
                unreachable!("{node} is asked for as a prefill node, as the cluster says it is")
            }
        }
    }

    /// The first dispatched request reaches its node.
    pub(super) fn deliver(&mut self) -> Result<(), SimError> {
        let Reverse((_, request)) = self
            .deliveries
            .pop()
            .expect("a delivery is due only if there is one");
        self.set_delivery();
        let now = self.now;
        let live = self.live_mut(request);
        live.record.moments.delivered = Some(now);
        let node = live.prefill_node;
        if !self.faults.is_alive(node) {
            // It is lost, which the Conductor will find with the node.
            return Ok(());
        }
        if matches!(self.nodes[node.index()], Node::Coupled(_)) {
            return self.deliver_coupled(node, request);
        }
        let live = self.live_mut(request);
        let (input, ticket) = (live.request.input, live.ticket());
        let blocks = std::mem::take(&mut live.request.blocks);
        let awaits = !matches!(live.copy, Copy::Nothing);
        let job = self
            .prefill_node(node)
            .queue
            .enqueue(ticket, input, &blocks, awaits);
        let live = self.live_mut(request);
        live.request.blocks = blocks;
        live.job = Some(job);
        let (first, count) = match &live.copy {
            Copy::Nothing => (0, 0),
            Copy::Sending { first, pins, .. } => (*first, pins.len() as u32),
            Copy::Early { first, count } => (*first, *count),
        };
        let early = matches!(live.copy, Copy::Early { .. });
        if early {
            live.copy = Copy::Nothing;
        }
        let reads = match self.config.cluster.nodes[node.index()].ssd_blocks {
            0 => 0,
            _ => self.prefill_node(node).queue.reads(job, first, count),
        };
        if reads > 0 {
            self.start_read(node, request, reads);
        }
        if early {
            self.keep_copy(request, first, count)?;
        }
        self.start_prefill(node)
    }

    /// The copied blocks are there and go into the node's cache.
    pub(super) fn keep_copy(
        &mut self,
        request: u64,
        first: u32,
        count: u32,
    ) -> Result<(), SimError> {
        let live = self.live_mut(request);
        let (node, job) = (
            live.prefill_node,
            live.job.expect("the request was delivered"),
        );
        self.fetched(node, |queue, changes| {
            queue.copy_arrived(job, first, count, changes);
        })
    }

    /// Blocks have come to a node, which `keep` tells its queue.
    pub(super) fn fetched(
        &mut self,
        node: NodeId,
        keep: impl FnOnce(&mut PrefillQueue, &mut CacheChanges),
    ) -> Result<(), SimError> {
        let mut changes = std::mem::take(&mut self.changes);
        changes.clear();
        keep(&mut self.prefill_node(node).queue, &mut changes);
        self.changes = changes;
        self.report_changes(node)
    }

    /// Lets a node take its next request, a pipeline as soon as its first stage is free.
    pub(super) fn start_prefill(&mut self, node: NodeId) -> Result<(), SimError> {
        let now = self.now;
        loop {
            let machine = self.prefill_node(node);
            if machine.stages[0] > now {
                break;
            }
            let Some(run) = machine.queue.start() else {
                break;
            };
            self.start_run(node, &run)?;
        }
        self.set_prefill(node);
        Ok(())
    }

    /// The node's next event: the end of what it computes, or its first stage is free for who waits.
    fn set_prefill(&mut self, node: NodeId) {
        let now = self.now;
        let machine = self.prefill_node(node);
        let first = machine.running.front();
        let end = first.map(|run| *run.ends.last().expect("at least one token is computed"));
        let free = machine.stages[0];
        let waits = free > now && machine.stages.len() > 1 && machine.queue.has_ready();
        let free = waits.then_some(free);
        let next = end.into_iter().chain(free).min();
        self.queue.set(Source::Node(node), next);
    }

    fn start_run(&mut self, node: NodeId, run: &PrefillRun) -> Result<(), SimError> {
        let request = run.ticket.request.0;
        let (now, mode) = (self.now, self.config.mode);
        let tries = self.live_mut(request).record.tries;
        let Node::Prefill(machine) = &mut self.nodes[node.index()] else {
            unreachable!("{node} is asked for as a prefill node, as the cluster says it is")
        };
        // The first chunk bears the fixed cost; the others cost what they add.
        let in_hbm = self.config.cluster.block * u64::from(run.hits[Tier::Hbm as usize]);
        let loaded = run.cached.saturating_sub(in_hbm);
        let slow = self.faults.slowness(node);
        let end_of = |end| {
            let time = self.truth.prefill(node, run, end, loaded);
            now + Nanos(slow.of(time.0))
        };
        let (finish, ends) = match (self.truth.prompt_cost(node), mode) {
            (PromptCost::Pipelined(pipeline), _) => {
                let stages = &mut machine.stages;
                let how = (&pipeline, loaded, slow);
                let end = self.truth.pipelined(node, run, how, now, stages);
                (end, vec![end])
            }
            (_, Mode::FastForward) => {
                let end = end_of(run.input);
                (end, vec![end])
            }
            (_, Mode::StepByStep) => {
                let mut ends: Vec<_> = run.chunk_ends().map(end_of).collect();
                ends.reverse();
                (ends[0], ends)
            }
        };
        machine.running.push_back(Chunks {
            job: run.job,
            ticket: run.ticket,
            tries,
            in_vain: false,
            ends,
        });
        let hit = Tokens(
            (self.config.cluster.block * u64::from(run.hit_blocks))
                .0
                .min(run.input.0),
        );
        let load = self.truth.load(node, loaded);
        self.result.tiers.took(Tier::Dram, load);
        let blocks = run.input.blocks(self.config.cluster.block);
        self.result.tiers.count(u64::from(blocks), run.hits);
        self.tokens.input_tokens += run.input.0;
        self.tokens.hit_tokens += hit.0;
        let record = &mut self.live_mut(request).record;
        record.moments.started = Some(now);
        (record.hit, record.hit_blocks, record.prefill) = (hit, run.hit_blocks, finish - now);
        self.start_stream(request, finish - now);
        self.tell(&Event::PrefillStarted {
            ticket: run.ticket,
            cached: run.cached,
        })
    }

    /// A chunk is computed; with the last one the first token is there. Or the first stage of a pipeline is free.
    pub(super) fn prefill_due(&mut self, node: NodeId) -> Result<(), SimError> {
        let now = self.now;
        let machine = self.prefill_node(node);
        let first = machine.running.front_mut().expect("a due node runs");
        let ends = first.ends.last().is_some_and(|&end| end == now);
        if ends {
            first.ends.pop();
        }
        if !ends || !first.ends.is_empty() {
            return self.start_prefill(node);
        }
        let (job, ticket, tries, in_vain) = (first.job, first.ticket, first.tries, first.in_vain);
        let request = ticket.request.0;
        let mut changes = std::mem::take(&mut self.changes);
        changes.clear();
        let machine = self.prefill_node(node);
        machine.running.pop_front();
        let finished = machine.queue.finish(&mut changes);
        debug_assert_eq!(finished, job);
        self.changes = changes;
        self.report_changes(node)?;
        if in_vain {
            self.prefill_node(node).queue.release(job);
            self.faults.counts.in_vain += 1;
            // Attempts are counted anew with each try: of an earlier one nothing is said.
            if self
                .live(request)
                .is_none_or(|live| live.record.tries == tries)
            {
                self.tell(&Event::PrefillFinished { ticket })?;
            }
            return self.start_prefill(node);
        }
        self.tell(&Event::PrefillFinished { ticket })?;
        let now = self.now;
        let live = self.live_mut(request);
        live.record.ttft = Some(now - live.record.arrival);
        live.first_token = now;
        if live.request.output == Tokens(1) {
            // The first token is the whole answer: nothing has to be decoded, and no KV has to arrive.
            let stream = live.stream.take();
            live.record.decode = Some(Nanos::ZERO);
            live.record.outcome = Outcome::Completed;
            if let Some(stream) = stream {
                self.network.end(now, stream);
            }
            self.prefill_node(node).queue.release(job);
            self.tell(&Event::Finished {
                ticket,
                output: Tokens(1),
                tbt: None,
            })?;
            self.close(request);
        } else {
            self.finish_stream(request);
        }
        self.start_prefill(node)
    }

    /// The request's KV has left: its blocks can go when room is needed.
    pub(super) fn release_prefill(&mut self, request: u64) {
        let live = self.live_mut(request);
        let (node, job) = (
            live.prefill_node,
            live.job.take().expect("the request was delivered"),
        );
        self.prefill_node(node).queue.release(job);
    }
}
