//! The indexes behind one face. What turns the workload into an index' own types is done before time is taken.

use crate::workload::{CHAIN, Chain, NODES, Store, Workload};
use conductor_core::index::{BlockIndex, Matches};
use dynamo_kv_router::concurrent_radix_tree_compressed::ConcurrentRadixTreeCompressed;
use dynamo_kv_router::indexer::WorkerTask;
use dynamo_kv_router::protocols::{
    ExternalSequenceBlockHash, KvCacheEvent, KvCacheEventData, KvCacheStoreData,
    KvCacheStoredBlockData, WorkerWithDpRank,
};
use dynamo_kv_router::{
    LocalBlockHash, OverlapScores, PositionalIndexer, RadixTree, RouterEvent, SyncIndexer,
};
use kv_index::{ChainBlockMap, ChainIndex, ContentHash, SequenceHash, StoredBlock};
use rustc_hash::FxHashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::thread::JoinHandle;

/// An index of cached blocks.
pub trait Index {
    /// A store, in the index' own types.
    type Event;
    /// A query, in the index' own types.
    type Query;

    const NAME: &'static str;

    fn new() -> Self;
    fn event(workload: &Workload, store: &Store) -> Self::Event;
    fn query(chain: &Chain) -> Self::Query;
    fn store(&mut self, events: Vec<Self::Event>);
    /// Finds the matches, and the sum of the scores that it reports to `report`.
    fn score(&mut self, query: Self::Query, report: impl FnMut(usize, u32));
}

/// Ours.
pub struct Ours {
    index: BlockIndex,
    matches: Matches,
}

impl Index for Ours {
    type Event = (Store, [conductor_core::ids::BlockHash; CHAIN]);
    type Query = [conductor_core::ids::BlockHash; CHAIN];

    const NAME: &'static str = "conductor-core BlockIndex";

    fn new() -> Self {
        Self {
            // As a Conductor has it.
            index: BlockIndex::new(NODES as usize, 1 << 24, 1 << 16),
            matches: Matches::new(NODES as usize),
        }
    }

    fn event(workload: &Workload, store: &Store) -> Self::Event {
        (store.clone(), workload.prompts[store.prompt].chained)
    }

    fn query(chain: &Chain) -> Self::Query {
        chain.chained
    }

    fn store(&mut self, events: Vec<Self::Event>) {
        for (store, blocks) in &events {
            assert_eq!(self.index.store(store.node, blocks), 0);
        }
    }

    fn score(&mut self, query: Self::Query, mut report: impl FnMut(usize, u32)) {
        self.index.match_chain(&query, &mut self.matches);
        self.matches.each(|node, depth| report(node.index(), depth));
    }
}

/// Ours, without reading every node's score out of the result: what a decision does.
pub struct OursUnread(Ours);

impl Index for OursUnread {
    type Event = <Ours as Index>::Event;
    type Query = <Ours as Index>::Query;

    const NAME: &'static str = "the same, scores left in its result";

    fn new() -> Self {
        Self(Ours::new())
    }

    fn event(workload: &Workload, store: &Store) -> Self::Event {
        Ours::event(workload, store)
    }

    fn query(chain: &Chain) -> Self::Query {
        chain.chained
    }

    fn store(&mut self, events: Vec<Self::Event>) {
        self.0.store(events);
    }

    fn score(&mut self, query: Self::Query, mut report: impl FnMut(usize, u32)) {
        self.0.index.match_chain(&query, &mut self.0.matches);
        report(0, self.0.matches.few().len() as u32);
    }
}

/// `kv-index`.
pub struct KvIndex {
    index: ChainIndex,
    /// By node, which is also the worker's number.
    maps: Vec<ChainBlockMap>,
}

impl Index for KvIndex {
    type Event = (usize, [StoredBlock; CHAIN]);
    type Query = [ContentHash; CHAIN];

    const NAME: &'static str = "kv-index 2.0.0 ChainIndex (score_into)";

    fn new() -> Self {
        let index = ChainIndex::with_max_workers(NODES as usize);
        for node in 0..NODES {
            let worker = index.intern_worker(&format!("node {node}")).expect("room");
            assert_eq!(u64::from(worker), node, "numbered as they come");
        }
        let maps = (0..NODES).map(|_| ChainBlockMap::new()).collect();
        Self { index, maps }
    }

    fn event(workload: &Workload, store: &Store) -> Self::Event {
        let chain = &workload.prompts[store.prompt];
        let block = |place: usize| StoredBlock {
            seq_hash: SequenceHash(chain.chained[place].0),
            content_hash: ContentHash(chain.contents[place]),
        };
        (store.node.index(), std::array::from_fn(block))
    }

    fn query(chain: &Chain) -> Self::Query {
        chain.contents.map(ContentHash)
    }

    fn store(&mut self, events: Vec<Self::Event>) {
        for (node, blocks) in &events {
            let map = &mut self.maps[*node];
            self.index
                .apply_stored(*node as u32, blocks, None, map)
                .expect("it can be stored");
        }
    }

    fn score(&mut self, query: Self::Query, mut report: impl FnMut(usize, u32)) {
        self.index.score_into(
            &query,
            |content| content.0,
            false,
            |worker, score| {
                report(worker as usize, score);
            },
        );
    }
}

