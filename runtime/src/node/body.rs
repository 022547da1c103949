//! A node's one loop: it owns the agent and the book of blocks, and everything that happens comes to it in order.
//!
//! Nothing in it waits: engines, transfers and peers are asked by messages and answer by messages. So a node that does
//! not answer a ping is stuck, and one that is stopped is silent.
//!
//! The parts: what the gateway orders and hears (here), what an agent wants done (`carry`), steps for the engine and
//! what they made (`step`), KV that comes (`land`), blocks for other nodes (`lend`).

use super::carry::{Fetching, Job, Next};
use super::compute::Work;
use super::config::NodeLimits;
use super::kv::{Holder, Kv};
use super::land::{Ask, Landings};
use super::lend::{Closing, Lent};
use super::peers::Peers;
use super::send::Unsent;
use super::step::{Running, Sequence};
use crate::agent::{Agent, Outputs};
use crate::clock::{Clock as _, MonotonicClock};
use crate::protocol::{FromNode, ToNode};
use crate::wire::messages::{Facts, Landing, Pinned, Up, up};
use crate::wire::{BATCH_MAX, convert};
use conductor_core::config::{ClusterConfig, PolicyConfig, Role};
use conductor_core::ids::{BlockHash, NodeId, Ticket};
use conductor_engine::kv::BlockId;
use conductor_engine::{EngineError, Limits, StepOutput};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tonic::Status;

/// Messages that wait for the loop at most.
pub(super) const INBOX_MAX: usize = 1024;

/// Facts that wait for a gateway that does not read; with more it is taken to be gone.
const FACTS_MAX: usize = 1 << 16;

/// How often deadlines are looked at.
const TICK: Duration = Duration::from_millis(200);

/// What comes to the loop.
pub(super) enum Inbox {
    /// A gateway is there; whatever was before it is over.
    Session {
        session: u64,
        epoch: u64,
        nodes: Vec<String>,
        up: mpsc::Sender<Result<Up, Status>>,
    },
    /// Its connection has ended.
    SessionEnded(u64),
    Orders(u64, Vec<ToNode>),
    Ping(u64, u64),
    /// Where nodes are now.
    Nodes(u64, Vec<String>),
    Computed(Result<StepOutput, EngineError>),
    EngineDied,
    /// A transfer of KV has ended.
    Sent(u64, Result<(), Unsent>),
    /// A copy of blocks has ended: how many there are.
    Fetched(u64, u32),
    /// KV is here: which landing, and the answer's first token.
    Arrived(u64),
    /// No peer reaches these blocks any more.
    Closed(u64),
    Reserve(Ask, oneshot::Sender<Landing>),
    Pin(NodeId, Vec<BlockHash>, oneshot::Sender<Pinned>),
    Unpin(NodeId, u64, oneshot::Sender<bool>),
    Status(oneshot::Sender<NodeStatus>),
    /// For tests: nothing is done for so long, as if the process were stopped.
    Pause(Duration),
    End(oneshot::Sender<()>),
}

/// How a node stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeStatus {
    /// It has no work, and nothing moves.
    pub idle: bool,
    /// Its engine runs.
    pub computing: bool,
    /// A gateway is there.
    pub in_session: bool,
    /// Blocks in use, cached ones included.
    pub blocks_used: usize,
    /// Blocks that are cached.
    pub blocks_cached: usize,
    /// Tables of blocks that requests, steps and transfers hold: none, if it has no work.
    pub tables_held: usize,
    /// Times that the agent named a block that is not here: a bug.
    pub blocks_missing: u64,
    /// Prompts whose KV was sent whole.
    pub sent: u64,
    /// Prompts whose KV could not be sent.
    pub unsent: u64,
    /// Blocks that were copied from other nodes.
    pub fetched: u64,
    /// Prompts that were computed in more than one chunk.
    pub chunked: u64,
    /// Attempts that failed here.
    pub failed: u64,
    /// Reports of sessions that were ended because the gateway did not read.
    pub facts_lost: u64,
}

/// A gateway's session.
struct Session {
    number: u64,
    up: mpsc::Sender<Result<Up, Status>>,
    heard: Instant,
}

/// What a node is made of.
pub(super) struct Parts {
    pub(super) id: NodeId,
    pub(super) cluster: Arc<ClusterConfig>,
    pub(super) policy: Arc<PolicyConfig>,
    pub(super) limits: NodeLimits,
    /// What the engine takes.
    pub(super) engine_limits: Limits,
    /// Tokens that end an answer.
    pub(super) ends: Vec<u32>,
    pub(super) blocks: u32,
    pub(super) scratch: u32,
    pub(super) work: SyncSender<Work>,
    pub(super) peers: Arc<Peers>,
    pub(super) inbox: mpsc::Sender<Inbox>,
}

