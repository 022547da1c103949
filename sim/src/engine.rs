//! The loop: take what is next, let the machines work, tell the Conductor, carry out its orders.
//!
//! The Conductor is told every fact in the order of the queue and decides everything; the engine only finds out how
//! long things take. Facts and orders go through one place (`tell`), which also keeps the journal.

mod abort;
mod arrivals;
mod checks;
mod coupled;
mod decode;
mod faults;
mod flows;
mod prefill;
mod reports;
mod restart;
mod roles;

pub use roles::RoleChange;

use crate::clients::Clients;
use crate::error::SimError;
use crate::faults::{Faults, Timer};
use crate::links::Links;
use crate::little::NumberInSystem;
use crate::network::{FlowId, Network};
use crate::queue::{EventQueue, Source};
use crate::record::{Outcome, RequestRecord};
use crate::run::{Mode, Observer, Progress, RunConfig, RunResult};
use crate::timeline::{NodeSample, PoolSample};
use crate::truth::Truth;
use crate::world::{self, Node};
use conductor_core::action::{Action, Actions, RejectReason};
use conductor_core::cache::BlockSlot;
use conductor_core::conductor::{Conductor, Loads};
use conductor_core::config::Role;
use conductor_core::cost::Costs;
use conductor_core::event::Event;
use conductor_core::ids::{BlockHash, NodeId, RequestId, Ticket};
use conductor_core::journal::{self, Header, Recorder};
use conductor_core::node::{CacheChanges, CoupledNews, Ended, JobId, PlaceId, SequenceId};
use conductor_core::units::Nanos;
use conductor_core::workload::WorkloadRequest;
use flows::Purpose;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::Write;

/// More events than this at one instant mean that time does not go on.
const EVENTS_AT_ONCE_MAX: u64 = 10_000_000;

/// A request in the system, or one whose client waits to try again.
struct Live {
    request: WorkloadRequest,
    prefill_node: NodeId,
    decode_node: NodeId,
    /// Which attempt of its try.
    attempt: u32,
    /// In the prefill node.
    job: Option<JobId>,
    /// KV to the decode node.
    stream: Option<FlowId>,
    /// In the decode node.
    sequence: Option<SequenceId>,
    /// From the decode node's DRAM to its HBM.
    load: Option<FlowId>,
    /// In a coupled node.
    place: Option<PlaceId>,
    /// Blocks from the SSD of its prefill node.
    read: Option<FlowId>,
    /// Blocks from another node.
    copy: Copy,
    /// When its prefill began, on a coupled node.
    begun: Nanos,
    first_token: Nanos,
    /// Since when it waits for a cut link.
    stalled: Option<Nanos>,
    /// Where it is, if it is not the Conductor's.
    away: Option<Away>,
    /// Since when it finds no node, after its attempt was lost.
    nowhere: Option<Nanos>,
    /// What its client was asked to wait when it was turned away.
    retry_after: Option<Nanos>,
    /// When the present try was put before the Conductor.
    asked: Nanos,
    record: RequestRecord,
}

/// A request that the Conductor does not know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Away {
    /// Its client was turned away and waits to try again.
    Client,
    /// Its attempt was lost, and it is to be given in again.
    Lost,
}

impl Live {
    fn ticket(&self) -> Ticket {
        Ticket {
            request: self.record.id,
            attempt: self.attempt,
        }
    }
}

/// Blocks on their way from another prefill node.
#[derive(Default)]
enum Copy {
    /// None are needed, or they are here.
    #[default]
    Nothing,
    /// On their way; pinned where they come from.
    Sending {
        flow: FlowId,
        from: NodeId,
        first: u32,
        pins: Vec<BlockSlot>,
        started: Nanos,
    },
    /// Arrived before the request itself did: `first .. first + count`.
    Early { first: u32, count: u32 },
}

