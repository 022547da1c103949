//! A literal model of what the Conductor must remember: who is live where, which node is up, who holds which block.
//!
//! Sets and searches, nothing clever: it says what an event means, and the Conductor is held to that.

use conductor_core::action::RejectReason;
use conductor_core::conductor::Counters;
use conductor_core::config::{
    AdmissionConfig, ClassLimits, ClusterConfig, PolicyConfig, Role, RolesConfig,
};
use conductor_core::cost::PROMPT_MAX;
use conductor_core::event::Event;
use conductor_core::ids::{BlockHash, ClassId, NodeId, RequestId, Ticket, WorkflowId};
use conductor_core::units::{Nanos, Tokens};
use std::collections::{BTreeMap, BTreeSet};

/// How far an attempt has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Queued,
    Prefilling,
    Transferring,
    Decoding,
}

/// A request in the system.
#[derive(Clone, Debug)]
pub(crate) struct Live {
    pub(crate) ticket: Ticket,
    pub(crate) input: Tokens,
    pub(crate) blocks: Vec<BlockHash>,
    pub(crate) prefill: NodeId,
    pub(crate) decode: NodeId,
    pub(crate) reserved: Tokens,
    pub(crate) phase: Phase,
    /// Who sends it a copy, until its prefill starts.
    pub(crate) source: Option<NodeId>,
    pub(crate) class: ClassId,
    pub(crate) workflow: Option<WorkflowId>,
}

/// A job that is held.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) ticket: Ticket,
    pub(crate) input: Tokens,
    pub(crate) blocks: Vec<BlockHash>,
    pub(crate) class: ClassId,
    /// When it would have to go if it were alone.
    latest: i128,
    /// How long after it the next one of its class may go.
    pace: i128,
}

/// A node on its way to the other pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leaving {
    pub(crate) node: NodeId,
    pub(crate) to: Role,
    /// The driver has been ordered to switch it.
    pub(crate) ordered: bool,
}

impl Live {
    /// True if it needs its prefill node, which is this one.
    fn computed_by(&self, node: NodeId) -> bool {
        self.prefill == node && self.phase != Phase::Decoding
    }
}

/// What an event must lead to, apart from where a request is placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Nothing,
    Reject(RejectReason),
    /// Or a rejection by load, if the policy does that.
    Dispatch,
    Abort(Ticket),
    /// Abort and resubmission of each, in any order.
    Lost(BTreeSet<Ticket>),
}

pub(crate) struct Model {
    pub(crate) cluster: ClusterConfig,
    pub(crate) policy: PolicyConfig,
    pub(crate) live: BTreeMap<RequestId, Live>,
    pub(crate) up: BTreeSet<NodeId>,
    pub(crate) held: BTreeSet<(BlockHash, NodeId)>,
    /// Jobs that wait, by arrival.
    pub(crate) jobs: Vec<Job>,
    /// When the next job of a class may go because it has to.
    next: BTreeMap<ClassId, i128>,
    roles: Vec<Role>,
    pub(crate) leaving: Option<Leaving>,
    pub(crate) counters: Counters,
}

impl Model {
    pub(crate) fn new(cluster: ClusterConfig, policy: PolicyConfig) -> Self {
        Self {
            roles: cluster.nodes.iter().map(|node| node.role).collect(),
            leaving: None,
            cluster,
            policy,
            live: BTreeMap::new(),
            up: BTreeSet::new(),
            held: BTreeSet::new(),
            jobs: Vec::new(),
            next: BTreeMap::new(),
            counters: Counters::default(),
        }
    }

    pub(crate) fn role(&self, node: NodeId) -> Option<Role> {
        self.roles.get(node.index()).copied()
    }

