//! The driver: owns the Conductor, tells it every fact with the time at which it was learned, and carries its orders
//! out.
//!
//! It decides nothing. It keeps what the core needs not know (prompts, who listens for an answer, which tokens were
//! passed on), holds back what nodes say too early (a decode node may be heard before the prefill node whose KV it
//! has), and gives a request in again when its attempt was lost. All of it is synchronous and has no clock of its own:
//! a task drives it in real time ([`crate::task`]), a test on a virtual clock.
//!
//! Not here: connections, tokens as text, what a node does.

mod facts;
mod orders;
mod request;
#[cfg(test)]
mod tests;

pub use request::{Answer, Submission};

use crate::journal::Journal;
use crate::protocol::{EndReason, Prompt, ToNode};
use conductor_core::action::{Actions, Order};
use conductor_core::conductor::{Conductor, Counters, Loads};
use conductor_core::config::{ClusterConfig, PolicyConfig, Role};
use conductor_core::event::Event;
use conductor_core::ids::{NodeId, RequestId};
use conductor_core::journal::{self, Header, Recorder};
use conductor_core::units::{Nanos, Tokens};
use request::{Away, Live};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::Arc;

/// Where the driver's messages go.
pub trait World {
    /// To a node. One that cannot be reached is found out by whoever keeps its connection.
    fn send(&mut self, node: NodeId, message: ToNode);

    /// To who waits for a request's answer. After an answer that [`Answer::is_last`] nothing more comes.
    fn answer(&mut self, request: RequestId, answer: Answer);
}

/// What the driver has counted, besides the core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DriverCounts {
    /// Orders that were carried out.
    pub executed: u64,
    /// Orders in steps that were given to the journal.
    pub journaled: u64,
    /// Attempts that were given in again.
    pub resubmitted: u64,
    /// Tokens of an attempt that differ from those of the attempt before it, which the client has: never, if engines
    /// are deterministic.
    pub differing_tokens: u64,
    /// Whole caches that were asked for because a report was missing.
    pub resyncs: u64,
}

/// What the driver knows of a node.
#[derive(Clone, Copy, Debug, Default)]
struct Node {
    up: bool,
    /// The number of its next report of its cache; none while the whole is awaited.
    report: Option<u64>,
}

/// See the module.
pub struct Driver<W> {
    conductor: Conductor,
    recorder: Recorder,
    actions: Actions,
    journal: Box<dyn Journal>,
    world: W,
    policy: Arc<PolicyConfig>,
    requests: BTreeMap<u64, Live>,
    next_request: u64,
    /// Lost attempts that were ordered to be given in again and are not yet.
    again: VecDeque<RequestId>,
    /// When those come again that no node could take when their attempt was lost.
    later: BinaryHeap<Reverse<(Nanos, RequestId)>>,
    switches: VecDeque<(NodeId, Role)>,
    nodes: Vec<Node>,
    counts: DriverCounts,
}

impl<W: World> Driver<W> {
    /// A driver of a fresh Conductor, all nodes down. The journal gets its header.
    pub fn new(
        cluster: &ClusterConfig,
        policy: &PolicyConfig,
        seed: u64,
        mut journal: Box<dyn Journal>,
        world: W,
    ) -> Self {
        let header = Header::new("runtime", policy, cluster, seed);
        journal.line(header.encode());
        let (cluster, estimate) = (cluster.clone(), cluster.estimate());
        Self {
            nodes: vec![Node::default(); cluster.nodes.len()],
            conductor: Conductor::new(cluster, policy.clone(), estimate, seed),
            recorder: Recorder::new(&header),
            actions: Actions::with_capacity(16),
            journal,
            world,
            policy: Arc::new(policy.clone()),
            requests: BTreeMap::new(),
            next_request: 0,
            again: VecDeque::new(),
            later: BinaryHeap::new(),
            switches: VecDeque::new(),
            counts: DriverCounts::default(),
        }
    }

    /// A client's request. Its answer comes through [`World::answer`], the rejection too, perhaps before this returns.
    pub fn submit(&mut self, now: Nanos, submission: Submission) -> RequestId {
        let id = RequestId(self.next_request);
        self.next_request += 1;
        self.requests.insert(id.0, Live::new(id, submission));
        self.put(now, id);
        self.settle(now);
        id
    }

    /// The client has gone: nothing of the request is wanted any more.
    pub fn cancel(&mut self, now: Nanos, request: RequestId) {
        let Some(live) = self.requests.get(&request.0) else {
            return;
        };
        if live.away.is_none() {
            // The Conductor may order to stop it, and does so with its present ticket.
            self.tell(now, &Event::Cancelled { request });
        }
        self.requests.remove(&request.0);
        self.settle(now);
    }

    /// The answer is long enough. Its decode node ends it, and the answer's last message comes as always; if its
    /// attempt is lost before that, or is lost already, the answer ends with what its client has.
    pub fn stop(&mut self, request: RequestId) {
        let Some(live) = self.requests.get_mut(&request.0) else {
            return;
        };
        live.stopped = true;
        if live.away.is_some() {
            return self.end_stopped(request);
        }
        if let Some((prefill, decode)) = live.placed {
            let ticket = live.ticket;
            self.world.send(decode, ToNode::Stop { ticket });
            if prefill != decode {
                self.world.send(prefill, ToNode::Stop { ticket });
            }
        }
    }

