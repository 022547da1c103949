//! A prefill node: requests in a queue, one computed at a time in chunks, blocks cached as they are made.
//!
//! First come, first served among those that are ready: a request whose blocks are still being copied from another
//! node lets later ones pass. What a request reuses is looked up when it starts, not when it was dispatched: blocks
//! may have come or gone since. Its blocks stay pinned until its KV has left for the decode node.

use crate::cache::{BlockSlot, CacheChanges, Tier, TieredCache};
use crate::config::{Evictions, NodeSpec};
use crate::ids::{BlockHash, Ticket};
use crate::policy::prefill::cached_tokens;
use crate::units::Tokens;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// A request's place in a node, from its coming until it is released.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JobId(u32);

/// Work to do: the tokens of one prompt from `cached` to its end, in chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefillRun {
    /// The request's place.
    pub job: JobId,
    /// Whose.
    pub ticket: Ticket,
    /// Prompt length.
    pub input: Tokens,
    /// Tokens that are reused.
    pub cached: Tokens,
    /// Blocks that are reused.
    pub hit_blocks: u32,
    /// Where they were found, by [`Tier`]; together `hit_blocks`.
    pub hits: [u32; Tier::ALL.len()],
    /// Longest piece that is computed at once.
    pub chunk: Tokens,
}

impl PrefillRun {
    /// Where each chunk ends, in tokens of the prompt: chunk `i` computes from the end before (or `cached`) to there.
    pub fn chunk_ends(&self) -> impl Iterator<Item = Tokens> + '_ {
        let chunks = (self.input - self.cached).0.div_ceil(self.chunk.0);
        (1..=chunks).map(move |i| Tokens((self.cached + self.chunk * i).0.min(self.input.0)))
    }
}

#[derive(Clone, Debug)]
struct Job {
    ticket: Ticket,
    input: Tokens,
    blocks: Vec<BlockHash>,
    /// Pinned blocks, front to back, and where they were found.
    pinned: Vec<BlockSlot>,
    tiers: Vec<Tier>,
    /// Copies of other nodes' blocks are on their way.
    awaits_copy: bool,
    /// Blocks are being read from the SSD.
    awaits_read: bool,
    /// Blocks `copied.0 .. copied.0 + copied.1` have been copied.
    copied: (u32, u32),
    /// Blocks before this one are to be had from the SSD.
    read: u32,
}

impl Job {
    const fn is_ready(&self) -> bool {
        !self.awaits_copy && !self.awaits_read
    }
}

/// The machine of one prefill node.
#[derive(Clone, Debug)]
pub struct PrefillQueue {
    cache: TieredCache,
    block: Tokens,
    chunk: Tokens,
    jobs: Vec<Job>,
    free: Vec<u32>,
    queue: VecDeque<u32>,
    /// Being computed, in order of their start; several only in a pipeline.
    running: VecDeque<u32>,
    running_max: usize,
}

impl PrefillQueue {
    /// An idle node of this kind with an empty cache.
    #[must_use]
    pub fn new(block: Tokens, spec: &NodeSpec, evictions: Evictions) -> Self {
        Self {
            cache: TieredCache::new(spec, evictions),
            block,
            chunk: spec.chunk,
            jobs: Vec::new(),
            free: Vec::new(),
            queue: VecDeque::new(),
            running: VecDeque::new(),
            // How many prompts are on their way through a pipeline follows from when its first stage is free.
            running_max: match spec.stages {
                1 => 1,
                _ => usize::MAX,
            },
        }
    }

    /// The node's cache.
    #[must_use]
    pub const fn cache(&self) -> &TieredCache {
        &self.cache
    }

    /// Requests that wait.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// True if a request waits that could start.
    #[must_use]
    pub fn has_ready(&self) -> bool {
        let mut queue = self.queue.iter();
        queue.any(|&slot| self.jobs[slot as usize].is_ready())
    }

