//! From a specification to requests in order of arrival: session starts, and the live sessions in a heap.
//!
//! Memory grows with the live sessions only (rate times their mean duration), never with the length of the run.
//! Blocks are numbered from zero in order of first appearance, as in Mooncake's traces.

use super::session::{FRESH, Session};
use super::spec::{Kind, Process, Workload};
use super::strata::Strata;
use super::stream::Stream;
use super::surge::Clock;
use conductor_core::ids::BlockHash;
use conductor_core::units::{Nanos, Tokens};
use conductor_core::workload::WorkloadRequest;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// How much of a workload is generated, and how dense.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GenerateOptions {
    /// End after so many requests. Without this and `duration`: as many as the specification says.
    pub requests: Option<u64>,
    /// End before the first request that would arrive at or after this time.
    pub duration: Option<Nanos>,
    /// Requests per second instead of the specification's. Sessions start more or less often; what happens
    /// within a session keeps its pace.
    pub rate: Option<f64>,
}

/// An endless (unless bounded) iterator of requests in order of arrival.
#[derive(Debug)]
#[must_use]
pub struct Generator {
    workload: Workload,
    seed: u64,
    arrivals: Stream,
    strata: Strata,
    clock: Option<Clock>,
    /// Mean distance of session starts, in seconds.
    distance_s: f64,
    /// Session starts so far; also the number of the next session.
    started: u64,
    /// When the next session starts, on the inner clock, which begins `warmup` before the run's.
    next_start_s: f64,
    warmup: Nanos,
    grid: Nanos,
    /// Next turns of live sessions, by time and number of session.
    due: BinaryHeap<Reverse<(Nanos, u64)>>,
    live: BTreeMap<u64, Session>,
    next_block: u64,
    /// The numbers of the templates' blocks, as far as they have appeared.
    templates: Vec<Vec<u64>>,
    requests_left: u64,
    end: Nanos,
}

impl Workload {
    /// Generates requests; equal arguments give equal requests on every machine.
    ///
    /// # Panics
    /// Where `options.rate` is not a positive number.
    pub fn generate(&self, seed: u64, options: &GenerateOptions) -> Generator {
        let rate = options.rate.unwrap_or(self.rate);
        assert!(
            rate > 0.0 && rate.is_finite(),
            "a rate is a positive number of requests per second, not {rate}"
        );
        let requests = match (options.requests, options.duration) {
            (Some(requests), _) => requests,
            (None, Some(_)) => u64::MAX,
            (None, None) => self.requests,
        };
        let seconds = |value| Nanos::from_secs_f64(value).unwrap_or(Nanos::ZERO);
        let mut generator = Generator {
            seed,
            arrivals: Stream::new(seed, "arrivals", 0),
            strata: Strata::new(seed),
            clock: self.arrivals.surge.map(|surge| Clock::new(surge, seed)),
            distance_s: self.turns_per_session() / rate,
            started: 0,
            next_start_s: 0.0,
            warmup: seconds(self.arrivals.warmup_s),
            grid: seconds(self.arrivals.grid_s),
            due: BinaryHeap::new(),
            live: BTreeMap::new(),
            next_block: 0,
            templates: self
                .templates
                .iter()
                .map(|template| vec![FRESH; template.blocks as usize])
                .collect(),
            requests_left: requests,
            end: options.duration.unwrap_or(Nanos::MAX),
            workload: self.clone(),
        };
        generator.next_start_s = generator.draw_distance();
        generator
    }

    /// Mean number of turns of a session; the bound on the prompt's length is left out of account.
    #[must_use]
    pub fn turns_per_session(&self) -> f64 {
        let Some(turns) = &self.turns else { return 1.0 };
        // Expected further turns behind a turn of each kind, from far behind to the second turn. Far behind, the
        // probabilities no longer change: iterate until nothing moves.
        let step = |further: [f64; 4], turn: u32| -> [f64; 4] {
            Kind::ALL.map(|kind| {
                turns.of(kind).continues_after(turn) * mean(turns.of(kind).next.weights(), further)
            })
        };
        let deepest = Kind::ALL
            .map(|kind| turns.of(kind).continues.len())
            .into_iter()
            .max()
            .unwrap_or(1) as u32;
        let mut further = [0.0; 4];
        for _ in 0..20_000 {
            further = step(further, deepest);
        }
        for turn in (1..deepest).rev() {
            further = step(further, turn);
        }
        // The share of each class among the first prompts.
        let shares = 1000;
        let mut total = 0.0;
        for i in 0..shares {
            let input = self
                .start
                .input
                .at((f64::from(i) + 0.5) / f64::from(shares));
            let class = self.start.class(input as u64);
            total += class.map_or(0.0, |class| {
                class.continues * mean(class.next.weights(), further)
            });
        }
        1.0 + total / f64::from(shares)
    }
}