/// A run under way.
struct Engine<'a> {
    config: RunConfig,
    truth: Truth,
    /// What nodes estimate with when they check for themselves.
    estimate: Costs,
    conductor: Conductor,
    recorder: Recorder,
    actions: Actions,
    observer: Observer<'a>,
    queue: EventQueue,
    now: Nanos,
    nodes: Vec<Node>,
    /// Switches that were ordered and are not carried out.
    switches: VecDeque<(NodeId, Role)>,
    links: Links,
    faults: Faults,
    /// Lost attempts that were ordered to be given in again and are not yet.
    again: VecDeque<u64>,
    network: Network,
    purposes: Vec<Purpose>,
    /// Blocks on their way to SSDs.
    writes: Vec<(NodeId, FlowId)>,
    deliveries: BinaryHeap<Reverse<(Nanos, u64)>>,
    clients: Clients,
    /// Requests from number `base` on; ended ones in between are `None`.
    live: VecDeque<Option<Live>>,
    base: u64,
    /// Those that are not `None`, in the system or not.
    unfinished: usize,
    /// Requests that have arrived.
    arrived: u64,
    number: NumberInSystem,
    changes: CacheChanges,
    ended: Vec<Ended>,
    news: CoupledNews,
    /// Scratch space: the blocks of a request that is put before the Conductor.
    asked: Vec<BlockHash>,
    loads: Loads,
    result: RunResult,
    tokens: PoolSample,
}

/// Simulates `requests`, in order of arrival, to the end of the last one.
///
/// # Errors
/// If the source of requests fails or is out of order, or the journal cannot be written; a deadlock or livelock
/// is a bug.
pub fn run<'a, E: std::error::Error + Send + Sync + 'static>(
    config: &RunConfig,
    requests: impl IntoIterator<Item = Result<WorkloadRequest, E>>,
    observer: Observer<'a>,
) -> Result<RunResult, SimError> {
    let mut requests = requests
        .into_iter()
        .map(|request| request.map_err(|error| SimError::Workload(Box::new(error))));
    let header = Header::new("sim", &config.policy, &config.cluster, config.seed);
    let mut engine = Engine::new(config, &header, observer);
    if let Some(journal) = &mut engine.observer.journal {
        writeln!(journal, "{}", header.encode())?;
    }
    for node in 0..config.cluster.nodes.len() {
        engine.tell(&Event::NodeUp {
            node: NodeId(node as u16),
        })?;
    }
    engine.go(&mut requests)?;
    engine.conductor.assert_idle();
    engine.number.assert_law();
    engine.assert_over();
    engine.result.faults = engine.faults.counts;
    engine.result.digest = engine.recorder.digest().to_string();
    engine.result.counters = *engine.conductor.counters();
    engine.result.recomputed += engine.recomputed();
    let end = engine.recorder.end();
    if let Some(journal) = engine.observer.journal {
        writeln!(journal, "{}", journal::encode_end(&end))?;
        journal.flush()?;
    }
    Ok(engine.result)
}

impl<'a> Engine<'a> {
    fn new(config: &RunConfig, header: &Header, observer: Observer<'a>) -> Self {
        let (cluster, policy) = (config.cluster.clone(), config.policy.clone());
        let estimate = cluster.estimate();
        let (links, network) = Links::new(&cluster);
        Self {
            truth: Truth::new(&cluster, config.seed),
            estimate: cluster.estimate(),
            nodes: world::nodes(&cluster, policy.eviction),
            links,
            network,
            queue: EventQueue::new(cluster.nodes.len()),
            conductor: Conductor::new(cluster, policy, estimate, config.seed),
            recorder: Recorder::new(header),
            actions: Actions::with_capacity(16),
            observer,
            now: Nanos::ZERO,
            switches: VecDeque::new(),
            faults: Faults::new(&config.faults, config.cluster.nodes.len(), config.seed),
            again: VecDeque::new(),
            purposes: Vec::new(),
            writes: Vec::new(),
            deliveries: BinaryHeap::new(),
            clients: Clients::new(config.retry, config.seed),
            live: VecDeque::new(),
            base: 0,
            unfinished: 0,
            arrived: 0,
            number: NumberInSystem::default(),
            changes: CacheChanges::default(),
            ended: Vec::new(),
            news: CoupledNews::default(),
            asked: Vec::new(),
            loads: Loads::default(),
            result: RunResult::default(),
            tokens: PoolSample::default(),
            config: config.clone(),
        }
    }