    /// Takes a request into the queue. With `awaits_copy` it cannot start before [`Self::copy_arrived`].
    pub fn enqueue(
        &mut self,
        ticket: Ticket,
        input: Tokens,
        blocks: &[BlockHash],
        awaits_copy: bool,
    ) -> JobId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.jobs.push(Job {
                ticket,
                input,
                blocks: Vec::new(),
                pinned: Vec::new(),
                tiers: Vec::new(),
                awaits_copy,
                awaits_read: false,
                copied: (0, 0),
                read: 0,
            });
            self.jobs.len() as u32 - 1
        });
        let job = &mut self.jobs[slot as usize];
        (job.ticket, job.input, job.awaits_copy) = (ticket, input, awaits_copy);
        (job.awaits_read, job.copied, job.read) = (false, (0, 0), 0);
        job.blocks.clear();
        job.blocks.extend_from_slice(blocks);
        job.pinned.clear();
        job.tiers.clear();
        self.queue.push_back(slot);
        JobId(slot)
    }

    /// How many blocks the request wants from the SSD, of the leading ones that are here; `copied` more, from block
    /// `first` on, are being copied from elsewhere. If there are any it cannot start before [`Self::read_done`].
    pub fn reads(&mut self, job: JobId, first: u32, copied: u32) -> u32 {
        let job = &mut self.jobs[job.0 as usize];
        let (mut reads, mut here) = (0, 0);
        for (depth, &block) in job.blocks.iter().enumerate() {
            let comes = (first..first + copied).contains(&(depth as u32));
            if self.cache.only_on_ssd(block) {
                reads += u32::from(!comes);
            } else if !comes && self.cache.dram().match_chain(&[block]) == 0 {
                break;
            }
            here = depth as u32 + 1;
        }
        job.awaits_read = reads > 0;
        job.read = if reads > 0 { here } else { 0 };
        reads
    }

    /// Pins the leading blocks up to `blocks` of them for sending to another node, into `pins`; stops at the
    /// first that
    /// is not here. Give the pins back with [`Self::unpin_copy`].
    pub fn pin_copy(&mut self, blocks: &[BlockHash], pins: &mut Vec<BlockSlot>) {
        for &block in blocks {
            let Some(slot) = self.cache.pin(block) else {
                break;
            };
            pins.push(slot);
        }
    }

    /// Ends a copy that was sent from here.
    pub fn unpin_copy(&mut self, pins: &[BlockSlot]) {
        self.cache.unpin(pins);
    }

    /// Copies of the request's blocks `first .. first + count` have arrived (none if the copy failed): they are kept,
    /// and
    /// the request can start.
    pub fn copy_arrived(&mut self, job: JobId, first: u32, count: u32, changes: &mut CacheChanges) {
        let waiting = &mut self.jobs[job.0 as usize];
        (waiting.awaits_copy, waiting.copied) = (false, (first, count));
        self.settle(job, changes);
    }

    /// The blocks that the request wants from the SSD have been read.
    pub fn read_done(&mut self, job: JobId, changes: &mut CacheChanges) {
        self.jobs[job.0 as usize].awaits_read = false;
        self.settle(job, changes);
    }

    /// Pins what was fetched once all has come, and the node's own leading blocks too: what was paid for must still be
    /// here at the start.
    fn settle(&mut self, job: JobId, changes: &mut CacheChanges) {
        let job = &mut self.jobs[job.0 as usize];
        if !job.is_ready() {
            return;
        }
        debug_assert!(job.pinned.is_empty(), "a request that waits holds nothing");
        let (first, count) = job.copied;
        for depth in 0..(first + count).max(job.read).min(job.blocks.len() as u32) {
            let block = job.blocks[depth as usize];
            let from = if (first..first + count).contains(&depth) {
                Some(Tier::Remote)
            } else if depth < job.read && self.cache.only_on_ssd(block) {
                Some(Tier::Ssd)
            } else {
                None
            };
            let pin = match from {
                Some(_) => self.cache.insert(block, depth, changes),
                None => self.cache.pin(block),
            };
            let Some(slot) = pin else { break };
            job.pinned.push(slot);
            job.tiers.push(from.unwrap_or(Tier::Dram));
        }
    }

    /// Starts the first request that is ready, if the node has nothing else to do; a pipeline may be computing others.
    /// When its first stage is free, the driver knows.
    pub fn start(&mut self) -> Option<PrefillRun> {
        if self.running.len() >= self.running_max {
            return None;
        }
        let place = self
            .queue
            .iter()
            .position(|&slot| self.jobs[slot as usize].is_ready())?;
        let slot = self.queue.remove(place).expect("the place was just found");
        self.running.push_back(slot);
        let job = &mut self.jobs[slot as usize];
        let held = job.pinned.len();
        for &block in &job.blocks[held..] {
            let Some(pin) = self.cache.pin(block) else {
                break;
            };
            job.pinned.push(pin);
            job.tiers.push(Tier::Dram);
        }
        let hit_blocks = job.pinned.len() as u32;
        let in_hbm = self.cache.in_hbm(&job.blocks[..hit_blocks as usize]);
        job.tiers[..in_hbm as usize].fill(Tier::Hbm);
        let mut hits = [0; Tier::ALL.len()];
        for &tier in &job.tiers {
            hits[tier as usize] += 1;
        }
        Some(PrefillRun {
            job: JobId(slot),
            ticket: job.ticket,
            input: job.input,
            cached: cached_tokens(self.block, job.input, hit_blocks),
            hit_blocks,
            hits,
            chunk: self.chunk,
        })
    }

    /// The request that was started first is computed: its blocks are cached, as far as there is room, and stay pinned
    /// until it is
    /// released.
    pub fn finish(&mut self, changes: &mut CacheChanges) -> JobId {
        let slot = self
            .running
            .pop_front()
            .expect("a driver finishes what it started");
        let job = &mut self.jobs[slot as usize];
        for depth in job.pinned.len()..job.blocks.len() {
            let block = job.blocks[depth];
            let Some(pin) = self.cache.insert(block, depth as u32, changes) else {
                break;
            };
            job.pinned.push(pin);
        }
        self.cache.keep_in_hbm(&job.blocks);
        JobId(slot)
    }

    /// The request that was started first could not be computed: nothing of it is cached, and what it reused stays
    /// pinned until it is released.
    pub fn abandon(&mut self) -> JobId {
        let slot = self.running.pop_front();
        JobId(slot.expect("a driver ends what it started"))
    }

    /// The request's KV has left, or is not wanted: its blocks can go when room is needed.
    pub fn release(&mut self, job: JobId) {
        self.cache.unpin(&self.jobs[job.0 as usize].pinned);
        self.jobs[job.0 as usize].pinned.clear();
        self.free.push(job.0);
    }

    /// Takes a request out of the queue. One that is running ends with its run; `false` then, and for one that has
    /// finished.
    pub fn cancel(&mut self, job: JobId) -> bool {
        let Some(place) = self.queue.iter().position(|&slot| slot == job.0) else {
            return false;
        };
        self.queue.remove(place);
        self.release(job);
        true
    }

    /// Asserts what must always hold.
    pub fn check(&self) {
        self.cache.check();
        let known = self.queue.len() + self.free.len() + self.running.len();
        assert!(
            known <= self.jobs.len(),
            "a place is free, queued, running or held, never two of them"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::RequestId;

    fn node(cache_blocks: u32, chunk: u64) -> PrefillQueue {
        let spec = NodeSpec {
            role: crate::config::Role::Prefill,
            profile: 0,
            cache_blocks,
            hbm_blocks: 1,
            hbm_cache_blocks: 0,
            ssd_blocks: 0,
            stages: 1,
            chunk: Tokens(chunk),
        };
        PrefillQueue::new(Tokens(10), &spec, Evictions::default())
    }

    fn ticket(request: u64) -> Ticket {
        Ticket {
            request: RequestId(request),
            attempt: 0,
        }
    }

    fn blocks(range: core::ops::Range<u64>) -> Vec<BlockHash> {
        range.map(BlockHash).collect()
    }

    #[test]
    fn a_request_reuses_what_is_there_when_it_starts() {
        let mut node = node(8, 16);
        let mut changes = CacheChanges::default();
        let first = node.enqueue(ticket(1), Tokens(25), &blocks(0..3), false);
        node.enqueue(ticket(2), Tokens(30), &blocks(0..3), false);
        let run = node.start().expect("ready");
        assert_eq!((run.cached, run.hit_blocks), (Tokens(0), 0));
        let ends: Vec<_> = run.chunk_ends().collect();
        assert_eq!(ends, [Tokens(16), Tokens(25)]);
        assert!(node.start().is_none(), "one at a time");
        assert_eq!(node.finish(&mut changes), first);
        assert_eq!(changes.stored, blocks(0..3));
        let run = node.start().expect("ready");
        assert_eq!(
            (run.cached, run.hit_blocks),
            (Tokens(29), 3),
            "one token is always computed"
        );
        node.check();
    }

    #[test]
    fn who_waits_for_a_copy_lets_others_pass() {
        let mut node = node(8, 16);
        let mut changes = CacheChanges::default();
        let waiting = node.enqueue(ticket(1), Tokens(30), &blocks(0..3), true);
        let passing = node.enqueue(ticket(2), Tokens(10), &blocks(9..10), false);
        assert_eq!(node.start().map(|run| run.job), Some(passing));
        node.copy_arrived(waiting, 0, 2, &mut changes);
        assert_eq!(changes.stored, blocks(0..2));
        node.finish(&mut changes);
        assert_eq!(
            node.start().map(|run| (run.job, run.hit_blocks)),
            Some((waiting, 2))
        );
    }

    #[test]
    fn blocks_in_use_stay_and_what_does_not_fit_is_not_kept() {
        let mut node = node(3, 99);
        let mut changes = CacheChanges::default();
        let large = node.enqueue(ticket(1), Tokens(50), &blocks(0..5), false);
        node.start().expect("ready");
        node.finish(&mut changes);
        assert_eq!(changes.stored, blocks(0..3), "three fit");
        let next = node.enqueue(ticket(2), Tokens(10), &blocks(9..10), false);
        changes.clear();
        node.start().expect("ready");
        node.finish(&mut changes);
        assert_eq!(
            (changes.stored.len(), changes.evicted.len()),
            (0, 0),
            "all blocks are in use"
        );
        node.release(large);
        node.release(next);
        node.check();
        assert_eq!(node.cache().dram().len(), 3);
    }

    #[test]
    fn what_could_not_be_computed_leaves_nothing() {
        let mut node = node(3, 99);
        let job = node.enqueue(ticket(1), Tokens(30), &blocks(0..3), false);
        node.start().expect("ready");
        assert_eq!(node.abandon(), job);
        node.release(job);
        assert!(node.cache().dram().is_empty());
        node.enqueue(ticket(2), Tokens(10), &blocks(0..1), false);
        assert!(node.start().is_some(), "the node goes on");
        node.check();
    }

    #[test]
    fn a_queued_request_can_be_cancelled_once() {
        let mut node = node(3, 99);
        let job = node.enqueue(ticket(1), Tokens(10), &blocks(0..1), false);
        assert!(node.cancel(job));
        assert!(!node.cancel(job));
        assert!(node.start().is_none());
    }
}