/// See the module.
pub(super) struct Body {
    pub(super) parts: Parts,
    pub(super) clock: MonotonicClock,
    pub(super) agent: Agent,
    role: Role,
    /// How often the role was taken: pins of an earlier agent mean nothing to a later one.
    pub(super) roles: u64,
    pub(super) kv: Kv,
    /// What is to run next, once there is room for it.
    pub(super) next: Option<Next>,
    pub(super) running: Option<Running>,
    pub(super) sequences: BTreeMap<Ticket, Sequence>,
    pub(super) jobs: BTreeMap<Ticket, Job>,
    pub(super) sends: BTreeMap<u64, (Ticket, Holder)>,
    pub(super) fetches: BTreeMap<u64, Fetching>,
    /// Blocks that were fetched for prompts that have not started.
    pub(super) fetched: BTreeMap<Ticket, Holder>,
    pub(super) landings: Landings,
    /// Blocks that others have filled since the engine was last told.
    pub(super) arrived: BTreeSet<BlockId>,
    pub(super) lent: BTreeMap<u64, Lent>,
    pub(super) closing: BTreeMap<u64, Closing>,
    /// The last number that was given to a transfer, a pin, or what is being closed.
    last: u64,
    session: Option<Session>,
    /// Sessions so far.
    pub(super) sessions: u64,
    pub(super) epoch: u64,
    pub(super) facts: Vec<FromNode>,
    pub(super) status: NodeStatus,
}

impl Body {
    pub(super) fn new(parts: Parts) -> Self {
        let role = parts.cluster.nodes[parts.id.index()].role;
        Self {
            clock: MonotonicClock::start(),
            agent: Agent::new(role, parts.id, &parts.cluster, &parts.policy),
            role,
            roles: 0,
            kv: Kv::new(parts.blocks),
            next: None,
            running: None,
            sequences: BTreeMap::new(),
            jobs: BTreeMap::new(),
            sends: BTreeMap::new(),
            fetches: BTreeMap::new(),
            fetched: BTreeMap::new(),
            landings: Landings::new(parts.scratch, parts.limits.reservations_max),
            arrived: BTreeSet::new(),
            lent: BTreeMap::new(),
            closing: BTreeMap::new(),
            last: 0,
            session: None,
            sessions: 0,
            epoch: 0,
            facts: Vec::new(),
            status: NodeStatus::default(),
            parts,
        }
    }