/// One turn and, by kind, the expected turns behind it.
fn mean(weights: [f64; 4], further: [f64; 4]) -> f64 {
    let total: f64 = weights.iter().sum();
    1.0 + weights
        .iter()
        .zip(further)
        .map(|(weight, further)| weight * further)
        .sum::<f64>()
        / total
}

impl Generator {
    fn draw_distance(&mut self) -> f64 {
        match self.workload.arrivals.process {
            Process::Poisson => self.arrivals.exponential() * self.distance_s,
            Process::Deterministic => self.distance_s,
        }
    }

    /// The next turn of any session, on the inner clock.
    fn next_turn(&mut self) -> Option<(Nanos, u64)> {
        let start = Nanos::from_secs_f64(self.next_start_s)?;
        if let Some(Reverse(first)) = self.due.peek()
            && first.0 <= start
        {
            return self.due.pop().map(|Reverse(turn)| turn);
        }
        let number = self.started;
        self.started += 1;
        self.next_start_s += self.draw_distance();
        let point = self.strata.point(number);
        self.live.insert(
            number,
            Session::start(&self.workload, self.seed, number, point),
        );
        Some((start, number))
    }

    /// The request of a session's present turn. New blocks get their numbers now.
    fn request(&mut self, arrival: Nanos, session: &mut Session) -> WorkloadRequest {
        // What has no number yet is a tail: a turn keeps leading blocks only.
        let known = session
            .blocks
            .iter()
            .position(|block| *block == FRESH)
            .unwrap_or(session.blocks.len());
        for place in known..session.blocks.len() {
            session.blocks[place] = match session.template {
                Some(template) => self.template_block(template, place),
                None => self.fresh_block(),
            };
        }
        WorkloadRequest {
            arrival,
            input: Tokens(session.input),
            output: Tokens(session.output),
            blocks: session.blocks.iter().copied().map(BlockHash).collect(),
        }
    }

    /// The number of a block at `place` of a prompt with this template: a new one behind the template's end.
    fn template_block(&mut self, template: usize, place: usize) -> u64 {
        let (blocks, extends) = {
            let template = &self.workload.templates[template];
            (template.blocks as usize, template.extends)
        };
        if place >= blocks {
            return self.fresh_block();
        }
        match extends {
            Some(base) if place < self.workload.templates[base].blocks as usize => {
                self.template_block(base, place)
            }
            _ => {
                if self.templates[template][place] == FRESH {
                    self.templates[template][place] = self.fresh_block();
                }
                self.templates[template][place]
            }
        }
    }

    const fn fresh_block(&mut self) -> u64 {
        self.next_block += 1;
        self.next_block - 1
    }
}

impl Iterator for Generator {
    type Item = WorkloadRequest;

    fn next(&mut self) -> Option<WorkloadRequest> {
        if self.requests_left == 0 {
            return None;
        }
        loop {
            let (at, number) = self.next_turn()?;
            let mut session = self.live.remove(&number)?;
            let request = (at >= self.warmup).then(|| {
                let even = at - self.warmup;
                let arrival = self.clock.as_mut().map_or(even, |clock| clock.map(even));
                let rounded = if self.grid.is_zero() {
                    arrival
                } else {
                    Nanos(arrival.0 - arrival.0 % self.grid.0)
                };
                self.request(rounded, &mut session)
            });
            if let Some(gap) = session.advance(&self.workload) {
                self.due.push(Reverse((at + gap, number)));
                self.live.insert(number, session);
            }
            let Some(request) = request else { continue };
            if request.arrival >= self.end {
                self.requests_left = 0;
                return None;
            }
            self.requests_left -= 1;
            return Some(request);
        }
    }
}
