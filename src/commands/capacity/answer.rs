//! What a search for capacity found, as a table and as JSON.

use crate::render;
use conductor_experiments::capacity::{Found, Goal};
use conductor_experiments::confidence::Rule;
use conductor_experiments::prices::{self, Cost, Served};
use conductor_experiments::search::Seek;
use conductor_experiments::statistics::Estimate;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Answers for several clusters.
pub(super) struct Answers<'a> {
    pub(super) goal: &'a Goal,
    pub(super) found: &'a [Found],
    pub(super) limits: Vec<String>,
    pub(super) rule: Rule,
    pub(super) tolerance: f64,
    pub(super) is_trace: bool,
}

impl Answers<'_> {
    /// What is sought, in a word or a key, and from which side.
    fn sought(&self) -> (String, Seek) {
        match self.goal {
            Goal::Line { knob, seek, .. } => match knob.to_string().as_str() {
                "workload.speed" => ("speed".to_string(), *seek),
                other => (other.to_string(), *seek),
            },
            Goal::FewestNodes { .. } => ("nodes".to_string(), Seek::Smallest),
            Goal::BestSplit { .. } => ("speed".to_string(), Seek::Largest),
        }
    }

    fn is_whole(&self) -> bool {
        match self.goal {
            Goal::Line { line, .. } => line.whole,
            Goal::FewestNodes { .. } => true,
            Goal::BestSplit { .. } => false,
        }
    }

    fn costs(&self) -> Vec<Option<Cost>> {
        let cost = |found: &Found| {
            found.value?;
            let served: Vec<Served> = found.runs.iter().map(|ran| ran.served).collect();
            let price = found.job.cluster.price.as_ref()?;
            Some(Cost::of(price, &served))
        };
        self.found.iter().map(cost).collect()
    }

    pub(super) fn table(&self) -> String {
        let (sought, seek) = self.sought();
        let costs = self.costs();
        let cheapest = prices::cheapest(&costs);
        let priced = costs.iter().any(Option::is_some);
        let mut header = vec![
            "cluster",
            "machines",
            &sought,
            "requests/s",
            "a machine",
            "fails at",
        ];
        if self.rule.seeds > 1 {
            header.extend(["seeds\nthat hold", "refuted at"]);
        }
        header.push("runs");
        if priced {
            header.extend(["cost of 10^6\ntokens", "\nwithin limits"]);
        }
        let rows = self.found.iter().enumerate().map(|(place, found)| {
            let number = |value: Option<f64>| match value {
                Some(value) if self.is_whole() => format!("{value:.0}"),
                Some(value) => format!("{value:.3}"),
                None => "-".to_string(),
            };
            let rps = rps(found);
            let mut row = vec![
                found.job.cluster.name.clone(),
                machines(found).to_string(),
                number(found.value),
                match rps.ci95 {
                    Some(ci) => format!("{:.3} ± {ci:.3}", rps.mean),
                    None => format!("{:.3}", rps.mean),
                },
                format!("{:.4}", rps.mean / machines(found).max(1) as f64),
                number(found.fails),
            ];
            if self.rule.seeds > 1 {
                row.push(format!("{} of {}", holding(found), self.rule.seeds));
                row.push(number(found.refuted));
            }
            let runs: usize = found.tries.iter().map(|one| one.seeds.len()).sum();
            row.push(runs.to_string());
            if priced {
                row.extend(cells(costs[place].as_ref(), cheapest == Some(place)));
            }
            row
        });
        let mut text = render::table(&header, rows).to_string();
        for found in self.found.iter().filter(|found| !found.splits.is_empty()) {
            let _ = write!(text, "\n\n{}", splits(found));
        }
        let asked = match (seek, sought.as_str()) {
            (_, "nodes") => "fewest nodes".to_string(),
            (Seek::Largest, sought) => format!("largest {sought}"),
            (Seek::Smallest, sought) => format!("smallest {sought}"),
        };
        let first = &self.found[0].job;
        let exact = match self.is_whole() {
            true => String::new(),
            false => format!("; to {:.1} %", self.tolerance * 100.0),
        };
        let _ = write!(
            text,
            "\n{}, policy {}: {} at which {}{exact}.\n{}",
            first.workload.name,
            first.policy.name,
            asked,
            self.limits.join(", "),
            self.confidence()
        );
        for (found, fresh) in self
            .found
            .iter()
            .filter_map(|f| Some((f, f.fresh.as_ref()?)))
        {
            let _ = write!(
                text,
                "\n{} on {} fresh seeds: the limits hold on {}, {}.",
                found.job.cluster.name,
                fresh.seeds.len(),
                fresh.holding,
                match (fresh.holds, self.rule.confidence) {
                    (true, Some(confidence)) => format!(
                        "so that they do for at least {:.0} % of workloads like these with confidence {:.1} %",
                        self.rule.share * 100.0,
                        confidence * 100.0
                    ),
                    _ => "which does not confirm the choice: use more seeds, or a cluster that is a little larger"
                        .to_string(),
                }
            );
        }
        if self.found.iter().any(|found| found.refuted.is_some()) {
            text.push_str("\nWhat is refuted holds for fewer of them, with confidence 95 %; between the two the seeds cannot say.");
        }
        if priced {
            text.push_str("\nCosts are those of the cluster files' prices, over the span of the arrivals; prompt and answer tokens.");
        }
        text
    }

    /// How sure the answer is.
    fn confidence(&self) -> String {
        let Rule {
            seeds,
            share,
            needed,
            confidence,
        } = self.rule;
        let chosen = matches!(self.goal, Goal::FewestNodes { .. } | Goal::BestSplit { .. });
        match confidence {
            Some(_) if chosen => format!(
                "Each try holds if it does on {needed} of {seeds} seeds; what was chosen among several is judged by fresh ones."
            ),
            Some(confidence) => format!(
                "Confidence {:.1} %: at the answer the limits hold for at least {:.0} % of workloads like these, as they do on at \
                 least {needed} of {seeds} seeds.",
                confidence * 100.0,
                share * 100.0
            ),
            None if self.is_trace => {
                "One trace: no confidence can be stated for others like it.".to_string()
            }
            None => "One seed: no confidence is stated; see --seeds.".to_string(),
        }
    }

    pub(super) fn json(&self) -> Value {
        let (sought, seek) = self.sought();
        let costs = self.costs();
        let cheapest = prices::cheapest(&costs);
        let capacity = self
            .found
            .iter()
            .zip(&costs)
            .enumerate()
            .map(|(place, (found, cost))| {
                let rps = rps(found);
                let mut answer = json!({
                    "cluster": found.job.cluster.name,
                    "policy": found.job.policy.name,
                    "machines": machines(found),
                    "value": found.value,
                    "fails": found.fails,
                    "refuted": found.refuted,
                    "holding": holding(found),
                    "requests_per_s": { "mean": rps.mean, "ci95": rps.ci95 },
                    "cost": cost,
                    "cheapest": cheapest == Some(place),
                    "tries": found.tries,
                });
                if !found.splits.is_empty() {
                    answer["splits"] = json!(found.splits);
                }
                if let Some(fresh) = &found.fresh {
                    answer["fresh"] = json!(fresh);
                }
                answer
            });
        let side = match seek {
            Seek::Largest => "largest",
            Seek::Smallest => "smallest",
        };
        json!({
            "limits": self.limits,
            "sought": sought,
            "seek": side,
            "confidence": self.rule,
            "statement": self.confidence(),
            "capacity": capacity.collect::<Vec<_>>(),
        })
    }
}

