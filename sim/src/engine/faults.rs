//! Faults carried out: nodes that crash, come back and become slow, links that are cut, clients that go.
//!
//! What a fault breaks is broken first, then the Conductor is told; what it orders then is carried out on what is left.

use super::{Away, Copy, Engine};
use crate::error::SimError;
use crate::faults::{FaultKind, Timer};
use crate::queue::Source;
use crate::record::Outcome;
use crate::world::{self, Node};
use conductor_core::event::Event;
use conductor_core::ids::{NodeId, RequestId};

impl Engine<'_> {
    /// The first of what is due.
    pub(super) fn fault_due(&mut self) -> Result<(), SimError> {
        match self.faults.pop().expect("due only if there is one") {
            Timer::Begins(fault) => self.turn(fault, true),
            Timer::Ends(fault) => self.turn(fault, false),
            Timer::Detect(node) => self.hear_of_crash(node),
            Timer::Late(node, number) => self.late_report(node, number),
            Timer::Resync(node) => {
                self.faults.resync_is_due(node);
                self.faults.counts.resyncs += 1;
                self.report_cache(node)
            }
            Timer::Impatient(request) => self.lose_patience(request.0),
            Timer::Again(request) => self.come_back(request),
            Timer::Cancel(request) => self.cancel(request),
        }
    }

    /// A fault of the plan begins or is over.
    fn turn(&mut self, fault: usize, begins: bool) -> Result<(), SimError> {
        match self.faults.turn(self.now, fault, begins) {
            FaultKind::Crash { node } => match begins {
                true if self.faults.is_alive(node) => self.crash(node),
                false if !self.faults.is_crashed(node) => self.come_up(node),
                _ => Ok(()),
            },
            FaultKind::Slow { node, .. } => {
                self.faults.counts.slow_nodes += u64::from(begins);
                if self.faults.slow_again(node) {
                    self.price_again(node);
                }
                Ok(())
            }
            FaultKind::Link { node, part } => {
                match (begins, part.0) {
                    (true, 0) => self.faults.counts.cut_links += 1,
                    (true, _) => self.faults.counts.slow_links += 1,
                    (false, _) => {}
                }
                self.set_links(node);
                Ok(())
            }
            FaultKind::LoseReports { node, .. } | FaultKind::DelayReports { node, .. } => {
                self.faults.reports_again(node);
                Ok(())
            }
            FaultKind::RestartConductor => self.restart_conductor(),
            FaultKind::Cancel { request } => self.cancel(request),
        }
    }

    /// A node is gone: its machine, and what flows to and from it.
    fn crash(&mut self, node: NodeId) -> Result<(), SimError> {
        self.faults.counts.crashes += 1;
        self.faults.set_alive(node, false);
        let mut failed = Vec::new();
        let requests: Vec<u64> = self.all_live().map(|(request, _)| request).collect();
        for request in requests {
            let live = self.live_mut(request);
            let (at_prefill, at_decode) = (live.prefill_node == node, live.decode_node == node);
            if at_prefill {
                live.job = None;
                live.place = None;
            }
            if at_decode {
                live.sequence = None;
            }
            let read = live.read.take_if(|_| at_prefill);
            let load = live.load.take_if(|_| at_decode);
            let sender = matches!(live.copy, Copy::Sending { from, .. } if from == node);
            if at_prefill || at_decode {
                self.end_stream(request);
            }
            for flow in load.into_iter().chain(read) {
                self.network.end(self.now, flow);
            }
            if at_prefill {
                self.end_copy(request);
            } else if sender {
                failed.push(request);
            }
        }
        for (_, flow) in self.writes.extract_if(.., |(to, _)| *to == node) {
            self.network.end(self.now, flow);
        }
        let role = self.config.cluster.nodes[node.index()].role;
        self.replace(node, role);
        self.switches.retain(|&(other, _)| other != node);
        for request in failed {
            self.fail_copy(request)?;
        }
        match self.faults.plan.detect {
            at_once if at_once.is_zero() => self.hear_of_crash(node),
            later => {
                self.faults.set(self.now + later, Timer::Detect(node));
                Ok(())
            }
        }
    }

    /// A new, idle machine takes the place of a node's.
    pub(super) fn replace(&mut self, node: NodeId, role: conductor_core::config::Role) {
        if let Node::Coupled(machine) = &self.nodes[node.index()] {
            self.result.recomputed += machine.batch.recomputed();
        }
        let (cluster, eviction) = (&self.config.cluster, self.config.policy.eviction);
        self.nodes[node.index()] = world::machine(cluster, eviction, node, role);
        self.queue.set(Source::Node(node), None);
        self.faults.void_reports(node);
    }

    /// The Conductor hears of a crash, unless the node is back or it knows.
    fn hear_of_crash(&mut self, node: NodeId) -> Result<(), SimError> {
        if self.faults.is_alive(node) || self.faults.is_known_down(node) {
            return Ok(());
        }
        self.faults.set_known_down(node);
        self.tell(&Event::NodeDown { node })
    }

    /// A node is back, empty.
    fn come_up(&mut self, node: NodeId) -> Result<(), SimError> {
        if !self.faults.is_known_down(node) {
            self.faults.counts.unseen_restarts += 1;
        }
        self.faults.set_alive(node, true);
        self.tell(&Event::NodeUp { node })
    }

    /// The node takes another time for what it starts from now on: the step that is under way ends as it began.
    fn price_again(&mut self, node: NodeId) {
        let now = self.now;
        let (priced, running) = match &mut self.nodes[node.index()] {
            Node::Decode(machine) => (&mut machine.priced, &mut machine.running),
            Node::Coupled(machine) => (&mut machine.priced, &mut machine.running),
            Node::Prefill(_) => return,
        };
        *priced = None;
        if let Some(running) = running {
            running.steps = running.steps.min(running.complete(now) + 1);
            let end = running.ends_at();
            self.queue.set(Source::Node(node), Some(end));
        }
    }

    /// The node's NICs carry what its faults leave of them.
    fn set_links(&mut self, node: NodeId) {
        let Some(part) = self.faults.link_again(node) else {
            return;
        };
        let whole = self.config.cluster.transfer_bytes_per_s(node);
        let links = self.links.nics(node);
        let left = (u128::from(whole) * u128::from(part.0) / 1000) as u64;
        let capacity = if part.0 == 0 { 0 } else { left.max(1) };
        for link in links {
            self.network.set_capacity(self.now, link, capacity);
        }
        let requests: Vec<u64> = self.all_live().map(|(request, _)| request).collect();
        for request in requests {
            self.watch_links(request);
        }
    }

    /// Notes since when a request's transfer waits for a cut link, if it does.
    pub(super) fn watch_links(&mut self, request: u64) {
        if !self.faults.on() {
            return;
        }
        let (now, network) = (self.now, &self.network);
        let place = (request - self.base) as usize;
        let live = self.live[place].as_mut().expect("it is in the system");
        let copy = match live.copy {
            Copy::Sending { flow, .. } => Some(flow),
            _ => None,
        };
        let mut flows = copy.into_iter().chain(live.stream);
        let stalls = flows.any(|flow| network.is_parked(flow));
        match (stalls, live.stalled) {
            (true, None) => {
                live.stalled = Some(now);
                let at = now + self.faults.plan.patience;
                self.faults.set(at, Timer::Impatient(RequestId(request)));
            }
            (false, Some(_)) => live.stalled = None,
            _ => {}
        }
    }

    /// If the request's transfer has waited for so long for a cut link, it is given up.
    fn lose_patience(&mut self, request: u64) -> Result<(), SimError> {
        let (now, patience) = (self.now, self.faults.plan.patience);
        let Some(live) = self.live(request) else {
            return Ok(());
        };
        if live.stalled.is_none_or(|since| since + patience > now) {
            return Ok(());
        }
        let ticket = live.ticket();
        if matches!(live.copy, Copy::Sending { .. }) {
            return self.fail_copy(request);
        }
        self.faults.counts.failed_transfers += 1;
        self.tell(&Event::Failed { ticket })
    }

    /// A copy does not come: what it would have brought is computed.
    fn fail_copy(&mut self, request: u64) -> Result<(), SimError> {
        self.faults.counts.failed_copies += 1;
        let Copy::Sending { first, .. } = self.live_mut(request).copy else {
            unreachable!("a copy that fails was sent")
        };
        self.end_copy(request);
        let live = self.live_mut(request);
        let (node, delivered) = (live.prefill_node, live.job.is_some());
        if delivered {
            self.keep_copy(request, first, 0)?;
            self.start_prefill(node)?;
        }
        Ok(())
    }

    /// A request's client goes, if it has no answer yet.
    fn cancel(&mut self, id: RequestId) -> Result<(), SimError> {
        let Some(live) = self.live(id.0) else {
            return Ok(());
        };
        let away = live.away;
        self.faults.counts.cancelled += 1;
        if away.is_none() {
            // The Conductor may order to stop it, and does so with its present ticket.
            self.tell(&Event::Cancelled { request: id })?;
        }
        self.live_mut(id.0).record.outcome = Outcome::Cancelled;
        if away == Some(Away::Client) {
            self.clients.go(id);
            self.queue.set(Source::Retry, self.clients.next());
            self.leave_for_good(id.0);
        } else {
            self.close(id.0);
        }
        Ok(())
    }
}
