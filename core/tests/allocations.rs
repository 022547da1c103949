//! Steady state allocates nothing: the core's promise, counted by an allocator of this binary's own.
//!
//! Every loop first runs until its tables have their working size and each cached block has been replaced several
//! times over, then it is counted. Hash tables are the trap: one that is more than half full grows, late and at any
//! time, because removed entries take room in it.

mod counting;

use conductor_core::action::{Action, Actions};
use conductor_core::conductor::Conductor;
use conductor_core::config::{
    ClusterConfig, EvictionConfig, Evictions, NodeSpec, PolicyConfig, Role,
};
use conductor_core::event::Event;
use conductor_core::ids::{BlockHash, ClassId, NodeId, RequestId, Ticket, WorkflowId};
use conductor_core::index::BlockIndex;
use conductor_core::node::{CacheChanges, DecodeBatch, PrefillQueue, Sequence};
use conductor_core::steps::StepRun;
use conductor_core::units::{Nanos, Tokens};
use counting::allocations;
use std::collections::VecDeque;

/// Blocks of a prompt; the first ones are a prefix that many share for a while.
const CHAIN: usize = 24;
const SHARED: usize = 8;
/// Prefixes in use at a time, and requests until all of them are other ones.
const PREFIXES: u64 = 8;
const PREFIX_LIFE: u64 = 2_000;

/// Nodes for prefill and for decode.
const SMALL: [u64; 2] = [12, 4];
const LARGE: [u64; 2] = [500, 500];

fn chain(request: u64) -> [BlockHash; CHAIN] {
    let prefix = request / PREFIX_LIFE * PREFIXES + request % PREFIXES;
    std::array::from_fn(|place| {
        let place_in = place as u64;
        BlockHash(if place < SHARED {
            1 << 40 | prefix << 8 | place_in
        } else {
            request << 8 | place_in
        })
    })
}

/// A Conductor whose nodes' caches give up what they got first.
struct Cluster {
    conductor: Conductor,
    actions: Actions,
    now: Nanos,
    /// Time between two requests.
    gap: Nanos,
    /// Cached blocks by node, a ring of fixed size, and where it begins.
    caches: Vec<(Vec<BlockHash>, usize)>,
    /// Prefill node by request, a ring.
    placed: Vec<NodeId>,
    stored: Vec<BlockHash>,
    evicted: Vec<BlockHash>,
    next: u64,
    events: u64,
    replications: u64,
}

impl Cluster {
    /// Caches of `blocks` blocks on prefill and decode `nodes`, `live` requests in the system at once, which may be as
    /// many as `most`.
    fn new(nodes: [u64; 2], blocks: usize, live: u64, policy: &str, most: u64) -> Self {
        let [prefill, decode] = nodes;
        let text = format!(
            "name = \"steady\"\n[[nodes]]\ncount = {prefill}\nrole = \"prefill\"\ncache_tokens = {}\n\
             [[nodes]]\ncount = {decode}\nrole = \"decode\"\ncache_tokens = 0\n\
             [limits]\nlive_requests = {most}\n",
            blocks * 512
        );
        let cluster = ClusterConfig::parse(&text, &[]).expect("the cluster is valid");
        // Loads are looked at, and never part for so long that a node goes.
        let roles = "[roles]\nselect = \"load-gap\"\nhold_s = 86_400.0\n";
        let policy = PolicyConfig::parse(&format!("{roles}{policy}")).expect("the policy is valid");
        // As much work for each node, whatever their number.
        let gap = Nanos::from_millis(90 * SMALL[0]) / prefill;
        let estimate = cluster.estimate();
        let mut this = Self {
            conductor: Conductor::new(cluster, policy, estimate, 1),
            actions: Actions::with_capacity(8),
            now: Nanos::ZERO,
            gap,
            caches: vec![(vec![BlockHash(0); blocks], 0); prefill as usize],
            placed: vec![NodeId(0); live as usize],
            stored: Vec::with_capacity(CHAIN),
            evicted: Vec::with_capacity(CHAIN),
            next: 0,
            events: 0,
            replications: 0,
        };
        for node in (0..prefill + decode).map(|node| NodeId(node as u16)) {
            this.tell(&Event::NodeUp { node });
        }
        this
    }

    fn tell(&mut self, event: &Event<'_>) {
        self.events += 1;
        self.actions.clear();
        self.conductor.handle(self.now, event, &mut self.actions);
    }

