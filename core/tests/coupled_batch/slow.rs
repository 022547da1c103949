//! The literal model of a coupled engine: every request is a record, every pass is planned from scratch, every block is
//! counted one by one, every gap is written down.

use super::{Asked, Log, Scenario, cost};
use conductor_core::config::CoupledSchedule;
use conductor_core::cost::{Piece, mixed};
use conductor_core::units::Tokens;
use std::collections::VecDeque;

#[derive(Clone, Debug)]
struct Request {
    id: u64,
    /// Who ends with the same step leaves in the order of places; a place is used again, the last one first.
    place: usize,
    asked: u64,
    blocks: Vec<u64>,
    /// Tokens to compute before the next token comes.
    input: u64,
    /// Of these, the KV that is there; while decoding, all KV.
    kv: u64,
    /// Tokens still to come.
    left: u64,
    /// How many leading blocks are held in the prefix cache.
    held: usize,
    last_token: Option<u64>,
    gaps: Vec<u64>,
}

impl Request {
    fn tail_mean(&self) -> Option<u64> {
        let mut gaps = self.gaps.clone();
        gaps.sort_unstable();
        let tail = gaps.len().div_ceil(10);
        let sum: u64 = gaps.iter().rev().take(tail).sum();
        (tail > 0).then(|| sum / tail as u64)
    }
}

/// A cached block: content, users, when it was last let go.
type Block = (u64, u32, u64);

pub(super) struct SlowNode<'a> {
    scenario: &'a Scenario,
    cache: Vec<Block>,
    clock: u64,
    waiting: VecDeque<Request>,
    /// Taken in, prompt incomplete.
    computing: Vec<Request>,
    /// In order of joining.
    batch: Vec<Request>,
    free: Vec<usize>,
    places: usize,
    pub(super) recomputed: u64,
    pub(super) hits: u64,
    log: Log,
}

impl<'a> SlowNode<'a> {
    /// Runs a scenario to its end.
    pub(super) fn run(scenario: &'a Scenario) -> Self {
        let mut node = SlowNode {
            scenario,
            cache: Vec::new(),
            clock: 0,
            waiting: VecDeque::new(),
            computing: Vec::new(),
            batch: Vec::new(),
            free: Vec::new(),
            places: 0,
            recomputed: 0,
            hits: 0,
            log: Log::new(),
        };
        let mut asked: VecDeque<(usize, &Asked)> = scenario.asked.iter().enumerate().collect();
        let mut now = 0;
        loop {
            match node.pass(now) {
                Some(end) => {
                    // Who comes while a pass is under way waits for its end.
                    while asked.front().is_some_and(|(_, asked)| asked.at < end) {
                        let (id, asked) = asked.pop_front().expect("it is there");
                        node.come(id as u64, asked);
                    }
                    now = end;
                    node.finish(now);
                }
                None => match asked.pop_front() {
                    Some((id, next)) => {
                        now = next.at;
                        node.come(id as u64, next);
                    }
                    None => break,
                },
            }
        }
        assert!(node.waiting.is_empty(), "nobody is forgotten");
        assert!(
            node.cache.iter().all(|block| block.1 == 0),
            "nothing stays pinned"
        );
        node.log.sort_unstable();
        node
    }

    pub(super) fn log(&self) -> &Log {
        &self.log
    }

    fn come(&mut self, id: u64, asked: &Asked) {
        let known = asked.input.div_ceil(self.scenario.block) as usize;
        let caching = self.scenario.config.prefix_caching;
        let place = self.free.pop().unwrap_or(self.places);
        self.places = self.places.max(place + 1);
        self.waiting.push_back(Request {
            id,
            place,
            asked: asked.input,
            blocks: asked
                .blocks
                .iter()
                .copied()
                .take(if caching { known } else { 0 })
                .collect(),
            input: asked.input,
            kv: 0,
            left: asked.output,
            held: 0,
            last_token: None,
            gaps: Vec::new(),
        });
    }

