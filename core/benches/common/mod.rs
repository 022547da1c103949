//! What several benches need: prompts, full caches, and a Conductor that is busy.

use conductor_core::action::{Action, Actions};
use conductor_core::conductor::Conductor;
use conductor_core::config::{ClusterConfig, PolicyConfig};
use conductor_core::event::Event;
use conductor_core::ids::{BlockHash, ClassId, NodeId, RequestId, Ticket};
use conductor_core::rng::Stream;
use conductor_core::units::{Nanos, Tokens};
use std::time::{Duration, Instant};

/// Blocks of a prompt.
pub(crate) const CHAIN: usize = 24;
/// Blocks at the front of each prompt that all prompts of a family share, and families.
pub(crate) const SHARED: usize = 4;
pub(crate) const FAMILIES: u64 = 16;

/// The chain of prompt `number`: its family's blocks, then its own.
pub(crate) fn chain(number: u64) -> [BlockHash; CHAIN] {
    std::array::from_fn(|place| {
        let own = number << 8 | place as u64;
        let family = 1 << 40 | (number % FAMILIES) << 8 | place as u64;
        BlockHash(if place < SHARED { family } else { own })
    })
}

/// What the caches of `nodes` nodes hold, `blocks` different blocks or some more: prompts, each on one to three nodes;
/// the families' blocks on all nodes. Calls `store` with each, and returns how many prompts there are.
pub(crate) fn fill(nodes: u64, blocks: u64, mut store: impl FnMut(NodeId, &[BlockHash])) -> u64 {
    let draws = Stream::new(1, "bench");
    for node in 0..nodes {
        for family in 0..FAMILIES {
            store(NodeId(node as u16), &chain(family)[..SHARED]);
        }
    }
    let prompts = blocks.div_ceil((CHAIN - SHARED) as u64);
    for number in 0..prompts {
        let copies = 1 + draws.below(2 * number, 3);
        for copy in 0..copies {
            let node = (draws.below(2 * number + 1, nodes) + copy * 7) % nodes;
            store(NodeId(node as u16), &chain(number));
        }
    }
    prompts
}

/// A Conductor with half of its nodes for prefill, all up, caches full, and eight requests a node in the system.
pub(crate) struct Busy {
    conductor: Conductor,
    actions: Actions,
    draws: Stream,
    prompts: u64,
    nodes: u64,
    now: Nanos,
    next: u64,
    /// Of the requests that were decided: dispatched, and of these with a copy from another node.
    pub(crate) dispatched: u64,
    pub(crate) replicated: u64,
    /// Which of the last requests are in the system, by number.
    inside: Vec<bool>,
}

impl Busy {
    pub(crate) fn new(policy: &str, nodes: u64, blocks: u64) -> Self {
        let text = format!(
            "name = \"bench\"\n[[nodes]]\ncount = {0}\nrole = \"prefill\"\ncache_tokens = {1}\n\
             [[nodes]]\ncount = {0}\nrole = \"decode\"\ncache_tokens = 0\n",
            nodes / 2,
            // Room for all copies, unevenly spread.
            512 * (blocks * 8 / nodes + 10_000),
        );
        let cluster = ClusterConfig::parse(&text, &[]).expect("the cluster is valid");
        let policy = PolicyConfig::built_in(policy).expect("built in");
        let estimate = cluster.estimate();
        let mut conductor = Conductor::new(cluster, policy, estimate, 1);
        let mut actions = Actions::with_capacity(8);
        for node in (0..nodes).map(|node| NodeId(node as u16)) {
            conductor.handle(Nanos::ZERO, &Event::NodeUp { node }, &mut actions);
        }
        let prompts = fill(nodes / 2, blocks, |node, blocks| {
            let blocks = blocks.into();
            let stored = Event::BlocksStored { node, blocks };
            conductor.handle(Nanos::ZERO, &stored, &mut actions);
        });
        assert_eq!(conductor.counters().unindexed_blocks, 0);
        let mut busy = Self {
            conductor,
            actions,
            draws: Stream::new(3, "bench"),
            prompts,
            nodes,
            now: Nanos::ZERO,
            next: 0,
            dispatched: 0,
            replicated: 0,
            inside: vec![false; 8 * nodes as usize],
        };
        for _ in 0..2 * 8 * nodes {
            busy.decide();
            busy.go_on();
        }
        (busy.dispatched, busy.replicated) = (0, 0);
        busy
    }

    /// Different blocks in the index.
    #[allow(dead_code, reason = "not every bench asks")]
    pub(crate) fn blocks(&self) -> usize {
        self.conductor.index().blocks()
    }

    /// One request comes and is decided: how long that took. Half ask for a prompt that is cached, a quarter goes on
    /// after half of one, a quarter has only its family's front in common with any.
    pub(crate) fn decide(&mut self) -> Duration {
        self.now += Nanos(20_000_000 * 16 / self.nodes);
        let mut blocks = chain(self.draws.below(2 * self.next, self.prompts));
        let keep = match self.draws.below(2 * self.next + 1, 4) {
            0 | 1 => CHAIN,
            2 => CHAIN / 2,
            _ => SHARED,
        };
        for (place, block) in blocks.iter_mut().enumerate().skip(keep) {
            *block = BlockHash(1 << 48 | self.next << 8 | place as u64);
        }
        let arrived = Event::Arrived {
            ticket: ticket(self.next),
            input: Tokens(CHAIN as u64 * 512),
            blocks: (&blocks[..]).into(),
            answer: None,
            class: ClassId::default(),
            workflow: None,
        };
        self.actions.clear();
        let started = Instant::now();
        self.conductor.handle(self.now, &arrived, &mut self.actions);
        let took = started.elapsed();
        let actions = self.actions.as_slice();
        let dispatched = matches!(actions.last(), Some(Action::Dispatch { .. }));
        self.dispatched += u64::from(dispatched);
        self.replicated += u64::from(actions.len() > 1);
        let live = self.inside.len() as u64;
        self.inside[(self.next % live) as usize] = dispatched;
        self.next += 1;
        took
    }

    /// Facts of requests that came before, so that nodes have queues and batches.
    pub(crate) fn go_on(&mut self) {
        let cached = Tokens(2_048);
        let (output, tbt) = (Tokens(300), Some(Nanos(40_000_000)));
        let facts: [&dyn Fn(Ticket) -> Event<'static>; 4] = [
            &|ticket| Event::PrefillStarted { ticket, cached },
            &|ticket| Event::PrefillFinished { ticket },
            &|ticket| Event::TransferFinished { ticket },
            &|ticket| Event::Finished {
                ticket,
                output,
                tbt,
            },
        ];
        let live = self.inside.len() as u64;
        for (i, fact) in (1..).zip(facts) {
            // The last fact comes just before the request's place is taken by another.
            let earlier = self.next.checked_sub((live * i / 4).min(live - 1) + 1);
            if let Some(earlier) = earlier.filter(|&earlier| self.inside[(earlier % live) as usize])
            {
                self.actions.clear();
                let fact = fact(ticket(earlier));
                self.conductor.handle(self.now, &fact, &mut self.actions);
            }
        }
    }
}

fn ticket(request: u64) -> Ticket {
    Ticket {
        request: RequestId(request),
        attempt: 0,
    }
}