fn router_event(workload: &Workload, store: &Store) -> RouterEvent {
    let chain = &workload.prompts[store.prompt];
    let block = |place: usize| KvCacheStoredBlockData {
        block_hash: ExternalSequenceBlockHash(chain.chained[place].0),
        tokens_hash: LocalBlockHash(chain.contents[place]),
        mm_extra_info: None,
    };
    let stored = KvCacheStoreData {
        parent_hash: None,
        start_position: None,
        blocks: (0..CHAIN).map(block).collect(),
    };
    let event = KvCacheEvent {
        event_id: 0,
        data: KvCacheEventData::Stored(stored),
        dp_rank: 0,
    };
    RouterEvent::new(u64::from(store.node.0), event)
}

fn local(chain: &Chain) -> Vec<LocalBlockHash> {
    chain.contents.map(LocalBlockHash).to_vec()
}

fn tell(scores: &OverlapScores, mut report: impl FnMut(usize, u32)) {
    for (worker, &score) in &scores.scores {
        report(worker.worker_id as usize, score);
    }
}

/// Dynamo's tree of one thread.
pub struct Tree(RadixTree);

impl Index for Tree {
    type Event = RouterEvent;
    type Query = Vec<LocalBlockHash>;

    const NAME: &'static str = "dynamo-kv-router 1.6.1 RadixTree";

    fn new() -> Self {
        Self(RadixTree::new())
    }

    fn event(workload: &Workload, store: &Store) -> RouterEvent {
        router_event(workload, store)
    }

    fn query(chain: &Chain) -> Self::Query {
        local(chain)
    }

    fn store(&mut self, events: Vec<RouterEvent>) {
        for event in events {
            self.0.apply_event(event).expect("it can be stored");
        }
    }

    fn score(&mut self, query: Self::Query, report: impl FnMut(usize, u32)) {
        tell(&self.0.find_matches(query, false), report);
    }
}

/// Dynamo's compressed tree; a thread of its own takes its events.
pub struct Compressed {
    tree: Arc<ConcurrentRadixTreeCompressed>,
    tasks: Option<flume::Sender<WorkerTask>>,
    lane: Option<JoinHandle<()>>,
}

impl Index for Compressed {
    type Event = RouterEvent;
    type Query = Vec<LocalBlockHash>;

    const NAME: &'static str = "dynamo-kv-router 1.6.1 ConcurrentRadixTreeCompressed";

    fn new() -> Self {
        let tree = Arc::new(ConcurrentRadixTreeCompressed::new());
        let (tasks, events) = flume::unbounded();
        let lane = Arc::clone(&tree);
        let lane = std::thread::spawn(move || lane.worker(events, None).expect("it ends"));
        Self {
            tree,
            tasks: Some(tasks),
            lane: Some(lane),
        }
    }

    fn event(workload: &Workload, store: &Store) -> RouterEvent {
        router_event(workload, store)
    }

    fn query(chain: &Chain) -> Self::Query {
        local(chain)
    }

    fn store(&mut self, mut events: Vec<RouterEvent>) {
        let tasks = self.tasks.as_ref().expect("it runs");
        let last = events.pop().expect("there are events");
        for event in events {
            tasks.send(WorkerTask::Event(event)).expect("it listens");
        }
        let (resp, applied) = tokio::sync::oneshot::channel();
        tasks
            .send(WorkerTask::EventWithAck { event: last, resp })
            .expect("it listens");
        assert!(applied.blocking_recv().expect("it answers"));
    }

    fn score(&mut self, query: Self::Query, report: impl FnMut(usize, u32)) {
        tell(&self.tree.find_matches_impl(&query, false), report);
    }
}

impl Drop for Compressed {
    fn drop(&mut self) {
        drop(self.tasks.take());
        self.lane
            .take()
            .map(JoinHandle::join)
            .transpose()
            .expect("the lane ends");
    }
}

/// Dynamo's index by position.
pub struct Positional {
    index: PositionalIndexer,
    lookup: FxHashMap<WorkerWithDpRank, dynamo_kv_router::indexer::positional::LevelIndex>,
}

impl Index for Positional {
    type Event = RouterEvent;
    type Query = Vec<LocalBlockHash>;

    const NAME: &'static str = "dynamo-kv-router 1.6.1 PositionalIndexer (jump 32)";

    fn new() -> Self {
        Self {
            index: PositionalIndexer::new(32),
            lookup: FxHashMap::default(),
        }
    }

    fn event(workload: &Workload, store: &Store) -> RouterEvent {
        router_event(workload, store)
    }

    fn query(chain: &Chain) -> Self::Query {
        local(chain)
    }

    fn store(&mut self, events: Vec<RouterEvent>) {
        for event in events {
            self.index
                .apply_event(&mut self.lookup, event, None)
                .expect("it can be stored");
        }
    }

    fn score(&mut self, query: Self::Query, report: impl FnMut(usize, u32)) {
        tell(&self.index.find_matches(&query, false), report);
    }
}

/// The scores of every node, as a table.
pub fn table<I: Index>(index: &mut I, query: &Chain) -> [u32; NODES as usize] {
    let mut scores = [0; NODES as usize];
    index.score(I::query(query), |node, depth| scores[node] = depth);
    scores
}

/// What one query costs, its result read.
pub fn ask<I: Index>(index: &mut I, query: I::Query) {
    let mut sum = 0;
    index.score(query, |node, depth| {
        sum = u32::wrapping_add(sum, node as u32 ^ depth);
    });
    black_box(sum);
}
