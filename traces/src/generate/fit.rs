//! From a trace to the workload that makes traces like it.
//!
//! The window of a trace hides what came before and what comes after. So first prompts are taken from behind the
//! first twelfth, where few "starts" continue a session that began unseen; and whether a turn is continued is
//! counted on turns that have the last third still before them. Everything else uses all rows.
//!
//! Not here: tuning towards a result, but for one number (`calibrate`). What the model leaves out stays out, and
//! the tests say how far it is.

use super::calibrate::calibrate;
use super::lineage::{Lineage, Link, Node, brings};
use super::measure::{Gap, constant, grid, likeness, paces, share, surge, table};
use super::spec::{
    Arrivals, Kept, Kind, Likeness, Next, Pace, Process, Start, StartClass, Template, Turn, Turns,
    Workload,
};
use super::table::{Table, round};
use crate::stats::Stats;
use conductor_core::units::{Nanos, Tokens};
use conductor_core::workload::WorkloadRequest;
use thiserror::Error;

/// Points of the table of first prompts, and of all others.
const START_POINTS: usize = 81;
const POINTS: usize = 41;
/// Where classes of first prompts part, as shares of all first prompts; finer where prompts are long, as these
/// hold most blocks.
const CLASSES: [f64; 10] = [
    0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 0.9375, 0.97, 0.985,
];
/// Behind so many turns the probability of a further one is taken as constant.
const TURNS: usize = 6;
/// The weight, in observations, of a kind's mean probability in the estimate for one number of turns.
const PRIOR: f64 = 5.0;
/// A trace with fewer rows says too little.
const LEAST_ROWS: usize = 100;

/// Why a trace cannot be fitted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FitError {
    /// Too few rows.
    #[error("a fit needs at least {needed} rows, the trace has {found}")]
    TooShort {
        /// Rows needed.
        needed: usize,
        /// Rows there are.
        found: usize,
    },
    /// All rows arrive at once, so there is no rate.
    #[error("a fit needs a trace that lasts, all rows of this one arrive at the same time")]
    NoDuration,
}

/// Makes the workload that describes a trace. The result depends on the rows only.
///
/// # Errors
/// The trace is too short in rows or in time.
pub fn fit(
    name: &str,
    rows: impl IntoIterator<Item = WorkloadRequest>,
    block_tokens: Tokens,
) -> Result<Workload, FitError> {
    let rows: Vec<WorkloadRequest> = rows.into_iter().collect();
    if rows.len() < LEAST_ROWS {
        return Err(FitError::TooShort {
            needed: LEAST_ROWS,
            found: rows.len(),
        });
    }
    let (first, last) = (rows[0].arrival, rows[rows.len() - 1].arrival);
    if first >= last {
        return Err(FitError::NoDuration);
    }
    let lineage = Lineage::new(&rows, block_tokens);
    let fit = Fit {
        lineage,
        first,
        last,
        block_tokens: block_tokens.0,
    };
    let grid_s = grid(&rows);
    // A grid of width g holds one g more than lies between its first and its last point.
    let duration_s = (last - first).as_secs_f64() + grid_s;
    let turns = fit.turns();
    let mut workload = Workload {
        name: name.to_owned(),
        description: format!(
            "fitted to {} requests in {} s",
            rows.len(),
            round(duration_s, 1.0)
        ),
        rate: round(rows.len() as f64 / duration_s, 1e-4),
        requests: rows.len() as u64,
        block_tokens: block_tokens.0,
        output_tokens: None,
        arrivals: Arrivals {
            process: Process::Poisson,
            grid_s,
            // An hour of a trace says nothing about a day.
            diurnal: None,
            surge: surge(&rows, grid_s),
            warmup_s: if turns.is_some() {
                round(duration_s, 1.0)
            } else {
                0.0
            },
        },
        templates: fit.templates(),
        start: Some(fit.start(turns.is_some())),
        turns,
        populations: Vec::new(),
    };
    if workload.turns.is_some() {
        calibrate(
            &mut workload,
            Stats::of(&rows, block_tokens).hit_ratio_blocks_ideal,
        );
    }
    Ok(workload)
}

