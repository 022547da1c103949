//! Drives a Conductor and the literal model with the same events, and holds each order to what the model allows.

use crate::model::{Expected, Leaving, Live, Model, Phase};
use conductor_core::action::{Action, Actions, RejectReason};
use conductor_core::conductor::{Conductor, Counters};
use conductor_core::config::{ClusterConfig, PolicyConfig, PrefillSelect, Role};
use conductor_core::event::Event;
use conductor_core::ids::{BlockHash, ClassId, NodeId, Ticket, WorkflowId};
use conductor_core::journal::{Header, Recorder, encode_end, encode_step};
use conductor_core::units::{Nanos, Tokens};
use std::collections::{BTreeMap, BTreeSet};

/// A recorded run.
pub(crate) struct Tape {
    pub(crate) header: Header,
    pub(crate) steps: Vec<(Nanos, Event<'static>, Vec<Action>)>,
    pub(crate) counters: Counters,
    /// Jobs that were let go early, and because they had to.
    pub(crate) released: [u64; 2],
}

impl Tape {
    /// The journal's lines as they stand, with the digest that `recorder` would have kept of the original.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut recorder = Recorder::new(&self.header);
        let mut lines = vec![self.header.encode()];
        for (now, event, actions) in &self.steps {
            let step = recorder.record(*now, event, actions);
            lines.push(encode_step(step, *now, event, actions));
        }
        lines.push(encode_end(&recorder.end()));
        lines
    }
}

/// The Conductor, its model, and what has been said so far.
pub(crate) struct Driver {
    pub(crate) conductor: Conductor,
    pub(crate) model: Model,
    pub(crate) now: Nanos,
    pub(crate) tape: Tape,
    /// Attempts that have ended, for late facts.
    pub(crate) ended: Vec<Ticket>,
    /// Attempts that were lost with a node and wait to be given in again.
    pub(crate) lost: Vec<Live>,
    /// How often each attempt was dispatched, and how often it ended.
    fates: BTreeMap<Ticket, (u32, u32)>,
    actions: Actions,
}

/// The seed of random policies; any will do.
pub(crate) const SEED: u64 = 7;

impl Driver {
    pub(crate) fn new(cluster: ClusterConfig, policy: PolicyConfig) -> Self {
        let header = Header::new("test", &policy, &cluster, SEED);
        let estimate = cluster.estimate();
        Self {
            conductor: Conductor::new(cluster.clone(), policy.clone(), estimate, SEED),
            model: Model::new(cluster, policy),
            now: Nanos::ZERO,
            tape: Tape {
                header,
                steps: Vec::new(),
                counters: Counters::default(),
                released: [0; 2],
            },
            ended: Vec::new(),
            lost: Vec::new(),
            fates: BTreeMap::new(),
            actions: Actions::default(),
        }
    }

