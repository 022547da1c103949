//! The literal model: what continuous batching means, written out.

use super::{Log, Offer, Scenario};
use conductor_core::cost::CostModel;
use conductor_core::units::Tokens;
use std::collections::{BTreeMap, VecDeque};

/// A sequence of the literal model.
#[derive(Clone, Debug)]
struct Slow {
    request: u64,
    context: u64,
    remaining: u64,
    last_token: u64,
    gaps: Vec<u64>,
}

impl Slow {
    fn tail_mean(&self) -> Option<u64> {
        let mut gaps = self.gaps.clone();
        gaps.sort_unstable();
        let tail = gaps.len().div_ceil(10);
        let sum: u64 = gaps.iter().rev().take(tail).sum();
        (tail > 0).then(|| sum / tail as u64)
    }
}

/// The literal node.
pub(super) struct SlowNode<'a> {
    scenario: &'a Scenario,
    waiting: VecDeque<Slow>,
    loading: BTreeMap<(u64, usize), Slow>,
    loads_begun: usize,
    ready: Vec<Slow>,
    /// The youngest is last.
    batch: Vec<Slow>,
    step_end: Option<u64>,
    put_back: usize,
    log: Log,
}

impl SlowNode<'_> {
    /// Runs a scenario to its end: who left when and how, and how often a sequence was put back.
    pub(super) fn run(scenario: &Scenario) -> (Log, usize) {
        let mut node = SlowNode {
            scenario,
            waiting: VecDeque::new(),
            loading: BTreeMap::new(),
            loads_begun: 0,
            ready: Vec::new(),
            batch: Vec::new(),
            step_end: None,
            put_back: 0,
            log: Log::new(),
        };
        let mut offers: VecDeque<(usize, Offer)> =
            scenario.offers.iter().copied().enumerate().collect();
        loop {
            let load_end = node.loading.first_key_value().map(|(&(at, _), _)| at);
            let offer_at = offers.front().map(|(_, offer)| offer.at);
            let next = [node.step_end, load_end, offer_at];
            let Some(now) = next.into_iter().flatten().min() else {
                break;
            };
            if node.step_end == Some(now) {
                node.step(now);
            } else if load_end == Some(now) {
                let (_, sequence) = node.loading.pop_first().expect("it is due");
                node.ready.push(sequence);
                if node.step_end.is_none() {
                    node.start(now);
                }
            } else {
                let (request, offer) = offers.pop_front().expect("it is due");
                node.waiting.push_back(Slow {
                    request: request as u64,
                    context: offer.context,
                    remaining: offer.remaining,
                    last_token: now - offer.lag.min(now),
                    gaps: Vec::new(),
                });
                node.start_loads(now);
            }
        }
        node.log.sort_unstable();
        (node.log, node.put_back)
    }

    fn blocks(&self, tokens: u64) -> u64 {
        tokens.div_ceil(self.scenario.block)
    }

    /// Blocks of `sequences` after one more token each.
    fn blocks_after_step<'s>(&self, sequences: impl Iterator<Item = &'s Slow>) -> u64 {
        sequences.map(|s| self.blocks(s.context + 1)).sum()
    }

    fn capacity(&self) -> u64 {
        u64::from(self.scenario.capacity)
    }

    fn start_loads(&mut self, now: u64) {
        while let Some(first) = self.waiting.front() {
            let needed = self.blocks(first.context + 1);
            let coming = self.blocks_after_step(self.loading.values().chain(&self.ready));
            let idle = self.batch.is_empty() && coming == 0;
            // The rule as documented: full blocks of all tokens, two a sequence for what is rounded and what grows.
            let tokens: u64 = self.batch.iter().map(|s| s.context).sum();
            let counted = tokens / self.scenario.block + 2 * self.batch.len() as u64;
            let used = counted + self.ready.len() as u64 + coming;
            if !idle && used + needed > self.capacity() {
                break;
            }
            let next_step = self.blocks_after_step(self.batch.iter());
            assert!(
                idle || next_step + coming + needed <= self.capacity(),
                "the rule never gives away what the next step needs"
            );
            let sequence = self.waiting.pop_front().expect("it was just looked at");
            let end = now + self.scenario.load_time(sequence.context);
            self.loading.insert((end, self.loads_begun), sequence);
            self.loads_begun += 1;
        }
    }

    fn start(&mut self, now: u64) {
        self.batch.append(&mut self.ready);
        let mut gave_up = false;
        while !self.batch.is_empty() {
            let coming = self.blocks_after_step(self.loading.values());
            if self.blocks_after_step(self.batch.iter()) + coming <= self.capacity() {
                let context = self.batch.iter().map(|s| s.context).sum();
                let batch = self.batch.len() as u32;
                let step = self.scenario.cost().decode_step(batch, Tokens(context));
                self.step_end = Some(now + step.0);
                return;
            }
            let youngest = self.batch.pop().expect("the batch is not empty");
            // Only who does not fit though it has the node for itself can never go on.
            if self.batch.is_empty() && self.loading.is_empty() {
                let tbt = youngest.tail_mean();
                self.log.push((now, youngest.request, false, tbt));
                gave_up = true;
            } else {
                self.waiting.push_front(youngest);
                self.put_back += 1;
            }
        }
        if gave_up {
            self.start_loads(now);
        }
    }

    fn step(&mut self, now: u64) {
        self.step_end = None;
        for sequence in &mut self.batch {
            sequence.context += 1;
            sequence.remaining -= 1;
            sequence.gaps.push(now - sequence.last_token);
            sequence.last_token = now;
        }
        for sequence in self.batch.extract_if(.., |s| s.remaining == 0) {
            let tbt = sequence.tail_mean();
            self.log.push((now, sequence.request, true, tbt));
        }
        self.start_loads(now);
        self.start(now);
    }
}
