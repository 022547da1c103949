//! Mixtures: several kinds of traffic, each with templates and turns of its own, in one stream of requests.
//!
//! Why: a platform serves chats beside programs that call tools, and neither looks like the mean of both. A
//! workload without `populations` is one population, that of its own `templates`, `start` and `turns`, so the
//! generator knows populations only.
//!
//! Not here: drawing from a population (`session`), or deciding whose session starts next (`run`).

use super::spec::{Kind, Start, Template, Turns, Workload};
use serde::{Deserialize, Serialize};

/// One kind of traffic within a mixture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Population {
    /// What it is, for people.
    pub name: String,
    /// How many of the requests, all turns together, are its own, in relation to the other populations.
    pub weight: f64,
    /// Shared beginnings of its prompts; a session picks one by weight. Populations share none with each other.
    #[serde(default)]
    pub templates: Vec<Template>,
    /// First turns.
    pub start: Start,
    /// Further turns; absent where every session is one request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns: Option<Turns>,
}

impl Workload {
    /// The populations, or the only one.
    pub(super) fn mixture(&self) -> Vec<Population> {
        match &self.start {
            Some(start) => vec![Population {
                name: self.name.clone(),
                weight: 1.0,
                templates: self.templates.clone(),
                start: start.clone(),
                turns: self.turns.clone(),
            }],
            None => self.populations.clone(),
        }
    }

    /// Mean number of turns of a session; the bound on the prompt's length is left out of account.
    #[must_use]
    pub fn turns_per_session(&self) -> f64 {
        turns_per_session(&self.mixture())
    }
}

/// Mean number of turns of the sessions of a mixture, which has at least one population.
pub(super) fn turns_per_session(mixture: &[Population]) -> f64 {
    if let [only] = mixture {
        return only.turns_per_session();
    }
    let requests: f64 = mixture.iter().map(|population| population.weight).sum();
    requests / mixture.iter().map(Population::starts).sum::<f64>()
}

impl Population {
    /// How many of the sessions are its own, on the scale of the weights.
    pub(super) fn starts(&self) -> f64 {
        self.weight / self.turns_per_session()
    }

    fn turns_per_session(&self) -> f64 {
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
