//! Requests in the loop: arrival, another try, end.
//!
//! To the Conductor each try is a request that arrives: it is admitted like any other, and the try before it has ended.

use super::{Away, Copy, Engine, Live, Progress};
use crate::error::SimError;
use crate::faults::Timer;
use crate::queue::Source;
use crate::record::RequestRecord;
use conductor_core::config::ClassLimits;
use conductor_core::event::Event;
use conductor_core::ids::{NodeId, RequestId};
use conductor_core::units::Nanos;
use conductor_core::workload::WorkloadRequest;

impl Engine<'_> {
    /// Takes the workload's next request, which arrives no earlier than `previous`.
    pub(super) fn next_arrival(
        &mut self,
        requests: &mut dyn Iterator<Item = Result<WorkloadRequest, SimError>>,
        previous: Nanos,
    ) -> Result<Option<WorkloadRequest>, SimError> {
        let next = requests.next().transpose()?;
        if let Some(request) = &next
            && request.arrival < previous
            && self.config.closed_loop.is_none()
        {
            let row = self.arrived + 1;
            return Err(SimError::ArrivalsGoBack {
                row,
                at: request.arrival,
                previous,
            });
        }
        self.queue.set(Source::Arrival, self.due(next.as_ref()));
        Ok(next)
    }

    /// When the workload's next request arrives, as far as that is known: in a closed loop it is not while as many
    /// are there as may be. A client that waits to try again has not been answered and counts as there.
    pub(super) fn due(&self, next: Option<&WorkloadRequest>) -> Option<Nanos> {
        match self.config.closed_loop {
            None => next.map(|request| request.arrival),
            Some(most) => next
                .filter(|_| self.unfinished < most.get() as usize)
                .map(|_| self.now),
        }
    }

    /// A request arrives for the first time.
    pub(super) fn arrive(&mut self, request: WorkloadRequest) -> Result<(), SimError> {
        let id = RequestId(self.arrived);
        let record = RequestRecord::new(id, &request);
        self.arrived += 1;
        if self.observer.records.is_none() {
            // Its place among the records; filled in again when it ends.
            self.result.records.push(record);
        }
        let (prefill_node, decode_node) = (NodeId(0), NodeId(0));
        self.live.push_back(Some(Live {
            request,
            prefill_node,
            decode_node,
            attempt: 0,
            job: None,
            stream: None,
            sequence: None,
            place: None,
            read: None,
            load: None,
            copy: Copy::Nothing,
            begun: Nanos::ZERO,
            first_token: Nanos::ZERO,
            stalled: None,
            away: None,
            nowhere: None,
            retry_after: None,
            asked: self.now,
            record,
        }));
        self.unfinished += 1;
        if let Some(at) = self.faults.cancels(self.now, id) {
            self.faults.set(at, Timer::Cancel(id));
        }
        self.ask(id)?;
        if let Some(progress) = &mut self.observer.progress
            && id.0.is_multiple_of(512)
        {
            progress(Progress {
                arrived: id.0,
                now: self.now,
            });
        }
        Ok(())
    }

    /// The next client that was turned away comes again.
    pub(super) fn come_again(&mut self) -> Result<(), SimError> {
        let id = self.clients.pop().expect("due only if a client waits");
        self.queue.set(Source::Retry, self.clients.next());
        let now = self.now;
        let live = self.live_mut(id.0);
        debug_assert!(
            live.job.is_none() && live.stream.is_none(),
            "the try before has ended"
        );
        live.record.next_try();
        live.asked = now;
        (live.attempt, live.away, live.nowhere) = (0, None, None);
        self.ask(id)
    }

    /// Puts a request before the Conductor.
    fn ask(&mut self, id: RequestId) -> Result<(), SimError> {
        self.number.enter(self.now);
        self.put(id)
    }

    /// Puts a request before the Conductor, as the attempt that it is.
    pub(super) fn put(&mut self, id: RequestId) -> Result<(), SimError> {
        let oracle = self.config.policy.admission.is_oracle();
        // A copy: the request's own list is looked at when orders are carried out.
        let mut blocks = std::mem::take(&mut self.asked);
        blocks.clear();
        let live = self.live_mut(id.0);
        blocks.extend_from_slice(&live.request.blocks);
        let (ticket, request) = (live.ticket(), &live.request);
        let (input, output, class) = (request.input, request.output, request.class);
        let workflow = request.workflow;
        let limits = self.config.policy.class(class).limits;
        let arrived = Event::Arrived {
            ticket,
            input,
            answer: oracle.then_some(output),
            blocks: (&blocks[..]).into(),
            class,
            workflow: workflow.filter(|_| matches!(limits, ClassLimits::Workflow { .. })),
        };
        let told = self.tell(&arrived);
        self.asked = blocks;
        told
    }

    /// A try has ended as its record says. Its client waits to come again, or the record is final.
    pub(super) fn close(&mut self, request: u64) {
        let now = self.now;
        let live = self.live_mut(request);
        let asked = live.retry_after.take();
        live.record.inside += now - live.asked;
        if live.record.tries == 1 {
            live.record.first_outcome = live.record.outcome;
        }
        let record = live.record;
        self.number.leave(now);
        if self.clients.ended(now, &record, asked) {
            self.live_mut(request).away = Some(Away::Client);
            self.queue.set(Source::Retry, self.clients.next());
            return;
        }
        self.leave_for_good(request);
    }

    /// The request's record is final.
    pub(super) fn leave_for_good(&mut self, request: u64) {
        let record = self.live_mut(request).record;
        let place = (request - self.base) as usize;
        self.live[place] = None;
        assert!(
            record.tries > 1 || record.e2e().is_none_or(|time| time == record.inside),
            "{} was inside from its arrival to its last token",
            record.id
        );
        self.number.was_inside(record.inside);
        match &mut self.observer.records {
            Some(take) => take(&record),
            None => self.result.records[request as usize] = record,
        }
        self.unfinished -= 1;
        while self.live.front().is_some_and(Option::is_none) {
            self.live.pop_front();
            self.base += 1;
        }
    }
}