    /// Runs until it is told to end, or the engine has died: then it is `false`.
    pub(super) async fn run(mut self, mut inbox: mpsc::Receiver<Inbox>) -> bool {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let message = tokio::select! {
                biased;
                message = inbox.recv() => message,
                _ = ticks.tick() => {
                    self.tick();
                    self.say();
                    continue;
                }
            };
            match message {
                None | Some(Inbox::EngineDied) => return false,
                Some(Inbox::Pause(length)) => tokio::time::sleep(length).await,
                Some(Inbox::End(done)) => {
                    self.end(&mut inbox).await;
                    let _ = done.send(());
                    return true;
                }
                Some(message) => self.take(message),
            }
            self.say();
        }
    }

    fn take(&mut self, message: Inbox) {
        match message {
            Inbox::Session {
                session,
                epoch,
                nodes,
                up,
            } => self.begin_session(session, epoch, nodes, up),
            Inbox::SessionEnded(session) => {
                if self.speaks(session) {
                    self.end_session();
                }
            }
            Inbox::Orders(session, orders) => {
                if self.speaks(session) {
                    for order in orders {
                        self.obey(order);
                    }
                }
            }
            Inbox::Ping(session, number) => {
                if self.speaks(session) {
                    self.send_up(up::Kind::Pong(number));
                }
            }
            Inbox::Nodes(session, nodes) => {
                if self.speaks(session) {
                    self.parts.peers.set_addresses(nodes);
                }
            }
            Inbox::Computed(done) => self.computed(done),
            Inbox::Sent(send, result) => self.sent(send, result),
            Inbox::Fetched(fetch, count) => self.copied(fetch, count),
            Inbox::Arrived(word) => self.arrived(word),
            Inbox::Closed(number) => self.closed(number),
            Inbox::Reserve(ask, answer) => self.reserve(ask, answer),
            Inbox::Pin(from, hashes, answer) => self.lend(from, &hashes, answer),
            Inbox::Unpin(from, pin, answer) => {
                let _ = answer.send(self.take_back(from, pin));
            }
            Inbox::Status(answer) => {
                let _ = answer.send(self.status());
            }
            Inbox::EngineDied | Inbox::Pause(_) | Inbox::End(_) => {}
        }
    }

    /// True if that is the present session; it lives.
    fn speaks(&mut self, number: u64) -> bool {
        match &mut self.session {
            Some(session) if session.number == number => {
                session.heard = Instant::now();
                true
            }
            _ => false,
        }
    }

    fn begin_session(
        &mut self,
        number: u64,
        epoch: u64,
        nodes: Vec<String>,
        up: mpsc::Sender<Result<Up, Status>>,
    ) {
        self.end_session();
        self.parts.peers.set_addresses(nodes);
        self.epoch = epoch;
        self.sessions += 1;
        // The Conductor takes a node that comes up for one with the role of the cluster's file.
        let role = self.parts.cluster.nodes[self.parts.id.index()].role;
        if self.role != role {
            self.take_role(role);
        }
        self.session = Some(Session {
            number,
            up,
            heard: Instant::now(),
        });
        self.obey(ToNode::ReportCache);
    }

    /// The gateway has gone: all work for it is given up, and what is cached stays.
    fn end_session(&mut self) {
        if self.session.take().is_none() {
            return;
        }
        self.make_void();
        let mut out = Outputs::new();
        self.agent.session_ended(&mut out);
        self.carry_out(out);
        self.landings.refuse_all("the gateway's session has ended");
        self.facts.clear();
    }

    pub(super) fn take_role(&mut self, role: Role) {
        let Parts {
            id,
            cluster,
            policy,
            ..
        } = &self.parts;
        self.agent = Agent::new(role, *id, cluster, policy);
        self.role = role;
        self.roles += 1;
        self.kv.forget_all();
    }

    fn tick(&mut self) {
        let silent = self.parts.limits.silent();
        let gone = |session: &Session| session.heard.elapsed() > silent;
        if self.session.as_ref().is_some_and(gone) {
            self.end_session();
        }
        self.landings.expire(self.parts.limits.reserve());
        self.expire_lent();
        self.go_on();
    }

    /// Tells the gateway what there is to tell.
    fn say(&mut self) {
        while !self.facts.is_empty() {
            let Some(session) = &self.session else {
                self.facts.clear();
                return;
            };
            let Ok(permit) = session.up.try_reserve() else {
                if self.facts.len() > FACTS_MAX || session.up.is_closed() {
                    self.status.facts_lost += u64::from(!session.up.is_closed());
                    self.end_session();
                }
                return;
            };
            let count = self.facts.len().min(BATCH_MAX);
            let facts = self.facts.drain(..count).map(convert::fact).collect();
            let kind = Some(up::Kind::Facts(Facts { facts }));
            permit.send(Ok(Up { kind }));
        }
    }

    fn send_up(&self, kind: up::Kind) {
        if let Some(session) = &self.session {
            let kind = Some(kind);
            // A gateway that does not read its pongs will find out.
            let _ = session.up.try_send(Ok(Up { kind }));
        }
    }

    pub(super) fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    pub(super) fn fail(&mut self, ticket: Ticket, why: String) {
        self.status.failed += 1;
        self.facts.push(FromNode::Failed { ticket, why });
    }

    pub(super) fn now(&self) -> conductor_core::units::Nanos {
        self.clock.now()
    }

    fn is_idle(&self) -> bool {
        self.agent.is_idle() && self.running.is_none() && self.kv.held() == 0
    }

    fn status(&self) -> NodeStatus {
        let idle = self.is_idle();
        self.kv.check();
        NodeStatus {
            idle,
            computing: self.running.is_some(),
            in_session: self.session.is_some(),
            blocks_used: self.kv.used(),
            blocks_cached: self.kv.cached_count(),
            tables_held: self.kv.held(),
            blocks_missing: self.kv.missing(),
            ..self.status
        }
    }

    /// Gives all work up, and lets what reads and writes blocks for others come to its end.
    async fn end(&mut self, inbox: &mut mpsc::Receiver<Inbox>) {
        self.end_session();
        let deadline = Instant::now() + self.parts.limits.end();
        while !(self.sends.is_empty() && self.fetches.is_empty() && self.closing.is_empty()) {
            match tokio::time::timeout_at(deadline, inbox.recv()).await {
                Ok(Some(Inbox::Session { .. } | Inbox::Reserve(..) | Inbox::Pin(..))) => {}
                Ok(Some(message)) => self.take(message),
                Ok(None) | Err(_) => return,
            }
        }
    }
}