    /// Tells both of one event and compares.
    pub(crate) fn tell(&mut self, event: Event<'static>) {
        let before = self.model.live.clone();
        self.actions.clear();
        let leaving = self.conductor.leaving();
        self.conductor.handle(self.now, &event, &mut self.actions);
        let ordered = self.actions.as_slice().to_vec();
        // A switch is ordered last, whatever else the event leads to.
        let (actions, switch) = match ordered[..] {
            [ref actions @ .., Action::SwitchRole { node, to }] => {
                (actions.to_vec(), Some((node, to)))
            }
            _ => (ordered.clone(), None),
        };
        // Who leaves is chosen before the event.
        if let (None, Some((node, to))) = (leaving, self.conductor.leaving()) {
            self.model.drain(node, to);
        }
        let expected = self.model.take(self.now, &event);
        if event == Event::Restarted {
            self.lost.extend(before.values().cloned());
        }
        // Jobs that were held go after what the event itself leads to.
        let own = actions.iter().position(|action| self.is_of_job(action));
        let (actions, released) = actions.split_at(own.unwrap_or(actions.len()));
        match expected {
            Expected::Nothing => assert_eq!(actions, [], "{event:?}"),
            Expected::Abort(ticket) => assert_eq!(actions, [Action::Abort { ticket }]),
            Expected::Lost(tickets) => self.check_lost(&tickets, &before, actions),
            Expected::Reject(expected) => match actions[..] {
                [
                    Action::Reject {
                        request, reason, ..
                    },
                ] => {
                    let (Event::Arrived { ticket, .. } | Event::Refused { ticket }) = event else {
                        unreachable!("only who arrives, or has been prefilled, is turned away")
                    };
                    assert_eq!((request, reason), (ticket.request, expected));
                }
                _ => panic!("expected to reject for {expected:?}, found {actions:?}"),
            },
            Expected::Dispatch => self.check_taken(&event, actions),
        }
        self.check_released(released);
        for (request, live) in before {
            if !self.model.live.contains_key(&request) {
                self.ended.push(live.ticket);
                self.fates.entry(live.ticket).or_default().1 += 1;
            }
        }
        self.check_switch(switch);
        self.tape.steps.push((self.now, event, ordered));
        self.check();
    }

    /// The node that leaves is ordered to switch when it is empty, and not before.
    fn check_switch(&mut self, switch: Option<(NodeId, Role)>) {
        let leaving = self.model.leaving.map(|leaving| (leaving.node, leaving.to));
        assert_eq!(self.conductor.leaving(), leaving);
        match self.model.leaving {
            Some(
                leaving @ Leaving {
                    node,
                    to,
                    ordered: false,
                },
            ) => {
                let idle = self.model.is_idle(node);
                assert_eq!(switch, idle.then_some((node, to)));
                self.model.leaving = Some(Leaving {
                    ordered: idle,
                    ..leaving
                });
            }
            _ => assert_eq!(switch, None),
        }
        for node in (0..self.model.cluster.nodes.len() as u16).map(NodeId) {
            assert_eq!(self.conductor.role(node), self.model.role(node));
        }
    }

    /// What must hold after every event.
    fn check(&self) {
        let live = self.conductor.live();
        assert_eq!(live, self.model.live.len() + self.model.jobs.len());
        assert!(live <= self.model.cluster.live_requests_max as usize);
        let found = self.conductor.counters();
        let mut expected = self.model.counters;
        // These two are not the model's business: checked where orders are, and a matter of times.
        expected.replications = found.replications;
        expected.within_slo = found.within_slo;
        assert_eq!(*found, expected);
        assert!(found.within_slo <= found.finished);
    }

    /// What must hold when all is over: books are empty, and each attempt was dispatched once and ended once.
    pub(crate) fn finish(mut self) -> Tape {
        self.bring_up();
        while let Some(live) = self.model.live.values().next() {
            let ticket = live.ticket;
            let event = match live.phase {
                Phase::Queued => Event::PrefillStarted {
                    ticket,
                    cached: Tokens::ZERO,
                },
                Phase::Prefilling => Event::PrefillFinished { ticket },
                Phase::Transferring => Event::TransferFinished { ticket },
                Phase::Decoding => Event::Finished {
                    ticket,
                    output: Tokens(2),
                    tbt: None,
                },
            };
            self.tell(event);
            self.bring_up();
        }
        self.conductor.assert_idle();
        for (ticket, fate) in &self.fates {
            assert_eq!(*fate, (1, 1), "{ticket} is dispatched once and ends once");
        }
        for node in 0..self.model.cluster.nodes.len() as u16 {
            for block in crate::random_events::all_blocks() {
                let held = self.conductor.index().holds(NodeId(node), block);
                let expected = self.model.held.contains(&(block, NodeId(node)));
                assert_eq!(held, expected, "node {node}, {block:?}");
            }
        }
        self.tape.counters = *self.conductor.counters();
        self.tape
    }

