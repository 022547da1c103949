//! One session: a walk from turn to turn, each of which turns the prompt before into the next one.
//!
//! Not here: when sessions start, and the numbers of blocks; a block that nobody has seen yet is [`FRESH`] and
//! gets its number when the request is handed out.

use super::population::Population;
use super::spec::{Kind, Turns, Workload};
use super::strata::Point;
use super::stream::{Ranks, Stream};
use conductor_core::units::Nanos;

/// A block without a number.
pub(super) const FRESH: u64 = u64::MAX;

/// What is live of a session: its latest prompt, and where its random streams stand.
#[derive(Debug)]
pub(super) struct Session {
    structure: Stream,
    /// The session goes on while this is below [`Self::survival`]: one number decides how many turns it has.
    persistence: f64,
    /// Probability of having got this far.
    survival: f64,
    inputs: Ranks,
    outputs: Ranks,
    gaps: Ranks,
    /// Kind of the latest turn; `None` for the first.
    kind: Option<Kind>,
    turn: u32,
    /// The place of the template in the specification.
    pub(super) template: Option<usize>,
    template_blocks: u32,
    /// Prompt length in tokens.
    pub(super) input: u64,
    /// Answer length in tokens.
    pub(super) output: u64,
    /// Blocks that the latest rewrite kept.
    kept: u64,
    /// The prompt's blocks; the template's are [`FRESH`] too, until the first request is handed out.
    pub(super) blocks: Vec<u64>,
}

/// What holds for the sessions of every population.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Tokens in one block.
    block_tokens: u64,
    /// Where present, every answer has this length in tokens.
    output_tokens: Option<u64>,
}

impl Workload {
    pub(super) const fn rules(&self) -> Rules {
        Rules {
            block_tokens: self.block_tokens,
            output_tokens: self.output_tokens,
        }
    }
}

impl Session {
    /// The first turn of session number `number`, which stands at `point` in the mix.
    pub(super) fn start(
        population: &Population,
        rules: Rules,
        seed: u64,
        number: u64,
        point: Point,
    ) -> Self {
        let mut structure = Stream::new(seed, "structure", number);
        let template = (!population.templates.is_empty())
            .then(|| structure.choose(population.templates.iter().map(|template| template.weight)));
        let template_blocks = template.map_or(0, |place| population.templates[place].blocks);
        let mut session = Self {
            structure,
            input: whole(population.start.input.at(point.length)),
            persistence: point.persistence,
            survival: 1.0,
            inputs: Ranks::new(Stream::new(seed, "inputs", number)),
            outputs: Ranks::new(Stream::new(seed, "outputs", number)),
            gaps: Ranks::new(Stream::new(seed, "gaps", number)),
            kind: None,
            turn: 0,
            template,
            template_blocks,
            output: 0,
            kept: 0,
            blocks: Vec::new(),
        };
        session.draw_output(population, rules);
        session.share(0, rules.block_tokens);
        session
    }

    /// Goes on to the next turn and says how long after this one it comes; `None` at the session's end.
    pub(super) fn advance(&mut self, population: &Population, rules: Rules) -> Option<Nanos> {
        let turns = population.turns.as_ref()?;
        let (continues, next) = match self.kind {
            None => {
                let class = population.start.class(self.input)?;
                (class.continues, class.next)
            }
            Some(kind) => (
                turns.of(kind).continues_after(self.turn),
                turns.of(kind).next,
            ),
        };
        self.survival *= continues;
        let goes_on = self.persistence < self.survival;
        let pace = turns.pace(self.input);
        let kind = Kind::ALL[self.structure.choose(next.weights().into_iter())];
        if !goes_on || !self.extend(kind, turns, rules.block_tokens) {
            return None;
        }
        self.turn += 1;
        self.draw_output(population, rules);
        let gap = turns.of(kind).gap_s.at(self.gaps.next(turns.likeness.gap));
        Some(Nanos::from_secs_f64(gap * pace).unwrap_or(Nanos::ZERO))
    }

    /// Makes the prompt of the next turn; false where it would become too long.
    fn extend(&mut self, kind: Kind, turns: &Turns, block_tokens: u64) -> bool {
        let full = self.input / block_tokens;
        let rank = self.inputs.next(turns.likeness.tokens);
        let tokens = turns.of(kind).tokens.at(rank);
        // What a rewrite keeps: at least one block behind the template, or it would start a session anew; at
        // most all full blocks but one, or it would be a reply.
        let least = u64::from(self.template_blocks) + 1;
        let (shared, input) = match kind {
            Kind::Retry => (self.blocks.len() as u64, self.input),
            Kind::Rewrite if full > least => {
                let kept = match self.kind {
                    Some(Kind::Rewrite) => {
                        self.kept as f64 + turns.kept.growth.at(self.structure.uniform())
                    }
                    _ => full as f64 * turns.kept.share.at(self.structure.uniform()),
                };
                let kept = (libm::round(kept).max(0.0) as u64).clamp(least, full - 1);
                self.kept = kept;
                (kept, kept * block_tokens + whole(tokens))
            }
            _ => {
                let input = (self.input + self.output) as f64 + tokens;
                (full, whole(input).max(full * block_tokens + 1))
            }
        };
        if input > turns.max_input {
            return false;
        }
        self.kind = Some(kind);
        self.input = input;
        self.share(shared, block_tokens);
        true
    }

    /// Keeps the leading `shared` blocks; all others of the prompt are new.
    fn share(&mut self, shared: u64, block_tokens: u64) {
        self.blocks.truncate(shared as usize);
        self.blocks
            .resize(self.input.div_ceil(block_tokens) as usize, FRESH);
    }

    fn draw_output(&mut self, population: &Population, rules: Rules) {
        let (table, likeness) = match (&population.turns, self.kind) {
            (Some(turns), Some(kind)) => (&turns.of(kind).output, turns.likeness.output),
            _ => (&population.start.output, 0.0),
        };
        // Drawn even where it is overridden, so that the override shifts nothing else.
        let drawn = whole(table.at(self.outputs.next(likeness)));
        self.output = rules.output_tokens.unwrap_or(drawn);
    }
}

/// A length in whole tokens, at least one.
fn whole(tokens: f64) -> u64 {
    libm::round(tokens).max(1.0) as u64
}
