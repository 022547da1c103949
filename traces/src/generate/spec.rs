//! A workload as a person writes it: TOML in, checked; unknown keys are errors with their line.
//!
//! The model is one of conversations. A *session* starts with a prompt that begins with a shared template; while
//! it *continues*, each further *turn* is of one [`Kind`], comes after a pause, and shares a known part of the
//! prompt before it. Every distribution is a [`Table`]. `fit` makes such a specification from any trace. Traffic of
//! several kinds is a mixture of [`Population`]s.
//!
//! Not here: reading it (`load`), its ranges (`check`), drawing from it (`session`, `run`).

use super::diurnal::Diurnal;
use super::population::Population;
use super::table::Table;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a workload is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WorkloadError {
    /// The text is no TOML, or a key is unknown, missing or of the wrong type.
    #[error("line {line}: {message}")]
    Toml {
        /// Which line, from 1.
        line: usize,
        /// What is wrong, with the key.
        message: String,
    },
    /// A value is out of its range.
    #[error("`{key}`: expected {expected}, found {found}")]
    Value {
        /// The key, with its tables.
        key: String,
        /// The range.
        expected: &'static str,
        /// The value.
        found: String,
    },
    /// No built-in has this name.
    #[error("no built-in workload `{name}`: expected one of {known}")]
    UnknownName {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
}

/// A description from which any number of requests can be generated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// What results call it.
    pub name: String,
    /// What it is, for people.
    #[serde(default)]
    pub description: String,
    /// Requests per second, all turns of all sessions together.
    pub rate: f64,
    /// How many requests are generated where nobody says.
    pub requests: u64,
    /// Tokens in one block.
    pub block_tokens: u64,
    /// Where present, every answer has this length in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    /// When sessions start and how stamps are rounded.
    pub arrivals: Arrivals,
    /// Shared beginnings of prompts; a session picks one by weight. None where prompts share nothing.
    #[serde(default)]
    pub templates: Vec<Template>,
    /// First turns; absent where there are populations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Start>,
    /// Further turns; absent where every session is one request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns: Option<Turns>,
    /// Kinds of traffic, each with its own `templates`, `start` and `turns`, in place of those above.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub populations: Vec<Population>,
}

/// When sessions start.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arrivals {
    /// The process of session starts.
    pub process: Process,
    /// Stamps are rounded down to multiples of this many seconds; 0 leaves them alone.
    #[serde(default)]
    pub grid_s: f64,
    /// Sessions start this many seconds before the first request that is handed out, so that the mix of first
    /// and later turns is steady from the start.
    #[serde(default)]
    pub warmup_s: f64,
    /// How the rate at which sessions start goes up and down over a day; absent where it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diurnal: Option<Diurnal>,
    /// Swings of the whole platform's rate; absent where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surge: Option<Surge>,
}

/// Swings of the rate at which everything comes: a first-order process around 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Surge {
    /// Its standard deviation, as a share of the rate.
    pub deviation: f64,
    /// The time in which a swing falls to 1/e, in seconds.
    pub persistence_s: f64,
}

/// A process of session starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Process {
    /// Independent starts.
    Poisson,
    /// Equal distances.
    Deterministic,
}

/// A beginning that prompts share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// Its length in full blocks, those of the template it extends included.
    pub blocks: u32,
    /// How often it is picked, in relation to the others.
    pub weight: f64,
    /// The place of the (earlier) template with which it begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extends: Option<usize>,
}

/// First turns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// Prompt lengths in tokens.
    pub input: Table,
    /// Answer lengths in tokens.
    pub output: Table,
    /// How sessions go on, by length of the first prompt, in ascending order; the last reaches all lengths. Empty
    /// where `turns` is absent.
    #[serde(default)]
    pub classes: Vec<StartClass>,
}

/// How sessions of some first lengths go on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartClass {
    /// First prompts shorter than this many tokens.
    pub below: u64,
    /// Probability that there is a second turn.
    pub continues: f64,
    /// What the second turn is.
    pub next: Next,
}

/// How a turn relates to the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The prompt and answer before, and a short message.
    Reply,
    /// The same with much text: a document, a page, the result of a tool.
    Attach,
    /// A part of the prompt before, and new text in place of the rest: results of a search that are not kept,
    /// or an edited message.
    Rewrite,
    /// The same prompt again.
    Retry,
}

