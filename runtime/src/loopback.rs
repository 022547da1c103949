//! A cluster on a virtual clock: the driver and the agents of production, whose engines and wires take the times that
//! they are given.
//!
//! What is due at one instant is drained in the order that the core specifies ([`conductor_core::instant`]). With the
//! times of a simulator the journal must be that simulator's, step for step: the same core, the same orders, the same
//! facts. Root tests do this, because this package does not know the simulator.
//!
//! Not here: tokens that mean anything, threads, sockets, real time.

mod node;

use crate::driver::{Answer, Driver, Submission, World};
use crate::journal::Journal;
use crate::protocol::ToNode;
use conductor_core::config::{ClusterConfig, PolicyConfig};
use conductor_core::ids::{NodeId, RequestId, Ticket};
use conductor_core::instant::Source;
use conductor_core::node::{CoupledBatch, CoupledRun, DecodeRun, PrefillRun};
use conductor_core::units::{Nanos, Tokens};
use node::Node;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::Arc;

/// What is on the wires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wire {
    /// Blocks for a request, from one prefill node's cache to another's.
    Copy,
    /// A request's KV, to its decode node.
    Stream,
    /// A sequence's KV, from a node's memory to where it is decoded.
    Load,
}

/// A transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// For whom.
    pub ticket: Ticket,
    /// Of what kind.
    pub wire: Wire,
    /// From whom.
    pub from: NodeId,
    /// To whom; of a load the node itself.
    pub to: NodeId,
    /// KV tokens.
    pub tokens: Tokens,
    /// For how long its data is still being made; none if all of it is there.
    pub made_in: Option<Nanos>,
}

/// How long things take.
pub trait Times {
    /// From an order to its node.
    fn delivery(&self, node: NodeId) -> Nanos;

    /// To compute a prompt.
    fn prefill(&mut self, node: NodeId, run: &PrefillRun) -> Nanos;

    /// One decode step; `composition` counts how often the batch has changed.
    fn step(&mut self, node: NodeId, composition: u64, run: DecodeRun) -> Nanos;

    /// One pass of a coupled node.
    fn pass(&mut self, node: NodeId, batch: &CoupledBatch, run: CoupledRun) -> Nanos;

    /// A transfer begins; what is made of it meanwhile flows, if anything.
    fn begin(&mut self, now: Nanos, transfer: Transfer);

    /// All of the transfer's data is made.
    fn rest(&mut self, now: Nanos, transfer: Transfer);

    /// The transfer is not wanted any more, if it is under way.
    fn end(&mut self, now: Nanos, ticket: Ticket, wire: Wire);

    /// When the next transfer has arrived.
    fn next_end(&self) -> Option<Nanos>;

    /// Which one that is; it is over.
    fn pop_end(&mut self, now: Nanos) -> (Ticket, Wire);
}

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The node is gone, with its cache and its work.
    Crash(NodeId),
    /// It is back, empty.
    ComesUp(NodeId),
}

/// What the driver says, until it is carried out.
#[derive(Default)]
struct Mailbox {
    to_nodes: VecDeque<(NodeId, ToNode)>,
    answers: Vec<(RequestId, Answer)>,
}

impl World for Mailbox {
    fn send(&mut self, node: NodeId, message: ToNode) {
        self.to_nodes.push_back((node, message));
    }

    fn answer(&mut self, request: RequestId, answer: Answer) {
        self.answers.push((request, answer));
    }
}

/// What came out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Requests with a complete answer.
    pub finished: u64,
    /// Requests that were turned away.
    pub rejected: u64,
    /// Tokens that clients got.
    pub tokens: u64,
    /// Copies of blocks between nodes that were begun.
    pub copies: u64,
}

/// See the module.
pub struct Loopback<T> {
    driver: Driver<Mailbox>,
    times: T,
    cluster: Arc<ClusterConfig>,
    nodes: Vec<Node>,
    now: Nanos,
    /// When a node's engine is done.
    engines: Vec<Option<Nanos>>,
    /// Orders on their way to nodes, in the order in which they arrive.
    deliveries: BinaryHeap<Reverse<(Nanos, u64, u32, NodeId)>>,
    undelivered: BTreeMap<Ticket, ToNode>,
    /// Copies that are under way: who sends, and what it has pinned.
    copies: BTreeMap<Ticket, node::Copying>,
    faults: VecDeque<(Nanos, Fault)>,
    outcome: Outcome,
}

impl<T: Times> Loopback<T> {
    /// All nodes of `cluster`, idle and up. `faults` are in order of time.
    pub fn new(
        cluster: &ClusterConfig,
        policy: &PolicyConfig,
        seed: u64,
        journal: Box<dyn Journal>,
        times: T,
        faults: impl IntoIterator<Item = (Nanos, Fault)>,
    ) -> Self {
        let driver = Driver::new(cluster, policy, seed, journal, Mailbox::default());
        let (cluster, policy) = (Arc::new(cluster.clone()), Arc::new(policy.clone()));
        let ids = 0..cluster.nodes.len() as u16;
        let nodes = ids.map(|id| Node::new(NodeId(id), &cluster, &policy));
        let mut this = Self {
            driver,
            times,
            nodes: nodes.collect(),
            now: Nanos::ZERO,
            engines: vec![None; cluster.nodes.len()],
            deliveries: BinaryHeap::new(),
            undelivered: BTreeMap::new(),
            copies: BTreeMap::new(),
            faults: faults.into_iter().collect(),
            outcome: Outcome::default(),
            cluster,
        };
        for node in 0..this.nodes.len() as u16 {
            this.driver.node_up(Nanos::ZERO, NodeId(node));
        }
        this
    }