/// What each split carried.
fn splits(found: &Found) -> String {
    let number =
        |value: Option<f64>| value.map_or_else(|| "-".to_string(), |value| format!("{value:.3}"));
    let rows = found.splits.iter().map(|split| {
        vec![
            format!("{}p{}d", split.prefill, split.decode),
            number(split.holds),
            number(split.fails),
        ]
    });
    render::table(&["split", "held at", "failed at"], rows).to_string()
}

fn cells(cost: Option<&Cost>, cheapest: bool) -> [String; 2] {
    let Some(cost) = cost else {
        return ["-".to_string(), "-".to_string()];
    };
    let said = |value: Option<f64>| match value {
        Some(value) => format!("{value:.4} {}", cost.currency)
            .trim_end()
            .to_string(),
        None => "-".to_string(),
    };
    let mark = if cheapest { " (cheapest)" } else { "" };
    [
        said(cost.per_million_tokens),
        format!("{}{mark}", said(cost.per_million_tokens_within)),
    ]
}

/// Requests a second at the answer; 0 if nothing holds.
fn rps(found: &Found) -> Estimate {
    let rps = |ran: &conductor_experiments::capacity::Ran| match found.value {
        Some(_) => ran.served.rps(),
        None => 0.0,
    };
    Estimate::of(&found.runs.iter().map(rps).collect::<Vec<_>>())
}

/// Seeds that hold at the answer.
fn holding(found: &Found) -> usize {
    let at = |one: &&conductor_experiments::capacity::Judged| {
        one.holds && one.cluster == found.job.cluster.name && Some(one.value) == found.value
    };
    found
        .tries
        .iter()
        .rev()
        .find(at)
        .map_or(0, |one| one.holding)
}

/// Machines of the answer, of all roles.
fn machines(found: &Found) -> usize {
    let report = &found.runs[0].report;
    report.nodes_prefill + report.nodes_decode + report.nodes_coupled
}