struct Fit {
    lineage: Lineage,
    first: Nanos,
    last: Nanos,
    block_tokens: u64,
}

impl Fit {
    fn nodes(&self) -> &[Node] {
        &self.lineage.nodes
    }

    /// The share of the trace's time at which a row arrives, 0 to 1.
    fn place(&self, node: &Node) -> f64 {
        (node.arrival - self.first).as_secs_f64() / (self.last - self.first).as_secs_f64()
    }

    /// Starts that are likely to be starts.
    fn starts(&self) -> impl Iterator<Item = &Node> {
        self.nodes()
            .iter()
            .filter(|node| node.link.is_none() && self.place(node) >= 1.0 / 12.0)
    }

    /// Rows whose continuation, if any, is likely to be in the trace, and whose number of turns is right.
    fn settled(&self) -> impl Iterator<Item = &Node> {
        self.nodes()
            .iter()
            .filter(|node| (0.1..=2.0 / 3.0).contains(&self.place(node)))
    }

    /// Every row that continues another, with that other.
    fn links(&self) -> impl Iterator<Item = (&Node, Link, &Node)> {
        self.nodes().iter().filter_map(|node| {
            node.link
                .map(|link| (node, link, &self.nodes()[link.parent]))
        })
    }

    fn templates(&self) -> Vec<Template> {
        let found = self.lineage.templates.iter().map(|template| Template {
            blocks: template.blocks,
            // A template that only ever stands inside a longer one still needs a weight.
            weight: (template.starts as f64).max(0.001),
            extends: template.extends,
        });
        found.collect()
    }

    fn start(&self, has_turns: bool) -> Start {
        let mut inputs: Vec<f64> = self.starts().map(|node| node.input as f64).collect();
        if inputs.is_empty() {
            inputs = self.nodes().iter().map(|node| node.input as f64).collect();
        }
        let outputs = self
            .nodes()
            .iter()
            .filter(|node| node.link.is_none())
            .map(|node| node.output as f64);
        Start {
            classes: if has_turns {
                self.classes(&inputs)
            } else {
                Vec::new()
            },
            output: table(outputs.collect(), POINTS, 1.0, 1.0),
            input: table(inputs, START_POINTS, 1.0, 1.0),
        }
    }

    fn classes(&self, inputs: &[f64]) -> Vec<StartClass> {
        let mut sorted = inputs.to_vec();
        sorted.sort_by(f64::total_cmp);
        // A prompt with no full block behind the template cannot be seen to continue: a class of its own.
        let template = self
            .lineage
            .templates
            .iter()
            .map(|template| template.blocks)
            .min()
            .unwrap_or(0);
        let mut bounds = vec![(u64::from(template) + 1) * self.block_tokens];
        bounds.extend(CLASSES.map(|share| sorted[(share * sorted.len() as f64) as usize] as u64));
        bounds.push(i64::MAX as u64);
        bounds.sort_unstable();
        bounds.dedup();
        let mut low = 0;
        let classes = bounds.into_iter().map(|below| {
            let within = |node: &Node| (low..below).contains(&node.input) && node.link.is_none();
            let class = StartClass {
                below,
                continues: share(self.settled().filter(|node| within(node)), 0.0, 0.0),
                next: self.next(|parent| within(parent)),
            };
            low = below;
            class
        });
        classes.collect()
    }

    /// What comes behind the rows that `parent` picks.
    fn next(&self, parent: impl Fn(&Node) -> bool) -> Next {
        let mut counts = [0_u32; 4];
        for (_, link, before) in self.links() {
            if parent(before) {
                counts[link.kind as usize] += 1;
            }
        }
        let total: u32 = counts.iter().sum();
        if total == 0 {
            return Next {
                reply: 1.0,
                ..Next::default()
            };
        }
        Next::of(counts.map(|count| round(f64::from(count) / f64::from(total), 1e-4)))
    }

    fn turns(&self) -> Option<Turns> {
        self.links().next()?;
        Some(Turns {
            max_input: self
                .nodes()
                .iter()
                .map(|node| node.input)
                .max()
                .unwrap_or(1),
            likeness: self.likeness(),
            reply: self.turn(Kind::Reply),
            attach: self.turn(Kind::Attach),
            rewrite: self.turn(Kind::Rewrite),
            retry: self.turn(Kind::Retry),
            kept: self.kept(),
            paces: self.paces(),
        })
    }

