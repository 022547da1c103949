//! The Conductor: the global scheduler as a state machine.
//!
//! `handle` takes one fact and the time and writes orders; it never fails, never blocks, and allocates
//! nothing once its tables have grown to their working size. Facts about unknown or ended attempts are *expected* in a
//! distributed system: they change nothing and are counted.
//!
//! ```
//! use conductor_core::action::{Action, Actions};
//! use conductor_core::conductor::Conductor;
//! use conductor_core::config::{ClusterConfig, PolicyConfig};
//! use conductor_core::event::Event;
//! use conductor_core::ids::{BlockHash, ClassId, NodeId, RequestId, Ticket};
//! use conductor_core::units::{Nanos, Tokens};
//!
//! let cluster = ClusterConfig::built_in("2p1d")?;
//! let policy = PolicyConfig::built_in("kvcache-centric")?;
//! let estimate = cluster.estimate();
//! let mut conductor = Conductor::new(cluster, policy, estimate, 1);
//! let mut actions = Actions::default();
//! for node in [0, 1, 2].map(NodeId) {
//!     conductor.handle(Nanos::ZERO, &Event::NodeUp { node }, &mut actions);
//! }
//! let ticket = Ticket { request: RequestId(7), attempt: 0 };
//! let blocks = [BlockHash(1), BlockHash(2)];
//! let arrived = Event::Arrived { ticket, input: Tokens(1_000), blocks: (&blocks[..]).into(), answer: None,
//!     class: ClassId(0), workflow: None };
//! conductor.handle(Nanos::from_secs(1), &arrived, &mut actions);
//! assert!(matches!(actions.as_slice(), [Action::Dispatch { prefill: NodeId(0), decode: NodeId(2), reuse: 0, .. }]));
//! # Ok::<(), conductor_core::config::ConfigError>(())
//! ```

mod arrive;
mod held;
mod lifecycle;
mod load;
mod restart;
mod roles;

pub use load::Loads;

use arrive::Arrival;
use roles::Roles;

use crate::action::Actions;
use crate::books::{Backlog, DecodeBooks, Forecast, PrefillBooks, Shares, Workflows};
use crate::config::{
    ClusterConfig, NodeSpec, PolicyConfig, PrefillSelect, Ratio, ReplicationConfig, Role,
};
use crate::cost::Costs;
use crate::event::Event;
use crate::ids::{ClassId, NodeId, RequestId, Ticket, WorkflowId};
use crate::index::{BlockIndex, Matches};
use crate::map::Map;
use crate::policy::predict::Answering;
use crate::policy::{self, AdmissionPolicy, DecodePolicy, LoadPredictor, PrefillPolicy};
use crate::units::{Nanos, Tokens};
use alloc::boxed::Box;
use alloc::vec::Vec;

/// When the Conductor wants to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// When.
    pub at: Nanos,
}

/// How far an attempt has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// In a prefill node's queue.
    Queued,
    /// Being computed.
    Prefilling,
    /// The first token is there; KV is on its way.
    Transferring,
    /// In a decode node.
    Decoding,
}

/// A request in the system.
#[derive(Clone, Copy, Debug)]
struct Live {
    ticket: Ticket,
    phase: Phase,
    arrived: Nanos,
    class: ClassId,
    workflow: Option<WorkflowId>,
    input: Tokens,
    prefill: NodeId,
    decode: NodeId,
    /// Prefill work as booked.
    work: Nanos,
    /// KV tokens as booked on the decode node.
    reserved: Tokens,
    /// Who sends it a copy that has not been counted as sent.
    source: Option<NodeId>,
    /// Time to first token as predicted when it was placed.
    predicted_ttft: Nanos,
    /// Time of a token as predicted when it was placed; from the beginning of its decoding, as predicted then.
    step: Nanos,
    /// The true answer length, for the oracle alone.
    answer: Option<Tokens>,
}

impl Live {
    /// What a predictor may look at once it has decoded for `since`.
    fn answering(&self, since: Nanos) -> Answering {
        Answering {
            input: self.input,
            since,
            step: self.step,
            answer: self.answer,
        }
    }
}

