//! From a specification to requests in order of arrival: session starts, and the live sessions in a heap.
//!
//! Memory grows with the live sessions only (rate times their mean duration), never with the length of the run.
//! Blocks are numbered from zero in order of first appearance, as in Mooncake's traces.

use super::diurnal::Day;
use super::population::{Population, turns_per_session};
use super::session::{FRESH, Session};
use super::spec::{Process, Workload};
use super::strata::Strata;
use super::stream::Stream;
use super::surge::Clock;
use conductor_core::ids::{BlockHash, ClassId, WorkflowId};
use conductor_core::units::{Nanos, Tokens};
use conductor_core::workload::WorkloadRequest;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

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
    sources: Vec<Source>,
    /// Decides whose session starts, where there are several sources.
    turnstile: Strata,
    clock: Option<Clock>,
    day: Option<Day>,
    /// Mean distance of session starts, in seconds.
    distance_s: f64,
    /// Session starts so far.
    started: u64,
    /// When the next session would start if all hours of the day were alike,
    next_even_s: f64,
    /// and when it does, on the inner clock, which begins `warmup` before the run's.
    next_start_s: f64,
    warmup: Nanos,
    grid: Nanos,
    /// Next turns of live sessions, by time and number of session, with the session's place.
    due: BinaryHeap<Reverse<(Nanos, u64, u32)>>,
    live: Vec<Option<Box<Session>>>,
    free: Vec<u32>,
    next_block: u64,
    requests_left: u64,
    end: Nanos,
}

/// A population and where it stands.
#[derive(Debug)]
struct Source {
    population: Population,
    strata: Strata,
    /// This and all sources before: the share of the session starts.
    starts_up_to: f64,
    /// Number of the next session, from the source's lane.
    next_session: u64,
    /// The numbers of the templates' blocks, as far as they have appeared.
    templates: Vec<Vec<u64>>,
}

/// Sessions of population n are numbered from n lanes on, so that none shifts the draws of another.
const LANE: u64 = 1 << 48;

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
        let mixture = self.mixture();
        let mut generator = Generator {
            seed,
            arrivals: Stream::new(seed, "arrivals", 0),
            distance_s: turns_per_session(&mixture) / rate,
            turnstile: Strata::new(seed, LANE * mixture.len() as u64),
            sources: sources(mixture, seed),
            clock: self.arrivals.surge.map(|surge| Clock::new(surge, seed)),
            day: self
                .arrivals
                .diurnal
                .as_ref()
                .map(|curve| Day::new(curve, self.arrivals.warmup_s)),
            next_even_s: 0.0,
            started: 0,
            next_start_s: 0.0,
            warmup: seconds(self.arrivals.warmup_s),
            grid: seconds(self.arrivals.grid_s),
            due: BinaryHeap::new(),
            live: Vec::new(),
            free: Vec::new(),
            next_block: 0,
            requests_left: requests,
            end: options.duration.unwrap_or(Nanos::MAX),
            workload: self.clone(),
        };
        generator.go_on();
        generator
    }
}

fn sources(mixture: Vec<Population>, seed: u64) -> Vec<Source> {
    let total: f64 = mixture.iter().map(Population::starts).sum();
    let mut sum = 0.0;
    let source = |(place, population): (usize, Population)| {
        let lane = LANE * place as u64;
        sum += population.starts() / total;
        Source {
            strata: Strata::new(seed, lane),
            starts_up_to: sum,
            next_session: lane,
            templates: population
                .templates
                .iter()
                .map(|template| vec![FRESH; template.blocks as usize])
                .collect(),
            population,
        }
    };
    mixture.into_iter().enumerate().map(source).collect()
}

impl Generator {
    /// Draws when the next session starts.
    fn go_on(&mut self) {
        self.next_even_s += match self.workload.arrivals.process {
            Process::Poisson => self.arrivals.exponential() * self.distance_s,
            Process::Deterministic => self.distance_s,
        };
        self.next_start_s = match &mut self.day {
            Some(day) => day.map(self.next_even_s) + self.workload.arrivals.warmup_s,
            None => self.next_even_s,
        };
    }

    /// The next turn of any session, on the inner clock, with the session's number and place.
    fn next_turn(&mut self) -> Option<(Nanos, u64, u32)> {
        let start = Nanos::from_secs_f64(self.next_start_s)?;
        if let Some(Reverse(first)) = self.due.peek()
            && first.0 <= start
        {
            return self.due.pop().map(|Reverse(turn)| turn);
        }
        self.go_on();
        let place = self.next_source();
        self.started += 1;
        let source = &mut self.sources[place];
        let number = source.next_session;
        source.next_session += 1;
        let point = source.strata.point(number % LANE);
        let session = Session::start(
            &source.population,
            self.workload.rules(),
            self.seed,
            number,
            point,
        );
        let place = self.free.pop().unwrap_or_else(|| {
            self.live.push(None);
            self.live.len() as u32 - 1
        });
        self.live[place as usize] = Some(Box::new(session));
        Some((start, number, place))
    }

    /// Whose session starts next.
    fn next_source(&mut self) -> usize {
        let last = self.sources.len() - 1;
        if last == 0 {
            return 0;
        }
        let share = self.turnstile.point(self.started).length;
        self.sources
            .iter()
            .position(|source| share < source.starts_up_to)
            .unwrap_or(last)
    }

    /// The request of a session's present turn. New blocks get their numbers now.
    fn request(&mut self, arrival: Nanos, number: u64, session: &mut Session) -> WorkloadRequest {
        let source = (number / LANE) as usize;
        // What has no number yet is a tail: a turn keeps leading blocks only.
        let known = session
            .blocks
            .iter()
            .position(|block| *block == FRESH)
            .unwrap_or(session.blocks.len());
        for place in known..session.blocks.len() {
            session.blocks[place] = match session.template {
                Some(template) => self.template_block(source, template, place),
                None => self.fresh_block(),
            };
        }
        WorkloadRequest {
            class: ClassId::default(),
            workflow: Some(WorkflowId(number)),
            arrival,
            input: Tokens(session.input),
            output: Tokens(session.output),
            blocks: session.blocks.iter().copied().map(BlockHash).collect(),
        }
    }

    /// The number of a block at `place` of a prompt with this template: a new one behind the template's end.
    fn template_block(&mut self, source: usize, template: usize, place: usize) -> u64 {
        let of = |place: usize| &self.sources[source].population.templates[place];
        let (blocks, extends) = (of(template).blocks as usize, of(template).extends);
        if place >= blocks {
            return self.fresh_block();
        }
        match extends {
            Some(base) if place < of(base).blocks as usize => {
                self.template_block(source, base, place)
            }
            _ => {
                if self.sources[source].templates[template][place] == FRESH {
                    self.sources[source].templates[template][place] = self.fresh_block();
                }
                self.sources[source].templates[template][place]
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
            let (at, number, place) = self.next_turn()?;
            let mut session = self.live[place as usize].take()?;
            let source = (number / LANE) as usize;
            let request = (at >= self.warmup).then(|| {
                let even = at - self.warmup;
                let arrival = self.clock.as_mut().map_or(even, |clock| clock.map(even));
                let rounded = if self.grid.is_zero() {
                    arrival
                } else {
                    Nanos(arrival.0 - arrival.0 % self.grid.0)
                };
                self.request(rounded, number, &mut session)
            });
            match session.advance(&self.sources[source].population, self.workload.rules()) {
                Some(gap) => {
                    self.due.push(Reverse((at + gap, number, place)));
                    self.live[place as usize] = Some(session);
                }
                None => self.free.push(place),
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