    /// A node is there, with the role of the cluster file, an empty cache and no work; what it has cached it reports.
    pub fn node_up(&mut self, now: Nanos, node: NodeId) {
        if let Some(state) = self.nodes.get_mut(node.index()) {
            *state = Node {
                up: true,
                report: Some(0),
            };
            self.tell(now, &Event::NodeUp { node });
            self.settle(now);
        }
    }

    /// A node is gone.
    pub fn node_down(&mut self, now: Nanos, node: NodeId) {
        if let Some(state) = self.nodes.get_mut(node.index())
            && std::mem::take(&mut state.up)
        {
            self.switches.retain(|&(other, _)| other != node);
            self.tell(now, &Event::NodeDown { node });
            self.settle(now);
        }
    }

    /// When [`Self::timer`] is to be called.
    #[must_use]
    pub fn due(&self) -> Option<Nanos> {
        let later = self.later.peek().map(|&Reverse((at, _))| at);
        let deadline = self.conductor.deadline().map(|deadline| deadline.at);
        later.into_iter().chain(deadline).min()
    }

    /// The first of what is due.
    pub fn timer(&mut self, now: Nanos) {
        if let Some(&Reverse((at, id))) = self.later.peek()
            && at <= now
        {
            self.later.pop();
            let live = self.requests.get_mut(&id.0);
            if let Some(live) = live.filter(|live| live.away == Some(Away::Lost)) {
                live.away = None;
                self.put(now, id);
                self.settle(now);
            }
        }
    }

    /// No more facts come: the journal gets its last line.
    pub fn end(&mut self) {
        let end = self.recorder.end();
        self.journal.line(journal::encode_end(&end));
        self.journal.flush();
    }

    /// Digest of the journal so far.
    #[must_use]
    pub fn digest(&self) -> String {
        self.recorder.digest().to_string()
    }

    /// What the core has counted.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        self.conductor.counters()
    }

    /// What the driver has counted.
    #[must_use]
    pub const fn counts(&self) -> &DriverCounts {
        &self.counts
    }

    /// Lines that the journal could not take.
    #[must_use]
    pub fn journal_lost(&self) -> u64 {
        self.journal.lost()
    }

    /// The loads of nodes and pools, as the Conductor sees them.
    pub fn loads(&self, loads: &mut Loads) {
        self.conductor.loads(loads);
    }

    /// Requests that are not answered.
    #[must_use]
    pub fn live(&self) -> usize {
        self.requests.len()
    }

    /// True if the request is not answered.
    #[must_use]
    pub fn is_live(&self, request: RequestId) -> bool {
        self.requests.contains_key(&request.0)
    }

    /// The Conductor.
    #[must_use]
    pub const fn conductor(&self) -> &Conductor {
        &self.conductor
    }

    /// Where messages go.
    pub const fn world(&mut self) -> &mut W {
        &mut self.world
    }

    /// Tells the Conductor a fact, writes the step down, and carries the orders out.
    fn tell(&mut self, now: Nanos, event: &Event<'_>) {
        self.actions.clear();
        self.conductor.handle(now, event, &mut self.actions);
        let actions = self.actions.as_slice();
        let step = self.recorder.record(now, event, actions);
        if self.journal.wants_lines() {
            self.journal
                .line(journal::encode_step(step, now, event, actions));
        }
        self.counts.journaled += actions.len() as u64;
        let actions = std::mem::take(&mut self.actions);
        for order in actions.orders() {
            self.carry_out(now, order);
        }
        self.actions = actions;
    }

    /// What was ordered to follow the event, now that it is over.
    fn settle(&mut self, now: Nanos) {
        while let Some((node, role)) = self.switches.pop_front() {
            self.world.send(node, ToNode::SwitchRole(role));
        }
        while let Some(request) = self.again.pop_front() {
            let Some(live) = self.requests.get_mut(&request.0) else {
                continue;
            };
            if live.stopped {
                self.end_stopped(request);
                continue;
            }
            live.next_attempt();
            self.counts.resubmitted += 1;
            self.put(now, request);
        }
    }

    /// Ends an answer that nobody makes any more and that is long enough.
    fn end_stopped(&mut self, request: RequestId) {
        if let Some(live) = self.requests.remove(&request.0) {
            let answer = Answer::Finished {
                output: Tokens(live.passed_on.len() as u64),
                reason: EndReason::Stop,
                cached: live.cached,
            };
            self.world.answer(request, answer);
        }
    }

    fn prompt_of(&self, request: RequestId) -> Option<Arc<Prompt>> {
        let live = self.requests.get(&request.0)?;
        Some(Arc::clone(&live.submission.prompt))
    }

    fn carry_out(&mut self, now: Nanos, order: Order) {
        self.counts.executed += 1;
        orders::carry_out(self, now, order);
    }
}