    /// One request comes; others, that came before, go on.
    fn turn(&mut self) {
        self.now += self.gap;
        let (request, live) = (self.next, self.placed.len() as u64);
        self.next += 1;
        let blocks = chain(request);
        self.tell(&Event::Arrived {
            ticket: ticket(request),
            input: Tokens(CHAIN as u64 * 512),
            blocks: (&blocks[..]).into(),
            answer: None,
            class: ClassId::default(),
            workflow: None,
        });
        for action in self.actions.as_slice() {
            match *action {
                Action::Dispatch { prefill, .. } => {
                    self.placed[(request % live) as usize] = prefill;
                }
                Action::Replicate { .. } => self.replications += 1,
                _ => panic!("all requests can be placed: {action:?}"),
            }
        }
        let before = |ago: u64| request.checked_sub(ago).map(ticket);
        if let Some(ticket) = before(live / 8) {
            let cached = Tokens::ZERO;
            self.tell(&Event::PrefillStarted { ticket, cached });
        }
        if let Some(ticket) = before(live / 4) {
            self.cache(ticket.request.0);
            self.tell(&Event::PrefillFinished { ticket });
        }
        if let Some(ticket) = before(live / 2) {
            self.tell(&Event::TransferFinished { ticket });
        }
        if let Some(ticket) = before(live - 1) {
            let (output, tbt) = (Tokens(300), Some(Nanos::from_millis(40)));
            self.tell(&Event::Finished {
                ticket,
                output,
                tbt,
            });
        }
    }

    /// The request's node caches its blocks.
    fn cache(&mut self, request: u64) {
        let node = self.placed[(request % self.placed.len() as u64) as usize];
        let (mut stored, mut evicted) = (
            std::mem::take(&mut self.stored),
            std::mem::take(&mut self.evicted),
        );
        stored.clear();
        evicted.clear();
        let (ring, first) = &mut self.caches[node.index()];
        for block in chain(request) {
            if !self.conductor.index().holds(node, block) {
                evicted.push(std::mem::replace(&mut ring[*first], block));
                stored.push(block);
                *first = (*first + 1) % ring.len();
            }
        }
        self.tell(&Event::BlocksEvicted {
            node,
            blocks: (&evicted[..]).into(),
        });
        self.tell(&Event::BlocksStored {
            node,
            blocks: (&stored[..]).into(),
        });
        (self.stored, self.evicted) = (stored, evicted);
    }
}

fn ticket(request: u64) -> Ticket {
    Ticket {
        request: RequestId(request),
        attempt: 0,
    }
}

fn a_million_events(nodes: [u64; 2], blocks: usize, live: u64, policy: &str) {
    let mut cluster = Cluster::new(nodes, blocks, live, policy, 1 << 20);
    // Until every cache has been replaced three times over.
    let resident = blocks as u64 * nodes[0];
    while cluster.next * (CHAIN - SHARED) as u64 <= 3 * resident + live {
        cluster.turn();
    }
    let (events, replications) = (cluster.events, cluster.replications);
    let found = allocations(|| {
        while cluster.events < events + 1_000_000 {
            cluster.turn();
        }
    });
    assert_eq!(found, 0, "{blocks} blocks a node, {live} live requests");
    let copies = cluster.replications - replications;
    assert!(copies > 100, "hot prefixes were copied: {copies}");
    assert_eq!(cluster.conductor.counters().unindexed_blocks, 0);
}

#[test]
fn a_million_events_allocate_nothing_with_small_tables() {
    a_million_events(SMALL, 500, 64, "");
}

#[test]
fn a_million_events_allocate_nothing_with_tables_that_have_grown() {
    // More blocks than the index reserves at first, more live requests than their table does, and both more than half
    // of what their tables hold after growing.
    a_million_events(SMALL, 8_500, 1_700, "");
}

#[test]
fn a_million_events_on_a_thousand_nodes_allocate_nothing() {
    // Match, estimate, choice, admission by prediction, booking.
    let policy = "[admission]\nselect = \"early-predicted\"\n";
    a_million_events(LARGE, 200, 4_000, policy);
}

/// Tells a fact, and puts those that are dispatched because of it in line.
fn tell(cluster: &mut Cluster, event: &Event<'_>, running: &mut VecDeque<Ticket>) {
    cluster.tell(event);
    for action in cluster.actions.as_slice() {
        if let Action::Dispatch { ticket, .. } = *action {
            running.push_back(ticket);
        }
    }
}

/// Jobs that are held and go, or whose clients leave before; workflows of three steps; and requests of the first class.
#[test]
fn classes_allocate_nothing() {
    let classes = "[[classes]]\nname = \"chat\"\n[[classes]]\nname = \"agent\"\nworkflow_s = 600\n\
                   [[classes]]\nname = \"jobs\"\ncompletion_s = 900\nweight = 40\n";
    // As many workflows are known as requests may be in the system.
    let mut cluster = Cluster::new(SMALL, 500, 64, classes, 3_000);
    let mut running = VecDeque::with_capacity(4_096);
    let (mut ended, mut held_most) = (0, 0);
    let mut turn = || {
        cluster.now += Nanos::from_millis(90);
        let request = cluster.next;
        cluster.next += 1;
        let blocks = chain(request);
        let length = 1 + request as usize % CHAIN;
        let arrived = Event::Arrived {
            ticket: ticket(request),
            input: Tokens(length as u64 * 512),
            blocks: (&blocks[..length]).into(),
            answer: None,
            class: ClassId((request % 3) as u8),
            workflow: Some(WorkflowId(request / 9)),
        };
        tell(&mut cluster, &arrived, &mut running);
        // Some clients of jobs, which come at 2, 5, 8, leave if theirs still waits.
        let (request, leaves) = (RequestId(request.saturating_sub(60)), request % 12 == 2);
        if leaves && running.iter().all(|ticket| ticket.request != request) {
            tell(&mut cluster, &Event::Cancelled { request }, &mut running);
        }
        // In some minutes nobody ends: the jobs must wait.
        let busy = cluster.next % 2_000 < 400;
        let mut ends = if busy && running.len() < 500 { 0 } else { 3 };
        while ends > 0
            && let Some(ticket) = running.pop_front()
        {
            let cached = Tokens::ZERO;
            let (output, tbt) = (Tokens(300), Some(Nanos::from_millis(40)));
            for fact in [
                Event::PrefillStarted { ticket, cached },
                Event::PrefillFinished { ticket },
                Event::TransferFinished { ticket },
                Event::Finished {
                    ticket,
                    output,
                    tbt,
                },
            ] {
                tell(&mut cluster, &fact, &mut running);
            }
            ended += 1;
            ends -= 1;
        }
        held_most = held_most.max(cluster.conductor.live() - running.len());
    };
    (0..60_000).for_each(|_| turn());
    assert_eq!(allocations(|| (0..100_000).for_each(|_| turn())), 0);
    let counters = cluster.conductor.counters();
    assert!(
        held_most > 50 && counters.cancelled_held > 100,
        "{held_most} held, {counters:?}"
    );
    assert!(ended > 100_000, "{ended}");
}

