//! Attempts that are given up: whatever is in the air for them stops at once, so that no fact of an old attempt can be
//! taken for one of the next. What cannot be stopped is told apart by the ticket: a prefill that is under way is
//! computed to its end (its blocks stay in the cache), and its end is a stale fact to the Conductor.
//!
//! Then the request is given in again, with the next attempt, when the event that led to it is over. If no node can
//! take it then it comes again when the Conductor says so: it was taken in once, and is not turned away for want of a
//! node, unless it has had none for as long as the policy lets it wait.

use super::{Away, Copy, Engine, Live};
use crate::error::SimError;
use crate::queue::Source;
use crate::world::Node;
use conductor_core::ids::RequestId;
use conductor_core::units::Nanos;

/// So long after the last fault nobody should still look for a node.
const DAY: Nanos = Nanos::from_secs(86_400);

impl Engine<'_> {
    /// A request that is in the system, or whose client waits.
    pub(super) fn live(&self, request: u64) -> Option<&Live> {
        let place = request.checked_sub(self.base)? as usize;
        self.live.get(place)?.as_ref()
    }

    /// All requests that are in the system or whose clients wait, by number.
    pub(super) fn all_live(&self) -> impl Iterator<Item = (u64, &Live)> {
        let live = self.live.iter().enumerate();
        live.filter_map(|(i, live)| Some((self.base + i as u64, live.as_ref()?)))
    }

    /// Stops all work for a request.
    pub(super) fn abort(&mut self, request: u64) {
        self.deliveries
            .retain(|&std::cmp::Reverse((_, other))| other != request);
        self.set_delivery();
        self.end_copy(request);
        self.end_stream(request);
        self.leave_decode(request);
        self.leave_prefill(request);
        self.leave_coupled(request);
    }

    /// Ends the copy of blocks to the request's prefill node, if there is one; what is sent is free again.
    pub(super) fn end_copy(&mut self, request: u64) {
        let now = self.now;
        let live = self.live_mut(request);
        let Copy::Sending {
            flow, from, pins, ..
        } = std::mem::take(&mut live.copy)
        else {
            return;
        };
        live.stalled = None;
        self.network.end(now, flow);
        // A sender that crashed has nothing left to be freed.
        if self.faults.is_alive(from)
            && let Node::Prefill(sender) = &mut self.nodes[from.index()]
        {
            sender.queue.unpin_copy(&pins);
        }
    }

    /// Ends the transfer of the request's KV, if there is one.
    pub(super) fn end_stream(&mut self, request: u64) {
        let now = self.now;
        let live = self.live_mut(request);
        if let Some(stream) = live.stream.take() {
            live.stalled = None;
            self.network.end(now, stream);
        }
    }

    /// Takes the request off its decode node; in the batch, with the end of the step.
    fn leave_decode(&mut self, request: u64) {
        let now = self.now;
        let live = self.live_mut(request);
        let (node, load) = (live.decode_node, live.load.take());
        let Some(sequence) = live.sequence.take() else {
            return;
        };
        if let Some(load) = load {
            self.network.end(now, load);
        }
        let machine = self.decode_node(node);
        let in_batch = machine.batch.cancel(sequence);
        if let (true, Some(running)) = (in_batch, &mut machine.running) {
            running.steps = running.steps.min(running.complete(now) + 1);
            let end = running.ends_at();
            self.queue.set(Source::Node(node), Some(end));
        }
        if !in_batch {
            self.start_loads(node);
        }
    }

    /// Takes the request off its prefill node, or lets it be computed for nobody.
    fn leave_prefill(&mut self, request: u64) {
        let live = self.live_mut(request);
        let (node, job) = (live.prefill_node, live.job.take());
        let Some(job) = job else {
            return;
        };
        if let Some(read) = self.live_mut(request).read.take() {
            self.network.end(self.now, read);
        }
        let machine = self.prefill_node(node);
        match machine.running.iter_mut().find(|run| run.job == job) {
            Some(running) => running.in_vain = true,
            None if machine.queue.cancel(job) => {}
            None => machine.queue.release(job),
        }
    }

    /// Takes the request off its coupled node; what is under way goes on to the end of its step.
    fn leave_coupled(&mut self, request: u64) {
        let now = self.now;
        let live = self.live_mut(request);
        let (node, place) = (live.prefill_node, live.place.take());
        let Some(place) = place else {
            return;
        };
        let machine = self.coupled_node(node);
        machine.batch.cancel(place);
        // Whoever it was, somebody else may now be taken in with the next step.
        if let Some(running) = &mut machine.running {
            running.steps = running.steps.min(running.complete(now) + 1);
            let end = running.ends_at();
            self.queue.set(Source::Node(node), Some(end));
        }
    }

    /// Gives the requests in again whose attempts were lost, in the order in which that was ordered.
    pub(super) fn give_in_again(&mut self) -> Result<(), SimError> {
        while let Some(request) = self.again.pop_front() {
            self.faults.counts.resubmitted += 1;
            self.faults.counts.last_lost = self.now;
            let live = self.live_mut(request);
            live.record.next_attempt();
            live.attempt += 1;
            live.away = None;
            self.put(RequestId(request))?;
        }
        Ok(())
    }

    /// A request comes again that could not be placed when its attempt was lost: as the same attempt, which was never
    /// made.
    pub(super) fn come_back(&mut self, id: RequestId) -> Result<(), SimError> {
        match self.live(id.0) {
            Some(live) if live.away == Some(Away::Lost) => {
                // Where nothing is broken any more there is room some day.
                if self.now > self.faults.plan.healed() + DAY {
                    return Err(self.deadlock());
                }
                self.live_mut(id.0).away = None;
                self.put(id)
            }
            _ => Ok(()),
        }
    }
}