    /// Who is held goes when nobody else is there, if there are nodes at all.
    fn bring_up(&mut self) {
        for node in (0..self.model.cluster.nodes.len() as u16).map(NodeId) {
            if self.model.live.is_empty() && !self.model.jobs.is_empty() {
                self.tell(Event::NodeUp { node });
            }
        }
    }

    /// A lost attempt is stopped and asked for again at once, or its request is turned away if it was the last.
    fn check_lost(
        &mut self,
        tickets: &BTreeSet<Ticket>,
        before: &BTreeMap<conductor_core::ids::RequestId, Live>,
        actions: &[Action],
    ) {
        let mut found = BTreeSet::new();
        for pair in actions.chunks(2) {
            let [Action::Abort { ticket }, next] = *pair else {
                panic!("expected pairs of abort and what follows, found {actions:?}");
            };
            assert!(found.insert(ticket), "{ticket} is lost once");
            let last = ticket.attempt + 1 >= self.model.policy.lost.attempts_max;
            match next {
                Action::Resubmit { ticket: again } if !last => {
                    assert_eq!(ticket, again);
                    self.lost.push(before[&ticket.request].clone());
                }
                Action::Reject {
                    request,
                    reason: RejectReason::TooManyAttempts,
                    ..
                } if last => assert_eq!(request, ticket.request),
                _ => panic!("{ticket} is followed by {next:?}"),
            }
        }
        assert_eq!(found, *tickets);
    }

    /// True if an action is about a job that is held.
    fn is_of_job(&self, action: &Action) -> bool {
        let request = match *action {
            Action::Dispatch { ticket, .. } | Action::Replicate { ticket, .. } => ticket.request,
            Action::Reject { request, .. } => request,
            _ => return false,
        };
        let mut jobs = self.model.jobs.iter();
        jobs.any(|job| job.ticket.request == request)
    }

    /// A request that can be placed is, or is turned away by load if the policy does that.
    fn check_taken(&mut self, event: &Event<'static>, actions: &[Action]) {
        let Event::Arrived {
            ticket,
            input,
            blocks,
            class,
            workflow,
            ..
        } = event
        else {
            unreachable!("only arrivals are dispatched")
        };
        if let [
            Action::Reject {
                request, reason, ..
            },
        ] = *actions
        {
            assert_eq!(request, ticket.request);
            assert!(self.model.may_refuse(*ticket, *class, reason), "{reason:?}");
            self.model.counters.rejected += 1;
            return;
        }
        let kind = (*class, *workflow);
        self.check_dispatch(*ticket, *input, blocks, kind, actions);
    }

    /// Jobs go in the order in which they have to, at their latest time, and at once if nobody else is there.
    fn check_released(&mut self, actions: &[Action]) {
        let mut rest = actions;
        loop {
            let now = i128::from(self.now.0);
            let alone = self.model.live.is_empty();
            let Some((job, go_by)) = self.model.first_job() else {
                break;
            };
            let (job, had_to) = (job.clone(), now >= go_by);
            let due = had_to || alone;
            let pools = [Role::Prefill, Role::Decode];
            let nodes = pools
                .iter()
                .all(|&role| self.model.up_with(role).next().is_some());
            let fits = self.model.fits_somewhere(job.input);
            let one = 1 + usize::from(matches!(rest.first(), Some(Action::Replicate { .. })));
            match rest {
                [] => {
                    assert!(!due || !nodes, "{} has to go", job.ticket);
                    break;
                }
                [
                    Action::Reject {
                        request, reason, ..
                    },
                    ..,
                ] => {
                    assert_eq!(
                        (*request, *reason),
                        (job.ticket.request, RejectReason::PromptTooLong)
                    );
                    assert!(due && nodes && !fits);
                    self.model.release(job.ticket, false);
                    self.model.counters.rejected += 1;
                }
                _ => {
                    self.model.release(job.ticket, had_to);
                    let kind = (job.class, None);
                    self.check_dispatch(job.ticket, job.input, &job.blocks, kind, &rest[..one]);
                    self.tape.released[usize::from(had_to)] += 1;
                }
            }
            rest = &rest[one..];
        }
        assert_eq!(rest, [], "nothing else is ordered");
    }