/// What has happened so far, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests that came in, resubmitted attempts not counted.
    pub arrived: u64,
    /// Dispatches.
    pub dispatched: u64,
    /// Rejections at arrival, and of jobs that were held and became too large for what is up.
    pub rejected: u64,
    /// Answers completed.
    pub finished: u64,
    /// Attempts that a decode node refused after prefill.
    pub refused: u64,
    /// Requests whose client went.
    pub cancelled: u64,
    /// Jobs whose client went while they were held; not among `cancelled`, which were dispatched.
    pub cancelled_held: u64,
    /// Attempts lost: with a node, with a Conductor that restarted, or because they failed.
    pub lost: u64,
    /// Requests that were turned away because as many attempts were lost as may be.
    pub given_up: u64,
    /// Copies ordered.
    pub replications: u64,
    /// Finished requests that met both limits.
    pub within_slo: u64,
    /// Facts about unknown or ended attempts.
    pub stale: u64,
    /// Blocks that the full index could not note.
    pub unindexed_blocks: u64,
    /// Nodes that have changed their role.
    pub role_switches: u64,
}

/// The global scheduler.
pub struct Conductor {
    cluster: ClusterConfig,
    policy: PolicyConfig,
    costs: Costs,
    seed: u64,
    /// The balancing threshold, if nodes fetch at all.
    fetch: Option<Ratio>,
    prefill_policy: Box<dyn PrefillPolicy>,
    decode_policy: Box<dyn DecodePolicy>,
    admission_policy: Box<dyn AdmissionPolicy>,
    predictor: Box<dyn LoadPredictor>,
    forecast: Forecast,
    shares: Shares,
    workflows: Workflows,
    backlog: Backlog,
    index: BlockIndex,
    matches: Matches,
    prefill_books: PrefillBooks,
    decode_books: DecodeBooks,
    roles: Roles,
    live: Vec<Option<Live>>,
    slot_of: Map<u32>,
    free_slots: Vec<u32>,
    now: Nanos,
    counters: Counters,
    /// Time to first token of live requests that have it, by slot.
    ttft: Vec<Nanos>,
}

impl Conductor {
    /// A scheduler for `cluster`, all nodes down. `costs` is what it estimates with; `seed` feeds random policies.
    #[must_use]
    pub fn new(cluster: ClusterConfig, policy: PolicyConfig, costs: Costs, seed: u64) -> Self {
        let nodes = cluster.nodes.len();
        let capacity = |node: &NodeSpec| cluster.block * u64::from(node.hbm_blocks);
        let capacity = cluster.nodes.iter().map(capacity);
        let coupled = |node: &NodeSpec| node.role == Role::Coupled;
        let coupled: Vec<bool> = cluster.nodes.iter().map(coupled).collect();
        let fetch = match policy.replication {
            ReplicationConfig::LeaveCopy => policy.prefill.balancing_threshold,
            // Any match that is longer at all.
            ReplicationConfig::OnePool => policy.prefill.balancing_threshold.or(Some(Ratio(1000))),
            ReplicationConfig::Off => None,
        };
        let by_count = policy.prefill.select == PrefillSelect::LeastLoaded;
        // What a coupled node caches is in its HBM: its engine neither lends nor borrows blocks.
        let fetch = fetch.filter(|_| !coupled.contains(&true));
        Self {
            fetch,
            prefill_policy: policy::prefill::build(policy.prefill.select, seed),
            decode_policy: policy::decode::build(),
            admission_policy: policy::admission::build(policy.admission),
            predictor: policy::predict::build(policy.admission),
            // Others ask for no decode load, or of each request how long it stays.
            forecast: Forecast::new(policy.admission.sums_decoding()),
            shares: Shares::new(&policy.classes),
            workflows: Workflows::new(cluster.live_requests_max as usize),
            backlog: Backlog::new(policy.classes.len()),
            index: BlockIndex::new(nodes, cluster.index_blocks_max as usize, 1 << 16),
            matches: Matches::new(nodes),
            prefill_books: PrefillBooks::new(nodes, by_count),
            decode_books: DecodeBooks::new(capacity.collect(), coupled, policy.decode.select),
            roles: Roles::new(policy.roles, &cluster),
            live: Vec::new(),
            slot_of: Map::with_capacity(1 << 10),
            free_slots: Vec::new(),
            now: Nanos::ZERO,
            counters: Counters::default(),
            ttft: Vec::new(),
            cluster,
            policy,
            costs,
            seed,
        }
    }