    /// Runs to quiescence.
    fn go(
        &mut self,
        requests: &mut dyn Iterator<Item = Result<WorkloadRequest, SimError>>,
    ) -> Result<(), SimError> {
        let mut next = self.next_arrival(requests, Nanos::ZERO)?;
        self.queue.set(Source::Sample, Some(Nanos::ZERO));
        self.queue.set(Source::Fault, self.faults.next());
        let mut events_now = 0;
        while next.is_some() || self.unfinished > 0 || self.faults.on() && self.is_unsettled() {
            let Some((at, source)) = self.queue.peek() else {
                return Err(self.deadlock());
            };
            let due = self.due(next.as_ref());
            if source == Source::Sample && due.is_none() && self.nothing_but_samples() {
                return Err(self.deadlock());
            }
            events_now = if at > self.now { 0 } else { events_now + 1 };
            if events_now > EVENTS_AT_ONCE_MAX {
                return Err(SimError::Livelock {
                    at,
                    events: events_now,
                });
            }
            self.now = at;
            self.result.events += 1;
            match source {
                Source::Node(node) => self.node_due(node)?,
                Source::Network => self.flow_ended()?,
                Source::Delivery => self.deliver()?,
                Source::Fault => self.fault_due()?,
                Source::Arrival => {
                    let mut request = next.take().expect("an arrival is due only if there is one");
                    let previous = request.arrival;
                    if self.config.closed_loop.is_some() {
                        request.arrival = self.now;
                    }
                    self.arrive(request)?;
                    next = self.next_arrival(requests, previous)?;
                }
                Source::Retry => self.come_again()?,
                Source::Sample => self.sample(due),
            }
            self.change_roles()?;
            self.give_in_again()?;
            self.queue.set(Source::Arrival, self.due(next.as_ref()));
            self.queue
                .set(Source::Network, self.network.next_end().map(|(at, _)| at));
            if self.faults.on() {
                self.queue.set(Source::Fault, self.faults.next());
            }
            if self.observer.checks {
                self.check();
            }
        }
        self.result.simulated = self.now;
        Ok(())
    }

    /// True if no node, flow, delivery or client has anything to happen.
    fn nothing_but_samples(&self) -> bool {
        let idle = self.nodes.iter().all(|node| !node.is_running());
        idle && self.network.next_end().is_none()
            && self.deliveries.is_empty()
            && self.faults.next().is_none()
            && self.clients.waiting() == 0
    }

    fn deadlock(&self) -> SimError {
        let first = self
            .live
            .iter()
            .flatten()
            .next()
            .map_or(self.base, |live| live.record.id.0);
        SimError::Deadlock {
            at: self.now,
            unfinished: self.unfinished,
            first: RequestId(first),
        }
    }