    fn turn(&self, kind: Kind) -> Turn {
        let links = || self.links().filter(move |(_, link, _)| link.kind == kind);
        let gaps = links().map(|(node, _, before)| self.weighted_gap(node, before));
        let tokens = links().map(|(node, link, before)| self.tokens(node, link, before));
        let outputs = links().map(|(node, ..)| node.output as f64);
        let of_kind = |node: &&Node| node.link.is_some_and(|link| link.kind == kind);
        let all = share(self.settled().filter(of_kind), 0.0, 0.0);
        let continues = (1..=TURNS).map(|turn| {
            let number = |node: &&Node| {
                node.turn as usize == turn || (turn == TURNS && node.turn as usize > turn)
            };
            share(self.settled().filter(of_kind).filter(number), PRIOR, all)
        });
        Turn {
            gap_s: Table::fit_weighted(gaps.collect(), POINTS, 0.1)
                .unwrap_or_else(|| constant(0.0)),
            tokens: table(tokens.collect(), POINTS, 1.0, 1.0),
            output: table(outputs.collect(), POINTS, 1.0, 1.0),
            continues: continues.collect(),
            next: self.next(|before| before.link.is_some_and(|link| link.kind == kind)),
        }
    }

    /// The pause before `node`, weighted against the window: of a long pause, fewer lie wholly within the trace.
    fn weighted_gap(&self, node: &Node, before: &Node) -> (f64, f64) {
        let gap = (node.arrival - before.arrival).as_secs_f64();
        let visible = 1.0 - gap / (self.last - self.first).as_secs_f64();
        (gap, 1.0 / visible.max(0.1))
    }

    fn paces(&self) -> Vec<Pace> {
        let gaps = self.links().map(|(node, link, before)| {
            let (seconds, weight) = self.weighted_gap(node, before);
            Gap {
                input: before.input,
                kind: link.kind,
                log_seconds: libm::log(seconds.max(1.0)),
                weight,
            }
        });
        paces(&gaps.collect::<Vec<_>>())
    }

    /// What a turn brings, as its kind counts it.
    fn tokens(&self, node: &Node, link: Link, before: &Node) -> f64 {
        match link.kind {
            Kind::Reply | Kind::Attach => brings(node.input, before.input, before.output) as f64,
            Kind::Rewrite => node
                .input
                .saturating_sub(link.shared * self.block_tokens)
                .max(1) as f64,
            Kind::Retry => 0.0,
        }
    }

    fn kept(&self) -> Kept {
        let mut shares = Vec::new();
        let mut growths = Vec::new();
        for (_, link, before) in self
            .links()
            .filter(|(_, link, _)| link.kind == Kind::Rewrite)
        {
            match before.link {
                Some(earlier) if earlier.kind == Kind::Rewrite => {
                    growths.push(link.shared as f64 - earlier.shared as f64);
                }
                _ => shares.push(link.shared as f64 / (before.input / self.block_tokens) as f64),
            }
        }
        Kept {
            share: table(shares, POINTS, 1e-3, 0.5),
            growth: table(growths, POINTS, 1.0, 0.0),
        }
    }

    fn likeness(&self) -> Likeness {
        let mut outputs = Vec::new();
        let mut gaps = Vec::new();
        let mut tokens = Vec::new();
        for (node, link, before) in self.links() {
            let Some(earlier) = before.link else { continue };
            let grand = &self.nodes()[earlier.parent];
            outputs.push((node.output as f64, before.output as f64));
            gaps.push((
                (node.arrival - before.arrival).as_secs_f64(),
                (before.arrival - grand.arrival).as_secs_f64(),
            ));
            if link.kind == earlier.kind {
                tokens.push((
                    self.tokens(node, link, before),
                    self.tokens(before, earlier, grand),
                ));
            }
        }
        Likeness {
            output: likeness(&outputs),
            gap: likeness(&gaps),
            tokens: likeness(&tokens),
        }
    }
}