    /// Takes a fact that became known at `now` and appends the orders that follow from it.
    ///
    /// # Panics
    /// If `now` is before an earlier call's: the driver owns time and must not turn it back.
    pub fn handle(&mut self, now: Nanos, event: &Event<'_>, actions: &mut Actions) {
        assert!(
            now >= self.now,
            "time goes forward: {now} after {}",
            self.now
        );
        self.now = now;
        self.watch_roles();
        match event {
            Event::Arrived {
                ticket,
                input,
                blocks,
                answer,
                class,
                workflow,
            } => self.arrived(
                Arrival {
                    ticket: *ticket,
                    arrived: now,
                    input: *input,
                    blocks,
                    answer: *answer,
                    class: *class,
                    workflow: *workflow,
                },
                actions,
            ),
            Event::PrefillStarted { ticket, cached } => self.prefill_started(*ticket, *cached),
            Event::PrefillFinished { ticket } => self.prefill_finished(*ticket),
            Event::TransferFinished { ticket } => self.transfer_finished(*ticket),
            Event::Finished {
                ticket,
                output,
                tbt,
            } => self.finished(*ticket, *output, *tbt),
            Event::Refused { ticket } => self.refused(*ticket, actions),
            Event::Failed { ticket } => self.failed(*ticket, actions),
            Event::Cancelled { request } => self.cancelled(*request, actions),
            Event::BlocksStored { node, blocks } => {
                if self.knows(*node) && self.prefill_books.has_cache(*node) {
                    self.counters.unindexed_blocks += self.index.store(*node, blocks);
                }
            }
            Event::BlocksEvicted { node, blocks } => {
                if self.knows(*node) {
                    self.index.evict(*node, blocks);
                }
            }
            Event::CacheReported { node, blocks } => self.cache_reported(*node, blocks),
            Event::NodeUp { node } => self.node_up(*node, actions),
            Event::NodeDown { node } => self.node_down(*node, actions),
            Event::RoleChanged { node, role } => self.role_changed(*node, *role),
            Event::Restarted => self.restarted(),
        }
        self.release_held(actions);
        self.switch_if_empty(actions);
    }

    /// When to wake it with no other event. No present policy waits for time to pass, so there is none; role switching
    /// looks at the loads with the events that come.
    #[must_use]
    pub const fn deadline(&self) -> Option<Deadline> {
        None
    }

    /// What has happened so far.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Requests in the system, those that are held included.
    #[must_use]
    pub fn live(&self) -> usize {
        self.slot_of.len() + self.backlog.len()
    }

    /// The policy that decides.
    #[must_use]
    pub const fn policy(&self) -> &PolicyConfig {
        &self.policy
    }

    /// Where cached blocks are, as far as the Conductor knows.
    #[must_use]
    pub const fn index(&self) -> &BlockIndex {
        &self.index
    }

    /// Asserts that an empty system has empty books.
    pub fn assert_idle(&self) {
        self.backlog.assert_empty();
        assert_eq!(self.live(), 0, "no request is in the system");
        self.prefill_books.assert_empty();
        self.decode_books.assert_empty();
        let ended = self.counters.finished
            + self.counters.refused
            + self.counters.cancelled
            + self.counters.lost;
        assert_eq!(
            self.counters.dispatched, ended,
            "each dispatched attempt ended once"
        );
    }

    fn knows(&self, node: NodeId) -> bool {
        node.index() < self.cluster.nodes.len()
    }

    /// The slot of a live attempt; anything else is stale and counted.
    fn find(&mut self, ticket: Ticket) -> Option<usize> {
        let slot = self.slot_of.get(ticket.request.0).map(|slot| slot as usize);
        let slot = slot.filter(|&slot| self.live[slot].is_some_and(|live| live.ticket == ticket));
        if slot.is_none() {
            self.counters.stale += 1;
        }
        slot
    }

    fn slot_of_request(&self, request: RequestId) -> Option<usize> {
        self.slot_of.get(request.0).map(|slot| slot as usize)
    }
}