    /// The orders for a request that is taken.
    fn check_dispatch(
        &mut self,
        ticket: Ticket,
        input: Tokens,
        blocks: &[BlockHash],
        (class, workflow): (ClassId, Option<WorkflowId>),
        actions: &[Action],
    ) {
        let (copy, order) = match actions {
            [order] => (None, order),
            [copy, order] => (Some(copy), order),
            _ => panic!("expected a dispatch, perhaps behind a copy, found {actions:?}"),
        };
        let Action::Dispatch {
            ticket: whose,
            prefill,
            decode,
            reuse,
            ..
        } = *order
        else {
            panic!("expected a dispatch, found {actions:?}")
        };
        assert_eq!(whose, ticket);
        let model = &self.model;
        assert!(model.up_with(Role::Prefill).any(|node| node == prefill));
        self.check_decode(decode, input);
        let local = model.depth(prefill, input, blocks);
        match copy {
            None => assert_eq!(reuse, local, "it reuses what it has"),
            Some(copy) => self.check_copy(copy, ticket, prefill, (local, reuse), input, blocks),
        }
        if model.policy.prefill.select == PrefillSelect::LeastLoaded {
            let least = model
                .up_with(Role::Prefill)
                .map(|n| model.assigned(n))
                .min();
            assert_eq!(Some(model.assigned(prefill)), least);
        }
        let fate = self.fates.entry(ticket).or_default();
        fate.0 += 1;
        let reserved = model.needed(input);
        let source = match copy {
            Some(&Action::Replicate { from, .. }) => Some(from),
            _ => None,
        };
        self.model.dispatched(Live {
            ticket,
            input,
            blocks: blocks.to_vec(),
            prefill,
            decode,
            reserved,
            class,
            workflow,
            phase: Phase::Queued,
            source,
        });
    }

    /// The decode node is up and can hold the request; it has room if any node has.
    fn check_decode(&self, decode: NodeId, input: Tokens) {
        let model = &self.model;
        let needed = model.needed(input);
        let has_room = |node: NodeId| model.reserved(node) + needed <= model.capacity(node);
        assert!(model.up_with(Role::Decode).any(|node| node == decode));
        assert!(needed <= model.capacity(decode));
        if model.up_with(Role::Decode).any(has_room) {
            assert!(has_room(decode), "a node with room goes before one without");
        }
    }

    /// The copy brings what the node lacks, from a node that is up and known to have it, and nobody has more.
    fn check_copy(
        &self,
        copy: &Action,
        ticket: Ticket,
        prefill: NodeId,
        (local, reuse): (u32, u32),
        input: Tokens,
        blocks: &[BlockHash],
    ) {
        let Action::Replicate {
            ticket: whose,
            from,
            to,
            first,
            count,
        } = *copy
        else {
            panic!("expected a copy before the dispatch, found {copy:?}")
        };
        let model = &self.model;
        let threshold = model.policy.prefill.balancing_threshold;
        assert!(threshold.is_some_and(|ratio| ratio.exceeded_by(reuse, local)));
        assert_eq!((whose, to, first), (ticket, prefill, local));
        assert!(
            count > 0 && first + count == reuse,
            "{copy:?}, reuse {reuse}"
        );
        assert_ne!(from, to);
        assert!(model.sources().any(|node| node == from));
        for &block in &blocks[..reuse as usize] {
            assert!(self.conductor.index().holds(from, block));
        }
        let best = model
            .sources()
            .map(|node| model.depth(node, input, blocks))
            .max();
        assert_eq!(Some(reuse), best);
    }
}