    /// Tells the Conductor a fact, keeps the journal, and carries out the orders.
    fn tell(&mut self, event: &Event<'_>) -> Result<(), SimError> {
        self.actions.clear();
        self.conductor.handle(self.now, event, &mut self.actions);
        let step = self
            .recorder
            .record(self.now, event, self.actions.as_slice());
        if let Some(journal) = &mut self.observer.journal {
            writeln!(
                journal,
                "{}",
                journal::encode_step(step, self.now, event, self.actions.as_slice())
            )?;
        }
        let actions = std::mem::take(&mut self.actions);
        for &action in actions.as_slice() {
            self.carry_out(action);
        }
        self.actions = actions;
        Ok(())
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Replicate {
                ticket,
                from,
                to,
                first,
                count,
            } => {
                self.start_copy(ticket.request.0, from, to, first, count);
            }
            Action::Dispatch {
                ticket,
                prefill,
                decode,
                ..
            } => {
                let now = self.now;
                let live = self.live_mut(ticket.request.0);
                live.record.moments.dispatched = Some(now);
                live.nowhere = None;
                (live.prefill_node, live.decode_node) = (prefill, decode);
                live.record.placed = Some((prefill, decode));
                let at = self.now + self.config.cluster.profile_of(prefill).schedule;
                self.deliveries.push(Reverse((at, ticket.request.0)));
                self.set_delivery();
            }
            Action::Reject {
                request,
                reason,
                retry_after,
            } => {
                let (now, again) = (self.now, self.now + retry_after);
                let lost = self.config.policy.lost;
                let live = self.live_mut(request.0);
                if live.attempt > 0 {
                    let since = *live.nowhere.get_or_insert(now);
                    if lost.comes_again(reason, since, again) {
                        live.away = Some(Away::Lost);
                        self.faults.counts.resubmitted_later += 1;
                        self.faults.set(again, Timer::Again(request));
                        return;
                    }
                }
                live.record.outcome = match reason {
                    RejectReason::DecodeFull => Outcome::RejectedAfterPrefill,
                    reason => Outcome::Rejected(reason),
                };
                live.retry_after = Some(retry_after);
                self.close(request.0);
            }
            Action::SwitchRole { node, to } => self.switches.push_back((node, to)),
            Action::Abort { ticket } => self.abort(ticket.request.0),
            Action::Resubmit { ticket } => self.again.push_back(ticket.request.0),
        }
    }

    fn set_delivery(&mut self) {
        let next = self.deliveries.peek().map(|&Reverse((at, _))| at);
        self.queue.set(Source::Delivery, next);
    }

    fn live_mut(&mut self, request: u64) -> &mut Live {
        let place = (request - self.base) as usize;
        self.live[place]
            .as_mut()
            .expect("only live requests are asked for")
    }

    /// A request's present ticket.
    fn ticket_of(&mut self, request: u64) -> Ticket {
        self.live_mut(request).ticket()
    }

    fn node_due(&mut self, node: NodeId) -> Result<(), SimError> {
        match &self.nodes[node.index()] {
            Node::Prefill(_) => self.prefill_due(node),
            Node::Decode(_) => self.decode_due(node),
            Node::Coupled(_) => self.coupled_due(node),
        }
    }

    /// Takes a sample and sets the next one; with nothing in the system that is the first after the next arrival, of
    /// which `arrival` is the workload's, if it is known.
    fn sample(&mut self, arrival: Option<Nanos>) {
        let inside = self.number.inside();
        let arrival = arrival.into_iter().chain(self.clients.next()).min();
        self.result.timeline.thin();
        let period = self.result.timeline.period;
        let mut periods = 1;
        if inside == 0
            && let Some(arrival) = arrival
        {
            periods = (arrival.saturating_sub(self.now).0 / period.0).max(1);
            self.result.timeline.idle += periods - 1;
        }
        self.queue
            .set(Source::Sample, Some(self.now + period * periods));
        self.conductor.loads(&mut self.loads);
        self.result.timeline.pools.push(PoolSample {
            at: self.now,
            prefill_load: self.loads.prefill,
            decode_load: self.loads.decode,
            live: inside,
            ..self.tokens
        });
        if let Some(replicas) = &mut self.observer.replicas {
            let queues = self.nodes.iter().filter_map(|node| match node {
                Node::Prefill(node) => Some(&node.queue),
                Node::Decode(_) | Node::Coupled(_) => None,
            });
            replicas.sample(self.now, queues);
        }
        if !self.config.node_samples {
            return;
        }
        for (i, node) in self.nodes.iter().enumerate() {
            let load = self.loads.load[i];
            let spec = &self.config.cluster.nodes[i];
            let sample = match node {
                Node::Prefill(node) => NodeSample {
                    load,
                    queued: node.queue.queued() as u32,
                    batch: node.running.len() as u32,
                    used: node.queue.cache().dram().len() as f64
                        / f64::from(spec.cache_blocks.max(1)),
                },
                Node::Decode(node) => NodeSample {
                    load,
                    queued: node.batch.waiting() as u32,
                    batch: node.batch.batch() as u32,
                    used: node.batch.context().0 as f64
                        / (self.config.cluster.block.0 as f64 * f64::from(spec.hbm_blocks)),
                },
                Node::Coupled(node) => NodeSample {
                    load,
                    queued: node.batch.waiting() as u32,
                    batch: node.batch.batch() as u32,
                    used: node.batch.used_now() as f64 / f64::from(spec.hbm_blocks),
                },
            };
            self.result.timeline.nodes.push(sample);
        }
    }
}