/// Weights of the kinds of a next turn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Next {
    /// Of [`Kind::Reply`].
    pub reply: f64,
    /// Of [`Kind::Attach`].
    pub attach: f64,
    /// Of [`Kind::Rewrite`].
    pub rewrite: f64,
    /// Of [`Kind::Retry`].
    pub retry: f64,
}

/// Further turns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turns {
    /// A session whose prompt would become longer than this many tokens ends.
    pub max_input: u64,
    /// How alike neighbouring turns of a session are in rank.
    pub likeness: Likeness,
    /// Turns of [`Kind::Reply`]; `tokens` is what they add to prompt and answer before.
    pub reply: Turn,
    /// Turns of [`Kind::Attach`]; `tokens` is what they add to prompt and answer before.
    pub attach: Turn,
    /// Turns of [`Kind::Rewrite`]; `tokens` is the length behind the kept blocks.
    pub rewrite: Turn,
    /// Turns of [`Kind::Retry`]; `tokens` is not used.
    pub retry: Turn,
    /// What a rewrite keeps.
    pub kept: Kept,
    /// How pauses depend on the length of the prompt before, in ascending order; the last reaches all lengths.
    /// Empty where they do not.
    #[serde(default)]
    pub paces: Vec<Pace>,
}

/// Pauses behind prompts of some lengths.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pace {
    /// Prompts shorter than this many tokens.
    pub below: u64,
    /// Pauses are so many times those of their kind.
    pub factor: f64,
}

/// How alike neighbouring turns of one session are: correlation of normal scores, from 0 to below 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Likeness {
    /// Of answer lengths.
    pub output: f64,
    /// Of pauses.
    pub gap: f64,
    /// Of what a turn adds.
    pub tokens: f64,
}

/// The turns of one kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    /// Seconds since the turn before.
    pub gap_s: Table,
    /// Tokens that the turn brings; negative where the chat template trims.
    pub tokens: Table,
    /// Answer lengths in tokens.
    pub output: Table,
    /// Probability that there is a further turn: behind a second turn, a third, …; the last stands for all later.
    pub continues: Vec<f64>,
    /// What the further turn is.
    pub next: Next,
}

/// What a rewrite keeps of the prompt before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// The first rewrite in a row: share of the full blocks of the prompt before.
    pub share: Table,
    /// Further ones: how many blocks more than the rewrite before kept.
    pub growth: Table,
}

impl Kind {
    /// Every kind, in the order of [`Next`]'s fields.
    pub const ALL: [Self; 4] = [Self::Reply, Self::Attach, Self::Rewrite, Self::Retry];
}

impl Next {
    /// The weights in the order of [`Kind::ALL`].
    #[must_use]
    pub const fn weights(&self) -> [f64; 4] {
        [self.reply, self.attach, self.rewrite, self.retry]
    }

    pub(super) const fn of(weights: [f64; 4]) -> Self {
        let [reply, attach, rewrite, retry] = weights;
        Self {
            reply,
            attach,
            rewrite,
            retry,
        }
    }
}

impl Turns {
    /// The turns of one kind.
    #[must_use]
    pub const fn of(&self, kind: Kind) -> &Turn {
        match kind {
            Kind::Reply => &self.reply,
            Kind::Attach => &self.attach,
            Kind::Rewrite => &self.rewrite,
            Kind::Retry => &self.retry,
        }
    }
}

impl Start {
    /// How a session with a first prompt of `input` tokens goes on.
    pub(super) fn class(&self, input: u64) -> Option<&StartClass> {
        self.classes
            .iter()
            .find(|class| input < class.below)
            .or_else(|| self.classes.last())
    }
}

impl Turns {
    /// How much longer pauses are behind a prompt of `input` tokens than their kind says.
    pub(super) fn pace(&self, input: u64) -> f64 {
        let pace = self
            .paces
            .iter()
            .find(|pace| input < pace.below)
            .or_else(|| self.paces.last());
        pace.map_or(1.0, |pace| pace.factor)
    }
}

impl Turn {
    /// Probability of a further turn behind turn number `turn` (the first turn of a session is 0).
    pub(super) fn continues_after(&self, turn: u32) -> f64 {
        let place = (turn.saturating_sub(1) as usize).min(self.continues.len() - 1);
        self.continues[place]
    }
}