#[test]
fn forgetting_blocks_allocates_nothing() {
    let blocks: Vec<BlockHash> = (0..200_000).map(BlockHash).collect();
    let mut index = BlockIndex::new(2, 1 << 20, 1 << 10);
    index.store(NodeId(0), &blocks);
    assert_eq!(allocations(|| index.evict(NodeId(0), &blocks)), 0);
    assert_eq!(index.blocks(), 0);
}

/// Requests of new blocks only, through a node whose cache holds `blocks`.
fn prefill_node(eviction: EvictionConfig) {
    let block = Tokens(512);
    let spec = NodeSpec {
        role: Role::Prefill,
        profile: 0,
        cache_blocks: 4_700,
        hbm_blocks: 1,
        hbm_cache_blocks: 0,
        ssd_blocks: 0,
        stages: 1,
        chunk: Tokens(8_192),
    };
    let mut node = PrefillQueue::new(
        block,
        &spec,
        Evictions {
            main: eviction,
            ..Evictions::default()
        },
    );
    let mut changes = CacheChanges::default();
    let mut request = 0;
    let mut turn = || {
        // Three wait, one after the other is computed; the last one is released later, as KV on its way is.
        for _ in 0..3 {
            let (input, blocks) = (block * CHAIN as u64, chain(request));
            node.enqueue(ticket(request), input, &blocks, false);
            request += 1;
        }
        for _ in 0..3 {
            node.start().expect("one is ready");
            changes.clear();
            let job = node.finish(&mut changes);
            node.release(job);
        }
    };
    (0..2_000).for_each(|_| turn());
    assert_eq!(allocations(|| (0..20_000).for_each(|_| turn())), 0);
}

#[test]
fn a_prefill_node_allocates_nothing() {
    prefill_node(EvictionConfig::Lru);
    prefill_node(EvictionConfig::Lfu);
    prefill_node(EvictionConfig::LengthAware);
}

/// Sequences join and leave the batch of a node with `blocks` blocks; counts allocations and put-backs.
fn decode_node(blocks: u32) -> (u64, u64) {
    let mut node = DecodeBatch::new(Tokens(16), blocks);
    let (mut ended, mut loads) = (Vec::new(), Vec::new());
    let (mut now, mut request, mut left, mut put_back) = (Nanos::ZERO, 0_u64, 0_u64, 0_u64);
    let mut turn = || {
        if request < left + 40 {
            node.offer(Sequence {
                ticket: ticket(request),
                context: Tokens(50 + request % 7 * 10),
                remaining: Tokens(60 + request % 11 * 20),
                last_token: now,
            });
            request += 1;
        }
        loads.clear();
        while let Some(load) = node.next_load(0) {
            loads.push(load);
        }
        loads.iter().for_each(|&(id, _)| node.loaded(id));
        ended.clear();
        let waiting = node.waiting();
        let run = node.start(&mut ended).expect("there is always work");
        put_back += (node.waiting() - waiting) as u64;
        let steps = run.steps.min(5);
        let (first, slope) = (1 << 30, 1 << 10);
        let durations = StepRun {
            first,
            slope,
            steps,
        };
        let started = now;
        now += durations.total(steps);
        node.finish(started, durations, steps, &mut ended);
        left += ended.len() as u64;
    };
    (0..100_000).for_each(|_| turn());
    (allocations(|| (0..100_000).for_each(|_| turn())), put_back)
}

#[test]
fn a_decode_node_allocates_nothing() {
    assert_eq!(decode_node(2_000), (0, 0));
    // What is put back keeps its gaps in a list of its place in the node, whose longest is not known beforehand: it
    // doubles when a sequence is put back more often than any before it in that place.
    let (found, put_back) = decode_node(200);
    assert!(put_back > 5_000, "sequences were put back: {put_back}");
    assert!(found < put_back / 500, "{found} of {put_back}");
}
