//! Our index beside public ones: the same stores and queries, answers checked equal, times taken in turn.
//!
//! Prints for each index what a stored block costs, what a query of 24 blocks costs, how much memory it adds, and how
//! that compares with ours. Rounds alternate between the indexes, because a shared machine has good and bad moments;
//! a ratio is the median of the rounds' own ratios. See ../README.md.

mod indexes;
mod memory;
mod workload;

use indexes::{Compressed, Index, KvIndex, Ours, OursUnread, Positional, Tree, ask, table};
use std::time::{Duration, Instant};
use workload::{CHAIN, NODES, Workload};

/// Rounds of stores (each fills a new index) and of queries.
const FILLS: usize = 5;
const ROUNDS: usize = 41;
/// Queries of a round.
const QUERIES: usize = 16_384;

/// Queries that are timed together. Less than a scheduler's slice; a round's figure is the median of its parts.
const PART: usize = 256;

/// One index' measurements, round by round.
#[derive(Default)]
struct Row {
    name: &'static str,
    store_ns: Vec<f64>,
    match_ns: Vec<f64>,
    single_ns: Vec<u64>,
    bytes: isize,
}

/// An index that is filled, and its measurements.
struct Candidate<I: Index> {
    index: Option<I>,
    row: Row,
}

/// What the loop needs of a candidate, whatever its types are.
trait Measured {
    fn fill(&mut self, workload: &Workload);
    fn check(&mut self, workload: &Workload, truth: &[[u32; NODES as usize]]);
    fn round(&mut self, workload: &Workload);
    fn singles(&mut self, workload: &Workload);
    fn row(&self) -> &Row;
}

impl<I: Index> Candidate<I> {
    fn boxed() -> Box<Self> {
        let row = Row {
            name: I::NAME,
            ..Row::default()
        };
        Box::new(Self { index: None, row })
    }
}

impl<I: Index> Measured for Candidate<I> {
    fn fill(&mut self, workload: &Workload) {
        self.index = None;
        let events: Vec<I::Event> = workload
            .stores
            .iter()
            .map(|store| I::event(workload, store))
            .collect();
        // Events hold memory of their own, which the index takes or frees: what is left when they are gone is added.
        let blocks = (events.len() * CHAIN) as f64;
        let before = memory::live();
        let bytes_of_events = {
            let copy: Vec<I::Event> = workload
                .stores
                .iter()
                .map(|store| I::event(workload, store))
                .collect();
            let bytes = memory::live() - before;
            drop(copy);
            bytes
        };
        let mut index = I::new();
        let started = Instant::now();
        index.store(events);
        let took = started.elapsed();
        self.row.store_ns.push(took.as_nanos() as f64 / blocks);
        self.row.bytes = memory::live() - (before - bytes_of_events);
        self.index = Some(index);
    }

    fn check(&mut self, workload: &Workload, truth: &[[u32; NODES as usize]]) {
        let index = self.index.as_mut().expect("it is filled");
        for (query, truth) in workload.queries.iter().zip(truth) {
            assert_eq!(&table(index, query), truth, "{}: not exact", I::NAME);
        }
    }

    fn round(&mut self, workload: &Workload) {
        let index = self.index.as_mut().expect("it is filled");
        // Once without the clock: what the others left in the processor's caches is not this one's fault.
        for query in &workload.queries {
            ask(index, I::query(query));
        }
        let mut parts = Vec::new();
        for part in workload.queries.chunks(PART) {
            let queries: Vec<I::Query> = part.iter().map(I::query).collect();
            let started = Instant::now();
            for query in queries {
                ask(index, query);
            }
            parts.push(started.elapsed().as_nanos() as f64 / part.len() as f64);
        }
        self.row.match_ns.push(median(&parts));
    }

    /// Each query by itself; the clock's own time is taken off by the caller.
    fn singles(&mut self, workload: &Workload) {
        let index = self.index.as_mut().expect("it is filled");
        let queries: Vec<I::Query> = workload.queries.iter().map(I::query).collect();
        for query in queries {
            let started = Instant::now();
            ask(index, query);
            self.row.single_ns.push(started.elapsed().as_nanos() as u64);
        }
    }

    fn row(&self) -> &Row {
        &self.row
    }
}

fn median(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn quantile(values: &[u64], percent: usize) -> u64 {
    let mut values = values.to_vec();
    values.sort_unstable();
    values[(values.len() * percent).div_ceil(100).max(1) - 1]
}

/// The median of the rounds' ratios to ours.
fn ratio(theirs: &[f64], ours: &[f64]) -> f64 {
    median(
        &theirs
            .iter()
            .zip(ours)
            .map(|(theirs, ours)| theirs / ours)
            .collect::<Vec<_>>(),
    )
}

/// What reading the clock twice takes.
fn clock() -> Duration {
    let mut least = Duration::MAX;
    for _ in 0..10_000 {
        let started = Instant::now();
        least = least.min(started.elapsed());
    }
    least
}

fn main() {
    let workload = Workload::new(QUERIES);
    println!(
        "{NODES} nodes, {} resident (node, block) pairs of {} blocks, {} stores of {CHAIN} blocks, {QUERIES} queries \
         of {CHAIN} blocks",
        workload.pairs,
        workload.blocks,
        workload.stores.len()
    );
    let mut candidates: Vec<Box<dyn Measured>> = vec![
        Candidate::<Ours>::boxed(),
        Candidate::<OursUnread>::boxed(),
        Candidate::<KvIndex>::boxed(),
        Candidate::<Tree>::boxed(),
        Candidate::<Compressed>::boxed(),
        Candidate::<Positional>::boxed(),
    ];
    for _ in 0..FILLS {
        for candidate in &mut candidates {
            candidate.fill(&workload);
        }
    }
    let truth = workload.literal();
    for (i, candidate) in candidates.iter_mut().enumerate() {
        if i != 1 && candidate.row().name != OursUnread::NAME {
            candidate.check(&workload, &truth);
        }
    }
    println!("answers: equal to the literal ones, for all nodes and queries\n");
    for _ in 0..ROUNDS {
        for candidate in &mut candidates {
            candidate.round(&workload);
        }
    }
    for _ in 0..3 {
        for candidate in &mut candidates {
            candidate.singles(&workload);
        }
    }
    let clock = clock().as_nanos() as u64;
    println!(
        "| index | store, ns a block | of ours | match, ns | of ours | p50 | p99 | MiB added | of ours |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let ours = candidates[0].row();
    for candidate in &candidates {
        let row = candidate.row();
        println!(
            "| {} | {:.0} | {:.2} | {:.0} | {:.2} | {} | {} | {:.1} | {:.2} |",
            row.name,
            median(&row.store_ns),
            ratio(&row.store_ns, &ours.store_ns),
            median(&row.match_ns),
            ratio(&row.match_ns, &ours.match_ns),
            quantile(&row.single_ns, 50).saturating_sub(clock),
            quantile(&row.single_ns, 99).saturating_sub(clock),
            row.bytes as f64 / f64::from(1 << 20),
            row.bytes as f64 / ours.bytes as f64,
        );
    }
    println!(
        "\nmatch: medians of {ROUNDS} rounds; single queries: {clock} ns for the clock taken off"
    );
}