    /// Gives all requests in, each at its time, and goes on until the last is answered and nothing moves.
    pub fn run(&mut self, requests: impl IntoIterator<Item = (Nanos, Submission)>) -> Outcome {
        let mut requests = requests.into_iter().peekable();
        loop {
            let arrival = requests.peek().map(|&(at, _)| at);
            if arrival.is_none() && self.driver.live() == 0 && self.is_still() {
                break;
            }
            let Some((at, source)) = self.next(arrival) else {
                break;
            };
            self.now = at;
            match source {
                Source::Node(node) => {
                    self.engines[node.index()] = None;
                    self.engine_done(node);
                }
                Source::Network => self.transfer_done(),
                Source::Delivery => self.deliver(),
                Source::Fault => self.fault(),
                Source::Arrival | Source::Retry | Source::Sample => {
                    if let Some((_, submission)) = requests.next() {
                        self.driver.submit(at, submission);
                    }
                }
            }
            self.carry_out();
        }
        self.driver.end();
        self.outcome
    }

    /// The driver.
    pub fn digest(&self) -> String {
        self.driver.digest()
    }

    /// Orders carried out, and orders in journaled steps.
    pub fn executed_and_journaled(&self) -> (u64, u64) {
        let counts = self.driver.counts();
        (counts.executed, counts.journaled)
    }

    /// What the core has counted.
    pub fn counters(&self) -> &conductor_core::conductor::Counters {
        self.driver.counters()
    }

    /// Asserts that an empty cluster holds nothing.
    pub fn assert_idle(&self) {
        self.driver.conductor().assert_idle();
        for (i, node) in self.nodes.iter().enumerate() {
            assert!(node.is_idle(), "node {i} has no work");
        }
        assert!(self.copies.is_empty() && self.undelivered.is_empty());
    }

    fn is_still(&self) -> bool {
        self.engines.iter().all(Option::is_none)
    }

    /// What is due first, in the core's order of one instant.
    fn next(&self, arrival: Option<Nanos>) -> Option<(Nanos, Source)> {
        let engines = self.engines.iter().enumerate();
        let engines = engines.filter_map(|(i, &at)| Some((at?, Source::Node(NodeId(i as u16)))));
        let fault = self.faults.front().map(|&(at, _)| at);
        let fault = fault.into_iter().chain(self.driver.due()).min();
        let delivery = self.deliveries.peek().map(|&Reverse((at, ..))| at);
        let others = [
            (self.times.next_end(), Source::Network),
            (delivery, Source::Delivery),
            (fault, Source::Fault),
            (arrival, Source::Arrival),
        ];
        let others = others
            .into_iter()
            .filter_map(|(at, source)| Some((at?, source)));
        engines.chain(others).min()
    }

    fn fault(&mut self) {
        match self.faults.front() {
            Some(&(at, fault)) if at <= self.now => {
                self.faults.pop_front();
                match fault {
                    Fault::Crash(node) => self.crash(node),
                    Fault::ComesUp(node) => {
                        self.nodes[node.index()].revive();
                        self.driver.node_up(self.now, node);
                    }
                }
            }
            _ => self.driver.timer(self.now),
        }
    }

    /// The first order that is on its way reaches its node.
    fn deliver(&mut self) {
        if let Some(Reverse((_, request, attempt, node))) = self.deliveries.pop() {
            let ticket = Ticket {
                request: RequestId(request),
                attempt,
            };
            if let Some(message) = self.undelivered.remove(&ticket) {
                self.receive(node, message);
            }
        }
    }

    /// Carries out what the driver has said.
    fn carry_out(&mut self) {
        while let Some((node, message)) = self.driver.world().to_nodes.pop_front() {
            match message {
                ToNode::Prefill { ticket, .. } => {
                    let at = self.now + self.times.delivery(node);
                    let key = (at, ticket.request.0, ticket.attempt, node);
                    self.deliveries.push(Reverse(key));
                    self.undelivered.insert(ticket, message);
                }
                ToNode::Abort { ticket } => {
                    if self.undelivered.remove(&ticket).is_some() {
                        let key = (ticket.request.0, ticket.attempt);
                        self.deliveries
                            .retain(|&Reverse((_, request, attempt, _))| (request, attempt) != key);
                    }
                    self.receive(node, message);
                }
                message => self.receive(node, message),
            }
        }
        for (_, answer) in std::mem::take(&mut self.driver.world().answers) {
            match answer {
                Answer::Token { .. } => self.outcome.tokens += 1,
                Answer::Finished { .. } => self.outcome.finished += 1,
                Answer::Rejected { .. } => self.outcome.rejected += 1,
            }
        }
    }
}