    /// Plans a pass and returns when it ends; what it computes is `kv` of who computes, up to `until`.
    fn pass(&mut self, now: u64) -> Option<u64> {
        let chunked = self.scenario.config.schedule == CoupledSchedule::Chunked;
        loop {
            let mut plan: Vec<(u64, u64)> = Vec::new();
            let steps = if chunked {
                let lost = self.make_room(now);
                let mut budget = self
                    .scenario
                    .config
                    .pass_tokens
                    .0
                    .saturating_sub(self.batch.len() as u64);
                for request in &self.computing {
                    let piece = budget.min(request.input - request.kv);
                    if piece > 0 {
                        plan.push((request.id, request.kv + piece));
                        budget -= piece;
                    }
                }
                if !lost {
                    self.take_in(budget, &mut plan, now);
                }
                !self.batch.is_empty()
            } else {
                self.take_in(self.scenario.config.pass_tokens.0, &mut plan, now);
                if plan.is_empty() {
                    self.make_room(now);
                }
                plan.is_empty() && !self.batch.is_empty()
            };
            if plan.is_empty() && !steps {
                if self.waiting.is_empty() {
                    return None;
                }
                continue;
            }
            let piece = |&(id, end): &(u64, u64)| {
                let request = self.computing.iter().find(|request| request.id == id);
                Piece {
                    start: Tokens(request.expect("it is computing").kv),
                    end: Tokens(end),
                }
            };
            let pieces: Vec<Piece> = plan.iter().map(piece).collect();
            let context: u64 = self.batch.iter().map(|request| request.kv).sum();
            let batch = if steps { self.batch.len() as u32 } else { 0 };
            let time = mixed(&cost(self.scenario), &pieces, batch, Tokens(context));
            for (id, end) in plan {
                let request = self.computing.iter_mut().find(|request| request.id == id);
                request.expect("it is computing").kv = end;
            }
            if steps {
                for request in &mut self.batch {
                    request.kv += 1;
                    request.left -= 1;
                    let last = request.last_token.replace(now + time.0);
                    request
                        .gaps
                        .push(now + time.0 - last.expect("it has its first token"));
                }
            }
            return Some(now + time.0);
        }
    }

    /// What has ended with a pass.
    fn finish(&mut self, now: u64) {
        let mut done: Vec<Request> = self
            .batch
            .extract_if(.., |request| request.left == 0)
            .collect();
        done.sort_by_key(|request| request.place);
        for request in done {
            self.ended(now, request, true);
        }
        let mut i = 0;
        while i < self.computing.len() {
            if self.computing[i].kv < self.computing[i].input {
                i += 1;
                continue;
            }
            let mut request = self.computing.remove(i);
            for place in request.held..request.blocks.len() {
                self.store(request.blocks[place]);
            }
            request.held = request.blocks.len();
            if let Some(last) = request.last_token.replace(now) {
                request.gaps.push(now - last);
            }
            request.left -= 1;
            if request.left == 0 {
                self.ended(now, request, true);
            } else {
                self.batch.push(request);
            }
        }
    }