    /// Nodes of a pool that take work.
    pub(crate) fn up_with(&self, role: Role) -> impl Iterator<Item = NodeId> + '_ {
        let leaving = self.leaving.map(|leaving| leaving.node);
        let with_role =
            move |node: &NodeId| self.role(*node) == Some(role) && leaving != Some(*node);
        self.up.iter().copied().filter(with_role)
    }

    /// Nodes whose cache is there: prefill nodes that take work, or drain.
    fn caches(&self) -> impl Iterator<Item = NodeId> + '_ {
        let draining = self
            .leaving
            .filter(|leaving| !leaving.ordered && leaving.to == Role::Decode);
        self.up_with(Role::Prefill)
            .chain(draining.map(|leaving| leaving.node))
    }

    /// Nodes that copies may be asked of.
    pub(crate) fn sources(&self) -> impl Iterator<Item = NodeId> + '_ {
        let drains = |node: NodeId| self.leaving.is_some_and(|leaving| leaving.node == node);
        let works = |node: NodeId| self.live.values().any(|live| live.computed_by(node));
        self.caches()
            .filter(move |&node| !drains(node) || works(node))
    }

    /// True if nothing is left to do on a node.
    pub(crate) fn is_idle(&self, node: NodeId) -> bool {
        let on = |live: &Live| {
            live.computed_by(node) || live.decode == node || live.source == Some(node)
        };
        !self.live.values().any(on)
    }

    /// A node is taken out of its pool, which is large enough.
    pub(crate) fn drain(&mut self, node: NodeId, to: Role) {
        assert_eq!(self.leaving, None, "one at a time");
        let from = self.role(node).expect("it is known");
        assert!(self.up.contains(&node) && from != to);
        self.leaving = Some(Leaving {
            node,
            to,
            ordered: false,
        });
        assert!(self.up_with(from).count() >= self.nodes_min());
    }

    fn nodes_min(&self) -> usize {
        match self.policy.roles {
            RolesConfig::LoadGap(config) => config.nodes_min as usize,
            RolesConfig::Off => panic!("no node changes its role"),
        }
    }

    pub(crate) fn capacity(&self, node: NodeId) -> Tokens {
        self.cluster.block * u64::from(self.cluster.nodes[node.index()].hbm_blocks)
    }

    pub(crate) fn reserved(&self, node: NodeId) -> Tokens {
        let on = self.live.values().filter(|live| live.decode == node);
        on.map(|live| live.reserved).sum()
    }

    /// Requests placed on a prefill node that have no first token.
    pub(crate) fn assigned(&self, node: NodeId) -> usize {
        let on = self
            .live
            .values()
            .filter(|live| live.prefill == node && live.phase <= Phase::Prefilling);
        on.count()
    }

    /// Leading blocks of the prompt that `node` holds; what lies beyond the prompt's tokens does not count.
    pub(crate) fn depth(&self, node: NodeId, input: Tokens, blocks: &[BlockHash]) -> u32 {
        let known = blocks
            .iter()
            .take(input.blocks(self.cluster.block) as usize);
        known
            .take_while(|&&block| self.held.contains(&(block, node)))
            .count() as u32
    }

    pub(crate) fn needed(&self, input: Tokens) -> Tokens {
        input + self.policy.decode.output_reserve
    }

    /// Takes an event in. A dispatch must be entered with [`Self::dispatched`].
    pub(crate) fn take(&mut self, now: Nanos, event: &Event<'_>) -> Expected {
        match event {
            Event::Arrived {
                ticket,
                input,
                blocks,
                class,
                ..
            } => return self.arrived(now, *ticket, *input, blocks, self.class(*class)),
            Event::PrefillStarted { ticket, .. } => {
                self.goes_on(*ticket, Phase::Queued, Phase::Prefilling);
            }
            Event::PrefillFinished { ticket } => {
                self.goes_on(*ticket, Phase::Prefilling, Phase::Transferring);
            }
            Event::TransferFinished { ticket } => {
                self.goes_on(*ticket, Phase::Transferring, Phase::Decoding);
            }
            Event::Finished { ticket, .. } => {
                if self.ends(*ticket) {
                    self.counters.finished += 1;
                }
            }
            Event::Refused { ticket } => {
                if self.ends(*ticket) {
                    self.counters.refused += 1;
                    return Expected::Reject(RejectReason::DecodeFull);
                }
            }
            Event::Failed { ticket } => {
                if self.ends(*ticket) {
                    return self.lose(BTreeSet::from([*ticket]));
                }
            }
            Event::Cancelled { request } => {
                if let Some(live) = self.live.remove(request) {
                    self.counters.cancelled += 1;
                    return Expected::Abort(live.ticket);
                }
                let jobs = self.jobs.len();
                self.jobs.retain(|job| job.ticket.request != *request);
                match self.jobs.len() < jobs {
                    true => self.counters.cancelled_held += 1,
                    false => self.counters.stale += 1,
                }
            }
            Event::BlocksStored { node, blocks } => self.stored(*node, blocks),
            Event::BlocksEvicted { node, blocks } => {
                for &block in blocks.iter() {
                    self.held.remove(&(block, *node));
                }
            }
            Event::CacheReported { node, blocks } => {
                if self.caches().any(|other| other == *node) {
                    self.held.retain(|(_, other)| other != node);
                    self.stored(*node, blocks);
                }
            }
            Event::NodeUp { node } => match self.role(*node) {
                Some(_) => {
                    // A node that comes up again has lost what it had.
                    let again = self.up.contains(node);
                    let lost = if again {
                        self.node_down(*node)
                    } else {
                        Expected::Nothing
                    };
                    self.up.insert(*node);
                    self.roles[node.index()] = self.cluster.nodes[node.index()].role;
                    return lost;
                }
                None => self.counters.stale += 1,
            },
            Event::NodeDown { node } => return self.node_down(*node),
            Event::RoleChanged { node, role } => self.role_changed(*node, *role),
            Event::Restarted => {
                let mut counters = self.counters;
                counters.lost += self.live.len() as u64;
                *self = Self::new(self.cluster.clone(), self.policy.clone());
                self.counters = counters;
            }
        }
        Expected::Nothing
    }

    pub(crate) fn dispatched(&mut self, live: Live) {
        self.counters.dispatched += 1;
        let old = self.live.insert(live.ticket.request, live);
        assert!(old.is_none(), "a request is dispatched once at a time");
    }

    /// A class that the policy does not have is its first.
    fn class(&self, class: ClassId) -> ClassId {
        let known = class.index() < self.policy.classes.len();
        if known { class } else { ClassId(0) }
    }

    pub(crate) fn limits(&self, class: ClassId) -> ClassLimits {
        self.policy.classes[self.class(class).index()].limits
    }

    /// True if the policy may turn a request away that could be placed.
    pub(crate) fn may_refuse(&self, ticket: Ticket, class: ClassId, reason: RejectReason) -> bool {
        let by_load = self.policy.admission != AdmissionConfig::None;
        let workflow = matches!(self.limits(class), ClassLimits::Workflow { .. });
        ticket.attempt == 0
            && match reason {
                RejectReason::PrefillLoad | RejectReason::DecodeLoad => by_load,
                RejectReason::TooLate => workflow,
                _ => false,
            }
    }

    /// When a job has to go: at its own latest time, or so long before the next one of its class that that one can
    /// follow.
    fn go_by(&self, place: usize) -> i128 {
        let job = &self.jobs[place];
        let mut after = (place + 1..self.jobs.len()).filter(|&i| self.jobs[i].class == job.class);
        let follows = after.next().map(|next| self.go_by(next) - job.pace);
        follows.map_or(job.latest, |follows| follows.min(job.latest))
    }

    /// The job that has to go first, and when.
    pub(crate) fn first_job(&self) -> Option<(&Job, i128)> {
        let jobs = self.jobs.iter().enumerate();
        let times = jobs.map(|(place, job)| (self.go_by(place), job.class, place));
        let (go_by, _, place) = times.min()?;
        Some((&self.jobs[place], go_by))
    }

    /// A job is no longer held; true if it went because it had to.
    pub(crate) fn release(&mut self, ticket: Ticket, had_to: bool) -> Job {
        let place = self.jobs.iter().position(|job| job.ticket == ticket);
        let place = place.expect("it is held");
        let go_by = self.go_by(place);
        let job = self.jobs.remove(place);
        if had_to {
            let next = self.next.entry(job.class).or_default();
            *next = (*next).max(go_by + job.pace);
        }
        job
    }

    /// Holds a job, if then all that are held can go in time at the pace of their class.
    fn hold(&mut self, now: Nanos, job: &Job, total: Nanos) -> bool {
        let nanos = |time: Nanos| i128::from(time.0);
        let (mut tbt, mut ttft, mut weights) = (Vec::new(), Vec::new(), 0);
        for class in &self.policy.classes {
            weights += i128::from(class.weight);
            if let ClassLimits::Answer(slo) = class.limits {
                tbt.push(slo.tbt);
                ttft.push(slo.ttft);
            }
        }
        let tbt = tbt.into_iter().min().unwrap_or(self.policy.slo.tbt);
        let ttft = ttft.into_iter().max().unwrap_or(self.policy.slo.ttft);
        // All nodes of these tests are of one kind.
        let work = nanos(
            self.cluster
                .estimate()
                .of(NodeId(0))
                .prefill(job.input, Tokens::ZERO),
        );
        let decode = nanos(tbt) * i128::from(self.policy.decode.output_reserve.0);
        let slack = nanos(total) - work - decode;
        if slack < 0 {
            return false;
        }
        let own = i128::from(self.policy.classes[job.class.index()].weight);
        let nodes = self.up_with(Role::Prefill).count() as i128;
        let job = Job {
            latest: nanos(now) + (slack - nanos(ttft)).max(0),
            pace: work * weights / (nodes * own),
            ..job.clone()
        };
        let class = job.class;
        self.jobs.push(job);
        let first = (0..self.jobs.len()).find(|&i| self.jobs[i].class == class);
        let next = self.next.get(&class).copied().unwrap_or(0);
        let in_time = self.go_by(first.expect("at least the new one")) >= next.max(nanos(now));
        if !in_time {
            self.jobs.pop();
        }
        in_time
    }

    fn arrived(
        &mut self,
        now: Nanos,
        ticket: Ticket,
        input: Tokens,
        blocks: &[BlockHash],
        class: ClassId,
    ) -> Expected {
        let held = self
            .jobs
            .iter()
            .any(|job| job.ticket.request == ticket.request);
        if held || self.live.contains_key(&ticket.request) {
            self.counters.stale += 1;
            return Expected::Nothing;
        }
        self.counters.arrived += u64::from(ticket.attempt == 0);
        let job = Job {
            ticket,
            input,
            blocks: blocks.to_vec(),
            class,
            latest: 0,
            pace: 0,
        };
        let reason = if input.is_zero() || input > PROMPT_MAX {
            RejectReason::PromptTooLong
        } else if self.live.len() + self.jobs.len() >= self.cluster.live_requests_max as usize {
            RejectReason::TooManyRequests
        } else if self.up_with(Role::Prefill).next().is_none() {
            RejectReason::NoPrefillNode
        } else if self.up_with(Role::Decode).next().is_none() {
            RejectReason::NoDecodeNode
        } else if !self.fits_somewhere(input) {
            match self.fits_when_up(input) {
                true => RejectReason::NoDecodeNode,
                false => RejectReason::PromptTooLong,
            }
        } else if let (ClassLimits::Completion { total }, 0) = (self.limits(class), ticket.attempt)
        {
            if self.hold(now, &job, total) {
                return Expected::Nothing;
            }
            RejectReason::TooLate
        } else {
            return Expected::Dispatch;
        };
        self.counters.rejected += 1;
        Expected::Reject(reason)
    }

    /// True if a decode node that is up is large enough.
    pub(crate) fn fits_somewhere(&self, input: Tokens) -> bool {
        self.up_with(Role::Decode)
            .any(|node| self.needed(input) <= self.capacity(node))
    }

    /// True if a node that is down will be a decode node that is large enough.
    fn fits_when_up(&self, input: Tokens) -> bool {
        let nodes = self.cluster.nodes.iter().enumerate();
        nodes
            .map(|(i, spec)| (NodeId(i as u16), spec))
            .any(|(node, spec)| {
                let down = spec.role == Role::Decode && !self.up.contains(&node);
                down && self.needed(input) <= self.capacity(node)
            })
    }

    fn is_live(&self, ticket: Ticket) -> bool {
        let live = self.live.get(&ticket.request);
        live.is_some_and(|live| live.ticket == ticket)
    }

    fn goes_on(&mut self, ticket: Ticket, from: Phase, to: Phase) {
        match self.live.get_mut(&ticket.request) {
            Some(live) if live.ticket == ticket && live.phase == from => {
                live.phase = to;
                live.source = None;
            }
            _ => self.counters.stale += 1,
        }
    }

    fn ends(&mut self, ticket: Ticket) -> bool {
        let live = self.is_live(ticket);
        if live {
            self.live.remove(&ticket.request);
        } else {
            self.counters.stale += 1;
        }
        live
    }

    fn stored(&mut self, node: NodeId, blocks: &[BlockHash]) {
        if !self.caches().any(|cache| cache == node) {
            return;
        }
        for &block in blocks {
            let distinct: BTreeSet<BlockHash> = self.held.iter().map(|held| held.0).collect();
            let full = distinct.len() as u64 >= self.cluster.index_blocks_max;
            if full && !distinct.contains(&block) {
                self.counters.unindexed_blocks += 1;
            } else {
                self.held.insert((block, node));
            }
        }
    }

    fn role_changed(&mut self, node: NodeId, role: Role) {
        let ordered = Leaving {
            node,
            to: role,
            ordered: true,
        };
        if self.leaving != Some(ordered) {
            self.counters.stale += 1;
            return;
        }
        self.leaving = None;
        self.roles[node.index()] = role;
        self.held.retain(|held| held.1 != node);
        self.counters.role_switches += 1;
    }

    fn node_down(&mut self, node: NodeId) -> Expected {
        if self.role(node).is_none() {
            self.counters.stale += 1;
            return Expected::Nothing;
        }
        self.up.remove(&node);
        self.held.retain(|held| held.1 != node);
        if let Some(Leaving {
            node: leaving,
            to,
            ordered,
        }) = self.leaving
        {
            let from = if to == Role::Decode {
                Role::Prefill
            } else {
                Role::Decode
            };
            let too_few = || self.up_with(from).count() < self.nodes_min();
            if leaving == node || !ordered && too_few() {
                self.leaving = None;
            }
        }
        let needs = |live: &&Live| {
            live.decode == node || live.prefill == node && live.phase != Phase::Decoding
        };
        let lost: BTreeSet<Ticket> = self
            .live
            .values()
            .filter(needs)
            .map(|live| live.ticket)
            .collect();
        for ticket in &lost {
            self.live.remove(&ticket.request);
        }
        self.lose(lost)
    }

    /// These attempts are lost; requests of which too many are, with them.
    fn lose(&mut self, lost: BTreeSet<Ticket>) -> Expected {
        self.counters.lost += lost.len() as u64;
        let most = self.policy.lost.attempts_max;
        let last = lost.iter().filter(|ticket| ticket.attempt + 1 >= most);
        self.counters.given_up += last.count() as u64;
        Expected::Lost(lost)
    }
}
