//! Prefill nodes in the loop: delivery, start, chunks, end.

use super::{Copy, Engine, Mode};
use crate::error::SimError;
use crate::queue::Source;
use crate::record::Outcome;
use crate::world::{Chunks, Node, PrefillNode};
use conductor_core::event::Event;
use conductor_core::ids::NodeId;
use conductor_core::units::{Nanos, Tokens};
use std::cmp::Reverse;

impl Engine<'_> {
    pub(super) fn prefill_node(&mut self, node: NodeId) -> &mut PrefillNode {
        match &mut self.nodes[node.index()] {
            Node::Prefill(machine) => machine,
            Node::Decode(_) => {
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
        let live = self.live_mut(request);
        let node = live.prefill_node;
        let (input, ticket) = (live.request.input, live.ticket());
        if !self.faults.is_alive(node) {
            // It is lost, which the Conductor will find with the node.
            return Ok(());
        }
        let live = self.live_mut(request);
        let blocks = std::mem::take(&mut live.request.blocks);
        let awaits = !matches!(live.copy, Copy::Nothing);
        let job = self
            .prefill_node(node)
            .queue
            .enqueue(ticket, input, &blocks, awaits);
        let live = self.live_mut(request);
        live.request.blocks = blocks;
        live.job = Some(job);
        if let Copy::Early { first, count } = live.copy {
            live.copy = Copy::Nothing;
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
        let mut changes = std::mem::take(&mut self.changes);
        changes.clear();
        self.prefill_node(node)
            .queue
            .copy_arrived(job, first, count, &mut changes);
        self.changes = changes;
        self.report_changes(node)
    }

    /// Lets an idle node take its next request.
    pub(super) fn start_prefill(&mut self, node: NodeId) -> Result<(), SimError> {
        let Some(run) = self.prefill_node(node).queue.start() else {
            return Ok(());
        };
        let request = run.ticket.request.0;
        let (now, mode) = (self.now, self.config.mode);
        // The first chunk bears the fixed cost; the others cost what they add.
        let slow = self.faults.slowness(node);
        let end_of = |end: Tokens| {
            let time = self.truth.prefill(node, run.ticket, end, run.cached);
            now + Nanos(slow.of(time.0))
        };
        let finish = end_of(run.input);
        let ends = match mode {
            Mode::FastForward => vec![finish],
            Mode::StepByStep => {
                let mut ends: Vec<_> = run.chunk_ends().map(end_of).collect();
                ends.reverse();
                ends
            }
        };
        let first = *ends.last().expect("at least one token is computed");
        let tries = self.live_mut(request).record.tries;
        self.prefill_node(node).running = Some(Chunks {
            job: run.job,
            ticket: run.ticket,
            tries,
            in_vain: false,
            ends,
        });
        self.queue.set(Source::Node(node), Some(first));
        let hit = Tokens(
            (self.config.cluster.block * u64::from(run.hit_blocks))
                .0
                .min(run.input.0),
        );
        self.tokens.input_tokens += run.input.0;
        self.tokens.hit_tokens += hit.0;
        let record = &mut self.live_mut(request).record;
        (record.hit, record.hit_blocks, record.prefill) = (hit, run.hit_blocks, finish - now);
        self.start_stream(request, finish - now);
        self.tell(&Event::PrefillStarted {
            ticket: run.ticket,
            cached: run.cached,
        })
    }

    /// A chunk is computed; with the last one the first token is there.
    pub(super) fn prefill_due(&mut self, node: NodeId) -> Result<(), SimError> {
        let running = self
            .prefill_node(node)
            .running
            .as_mut()
            .expect("a due node runs");
        running.ends.pop();
        if let Some(&end) = running.ends.last() {
            self.queue.set(Source::Node(node), Some(end));
            return Ok(());
        }
        let (job, ticket, tries, in_vain) =
            (running.job, running.ticket, running.tries, running.in_vain);
        let request = ticket.request.0;
        let mut changes = std::mem::take(&mut self.changes);
        changes.clear();
        let machine = self.prefill_node(node);
        machine.running = None;
        let finished = machine.queue.finish(&mut changes);
        debug_assert_eq!(finished, job);
        self.changes = changes;
        self.queue.set(Source::Node(node), None);
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