    fn take_in(&mut self, budget: u64, plan: &mut Vec<(u64, u64)>, now: u64) {
        let config = &self.scenario.config;
        let chunked = config.schedule == CoupledSchedule::Chunked;
        let (mut budget, limit) = (budget, config.batch_requests as usize);
        let capacity = u64::from(self.scenario.capacity);
        let watermark = capacity * u64::from(config.watermark.0) / 1000;
        while let Some(request) = self.waiting.front() {
            let inside = self.batch.len() + self.computing.len();
            if inside >= limit || budget == 0 {
                return;
            }
            if !chunked && request.input > budget && !plan.is_empty() {
                return;
            }
            let needed = request.input.div_ceil(self.scenario.block);
            if needed > capacity {
                let request = self.waiting.pop_front().expect("it is the first");
                self.ended(now, request, false);
                continue;
            }
            let known = |block: &&u64| self.cache.iter().any(|cached| cached.0 == **block);
            let reused: Vec<u64> = request.blocks.iter().take_while(known).copied().collect();
            let busy = self
                .cache
                .iter()
                .filter(|block| block.1 > 0 || reused.contains(&block.0));
            let kept = if inside == 0 { 0 } else { watermark };
            let own: u64 = self.own(0);
            if own + busy.count() as u64 + (needed - reused.len() as u64) + kept > capacity {
                return;
            }
            let mut request = self.waiting.pop_front().expect("it is the first");
            for &block in &reused {
                self.cache
                    .iter_mut()
                    .find(|cached| cached.0 == block)
                    .expect("it is there")
                    .1 += 1;
            }
            request.held = reused.len();
            self.hits += reused.len() as u64;
            let reuse = self.scenario.block * reused.len() as u64;
            request.kv = reuse.min(request.asked).min(request.input - 1);
            let end = if chunked {
                request.input.min(request.kv + budget)
            } else {
                request.input
            };
            budget = if chunked {
                budget - (end - request.kv)
            } else {
                budget.saturating_sub(request.input)
            };
            plan.push((request.id, end));
            self.computing.push(request);
            while self.own(0) + self.cache.len() as u64 > capacity {
                assert!(self.forget_one(), "there was room");
            }
        }
    }

    /// True if somebody has lost its KV.
    fn make_room(&mut self, now: u64) -> bool {
        let mut lost = false;
        loop {
            let capacity = u64::from(self.scenario.capacity);
            while self.own(1) + self.cache.len() as u64 > capacity && self.forget_one() {}
            if self.own(1) + self.cache.len() as u64 <= capacity {
                return lost;
            }
            lost = true;
            self.recomputed += 1;
            let youngest = self.computing.pop().or_else(|| self.batch.pop());
            let mut request = youngest.expect("an empty node is not overfull");
            self.let_go(&mut request);
            if request.last_token.is_some() && request.kv >= request.input {
                request.input = request.kv + 1;
            }
            request.kv = 0;
            if self.batch.is_empty() && self.computing.is_empty() {
                self.ended(now, request, false);
            } else {
                self.waiting.push_front(request);
            }
        }
    }

    /// Blocks that belong to one request each, `steps` steps of the batch later.
    fn own(&self, steps: u64) -> u64 {
        let blocks = |tokens: u64, held: usize| {
            tokens
                .div_ceil(self.scenario.block)
                .saturating_sub(held as u64)
        };
        let batch = self
            .batch
            .iter()
            .map(|request| blocks(request.kv + steps, request.held));
        let computing = self
            .computing
            .iter()
            .map(|request| blocks(request.input, request.held));
        batch.sum::<u64>() + computing.sum::<u64>()
    }

    fn store(&mut self, block: u64) {
        if let Some(cached) = self.cache.iter_mut().find(|cached| cached.0 == block) {
            cached.1 += 1;
        } else {
            self.cache.push((block, 1, 0));
        }
    }

    /// The least recently used block that nobody uses goes.
    fn forget_one(&mut self) -> bool {
        let idle = self.cache.iter().filter(|block| block.1 == 0);
        let Some(&(block, ..)) = idle.min_by_key(|block| block.2) else {
            return false;
        };
        self.cache.retain(|cached| cached.0 != block);
        true
    }

    fn let_go(&mut self, request: &mut Request) {
        for block in request.blocks[..request.held].iter().rev() {
            let cached = self.cache.iter_mut().find(|cached| cached.0 == *block);
            let cached = cached.expect("what is used stays");
            cached.1 -= 1;
            if cached.1 == 0 {
                self.clock += 1;
                cached.2 = self.clock;
            }
        }
        request.held = 0;
    }

    fn ended(&mut self, now: u64, mut request: Request, complete: bool) {
        self.let_go(&mut request);
        self.free.push(request.place);
        self.log
            .push((now, request.id, complete, request.tail_mean()));
    }
}
