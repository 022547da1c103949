//! Writes the chats of the built-in `kimi-toolagent` anew. Needs the published histogram of input lengths beside the
//! project, see [`HISTOGRAM`], but no trace.
//!
//! They are the sessions of `kimi-conversation` in all but two things. First prompts are weighed, bin of the histogram
//! by bin, until the generated requests, agents, tools and further turns included, fill the bins as published
//! (iterative proportional fitting). The number of further turns is tuned to the ideal hit ratio. Each moves the
//! other a little, so they take turns.
//!
//! What stands above the chats' first prompts in the file is written by hand and stays.

use conductor_traces::generate::{GenerateOptions, Start, Table, Workload};
use std::error::Error;
use std::path::Path;

/// (409,616 - 183,300) / 409,616: blocks and distinct blocks of the trace.
const HIT_RATIO: f64 = 0.5525;
/// Report, Fig. 5, decoded: `lo,hi,count`.
const HISTOGRAM: &str = "../../shared/reference/figures/toolagent_input_length_hist_v3fig5.csv";
/// Below this edge of the histogram, in tokens, kimi-conversation's steps are finer than the bins and kept.
const FINE_BELOW: f64 = 10_234.0;
/// The last line by hand.
const LAST_LINE: &str = "# (`start`, `turns`: see the head of that example.)\n";
/// Rounds of both fits, and seeds of each; other seeds than those of tests.
const ROUNDS: u32 = 8;
const SEEDS: std::ops::Range<u64> = 1000..1064;
/// First prompts in the table that is written.
const SCALE: f64 = 10_000.0;
/// Quantiles of kimi-conversation's first prompts.
const STEPS: u32 = 80;

/// First prompts as a histogram: edges in tokens, and what lies above each but the last.
struct Firsts {
    edges: Vec<f64>,
    counts: Vec<f64>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let published = published(&root.join(HISTOGRAM))?;
    let path = root.join("workloads/kimi-toolagent.toml");
    let text = std::fs::read_to_string(&path)?;
    let end = text
        .find(LAST_LINE)
        .ok_or("the last line by hand is not there")?
        + LAST_LINE.len();
    let by_hand = &text[..end];
    // Something in place of what is fitted, so that the file can be read.
    let place = "[populations.start]\ninput = [1]\noutput = [1]\n";
    let mut workload = Workload::from_toml(&format!("{by_hand}\n{place}"))?;
    let conversation = Workload::builtin("kimi-conversation")?;
    let start = conversation.start.ok_or("no first prompts")?;
    let mut firsts = Firsts::new(&start, &published);
    {
        let chat = workload.populations.last_mut().ok_or("no chats")?;
        chat.start = start;
        chat.turns = conversation.turns;
    }
    let plain = workload.clone();
    for _ in 0..ROUNDS {
        let made = made(&workload, &published);
        firsts.weigh(&published, &made);
        let mut next = plain.clone();
        next.populations.last_mut().ok_or("no chats")?.start.input = firsts.table()?;
        workload = next.calibrated(HIT_RATIO);
    }
    let fitted = workload.to_toml();
    let start = fitted
        .rfind("[populations.start]")
        .ok_or("no first prompts")?;
    std::fs::write(path, format!("{by_hand}\n{}", &fitted[start..]))?;
    Ok(())
}

/// The bins: lower edges in tokens and shares of all requests; the last is an edge only.
fn published(path: &Path) -> Result<Vec<(u64, f64)>, Box<dyn Error>> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{path:?}: {error}"))?;
    let mut bins: Vec<(u64, f64)> = Vec::new();
    let mut above = 0;
    for line in text.lines().skip(1) {
        let fields: Result<Vec<u64>, _> = line.split(',').map(str::parse).collect();
        let &[low, high, count] = fields?.as_slice() else {
            return Err("three numbers a line".into());
        };
        if low > above && above > 0 {
            bins.push((above, 0.0));
        }
        bins.push((low, count as f64));
        above = high;
    }
    let total: f64 = bins.iter().map(|bin| bin.1).sum();
    bins.iter_mut().for_each(|bin| bin.1 /= total);
    bins.push((above, 0.0));
    Ok(bins)
}

/// Shares of all generated requests in the same bins.
fn made(workload: &Workload, bins: &[(u64, f64)]) -> Vec<f64> {
    let mut shares = vec![0.0; bins.len()];
    let number = (SEEDS.end - SEEDS.start) as f64 * workload.requests as f64;
    for seed in SEEDS {
        for row in workload.generate(seed, &GenerateOptions::default()) {
            shares[bin_of(bins, row.input.0 as f64)] += 1.0 / number;
        }
    }
    shares
}

/// The bin of a length; what is shorter than all belongs to the first.
fn bin_of(bins: &[(u64, f64)], tokens: f64) -> usize {
    let above = bins.partition_point(|bin| bin.0 as f64 <= tokens);
    above.saturating_sub(1)
}

impl Firsts {
    /// Those of kimi-conversation, cut at the bins' edges.
    fn new(start: &Start, bins: &[(u64, f64)]) -> Self {
        let quantile = |step: u32| start.input.at(f64::from(step) / f64::from(STEPS));
        let least = quantile(0);
        let fine = (0..=STEPS)
            .map(quantile)
            .filter(|value| *value < FINE_BELOW);
        let cuts = bins
            .iter()
            .map(|bin| bin.0 as f64)
            .filter(|edge| *edge > least);
        let mut edges: Vec<f64> = fine.chain(cuts).collect();
        edges.sort_by(f64::total_cmp);
        let mut counts = vec![0.0; edges.len() - 1];
        let draws = SCALE as u32;
        for draw in 0..draws {
            let value = start.input.at((f64::from(draw) + 0.5) / f64::from(draws));
            let above = edges.partition_point(|edge| *edge <= value);
            counts[above.saturating_sub(1).min(edges.len() - 2)] += 1.0;
        }
        Self { edges, counts }
    }

    /// Weighs what lies in each bin by published over made.
    fn weigh(&mut self, published: &[(u64, f64)], made: &[f64]) {
        for (edge, count) in self.edges.iter().zip(&mut self.counts) {
            let bin = bin_of(published, *edge);
            if made[bin] > 0.0 {
                // Bounded, since other populations and further turns fill bins too.
                *count *= (published[bin].1 / made[bin]).clamp(0.5, 2.0);
            }
        }
    }

    fn table(&self) -> Result<Table, &'static str> {
        let counts = self.counts.iter().map(|count| count.round()).collect();
        Table::histogram(self.edges.clone(), counts).ok_or("no histogram")
    }
}
