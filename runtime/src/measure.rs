//! Times an engine: what `conductord calibrate` writes and `conductor calibrate` fits.
//!
//! The engine is driven as a node drives it, through the same steps, alone: prompts by length and cached prefix, decode
//! steps by batch and context, both in one pass. Every setting is timed several times, in rounds, so that a disturbance
//! does not fall on one setting alone; the fit takes the median.
//!
//! [`beside`] keeps other engines busy meanwhile, as the nodes of one machine do to each other; [`moves`] times KV on
//! its way between nodes.
//!
//! Not here: fitting (one place, in the lab), queues.

pub mod beside;
pub mod moves;

use conductor_core::ids::{RequestId, Ticket};
use conductor_engine::kv::BlockId;
use conductor_engine::sampling::Sampling;
use conductor_engine::{Engine, EngineError, Phase, Piece, Step};
use std::fmt::Write;
use std::time::Instant;

/// The columns of all rows, as `conductor calibrate` reads them.
pub const HEADER: &str = "kind,prompt,cached,batch,context,chunk,chunk_cached,bytes,seconds\n";

/// What is timed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Prompt lengths.
    pub prompts: Vec<u32>,
    /// Cached parts of prompts, in hundredths.
    pub cached: Vec<u32>,
    /// Sequences of a decode step.
    pub batches: Vec<u32>,
    /// KV tokens of each.
    pub contexts: Vec<u32>,
    /// Times each setting is timed.
    pub rounds: u32,
}

impl Plan {
    /// Settings up to `longest` tokens of a sequence and `batch` sequences, doubling.
    #[must_use]
    pub fn up_to(longest: u32, batch: u32, rounds: u32) -> Self {
        let doubling = |from: u32, to: u32| {
            let mut values = Vec::new();
            let mut value = from.max(1);
            while value < to {
                values.push(value);
                value = value.saturating_mul(2);
            }
            values.push(to.max(1));
            values
        };
        Self {
            prompts: doubling(longest / 32, longest),
            cached: vec![0, 50, 90],
            batches: doubling(1, batch),
            contexts: doubling(longest / 16, longest),
            rounds,
        }
    }

    /// Settings that are timed, not counting rounds.
    #[must_use]
    pub fn settings(&self) -> usize {
        self.prompts.len() * self.cached.len() + self.batches.len() * (self.contexts.len() + 1)
    }
}

/// One setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setting {
    Prefill {
        prompt: u32,
        cached: u32,
    },
    Decode {
        batch: u32,
        context: u32,
    },
    Mixed {
        chunk: u32,
        batch: u32,
        context: u32,
    },
}

impl Setting {
    fn row(self) -> String {
        match self {
            Self::Prefill { prompt, cached } => format!("prefill,{prompt},{cached},,,,,"),
            Self::Decode { batch, context } => format!("decode,,,{batch},{context},,,"),
            Self::Mixed {
                chunk,
                batch,
                context,
            } => format!("mixed,,,{batch},{context},{chunk},0,"),
        }
    }
}

/// Times all settings that the engine's pool has room for; rows of CSV below [`HEADER`]. `progress` hears of each
/// setting that is done, and of how many there are.
///
/// # Errors
/// If a step fails.
pub fn run(
    engine: &mut dyn Engine,
    plan: &Plan,
    mut progress: impl FnMut(usize, usize),
) -> Result<String, EngineError> {
    let mut settings = Vec::new();
    for &prompt in &plan.prompts {
        for &part in &plan.cached {
            let cached = (u64::from(prompt) * u64::from(part) / 100) as u32;
            settings.push(Setting::Prefill { prompt, cached });
        }
    }
    for &batch in &plan.batches {
        for &context in &plan.contexts {
            settings.push(Setting::Decode { batch, context });
        }
        if let (Some(&chunk), Some(&context)) = (plan.prompts.first(), plan.contexts.first()) {
            settings.push(Setting::Mixed {
                chunk,
                batch,
                context,
            });
        }
    }
    settings.retain(|&setting| step_of(engine, setting).is_some());
    let mut rows = String::new();
    let all = settings.len() * plan.rounds as usize;
    // Once for nothing: threads and caches are cold at first.
    for &setting in &settings {
        time(engine, setting)?;
    }
    for round in 0..plan.rounds as usize {
        for (i, &setting) in settings.iter().enumerate() {
            let seconds = time(engine, setting)?;
            let _ = writeln!(rows, "{},{seconds:.9}", setting.row());
            progress(round * settings.len() + i + 1, all);
        }
    }
    Ok(rows)
}

fn time(engine: &mut dyn Engine, setting: Setting) -> Result<f64, EngineError> {
    let Some(step) = step_of(engine, setting) else {
        return Ok(0.0);
    };
    let started = Instant::now();
    engine.run(&step, &mut |_| {})?;
    Ok(started.elapsed().as_secs_f64())
}

/// The step of a setting; none if there are not blocks enough, or positions.
fn step_of(engine: &dyn Engine, setting: Setting) -> Option<Step> {
    let mut blocks = 0..engine.limits().blocks as u32;
    let mut pieces = Vec::new();
    let mut piece = |phase: Phase, start: u32, end: u32| {
        let needed = engine.shape().blocks_for(end as usize);
        let blocks: Vec<BlockId> = blocks.by_ref().take(needed).map(BlockId).collect();
        if blocks.len() < needed || end as usize > engine.limits().positions {
            return None;
        }
        let vocabulary = engine.limits().vocabulary as u32;
        let request = RequestId(pieces.len() as u64);
        pieces.push(Piece {
            ticket: Ticket {
                request,
                attempt: 0,
            },
            phase,
            start,
            tokens: (start..end).map(|at| (at * 7 + 1) % vocabulary).collect(),
            stored: start,
            blocks,
            sample: Some(Sampling::Greedy),
        });
        Some(())
    };
    match setting {
        Setting::Prefill { prompt, cached } => piece(Phase::Prefill, cached, prompt)?,
        Setting::Decode { batch, context } => {
            for _ in 0..batch {
                piece(Phase::Decode, context, context + 1)?;
            }
        }
        Setting::Mixed {
            chunk,
            batch,
            context,
        } => {
            for _ in 0..batch {
                piece(Phase::Decode, context, context + 1)?;
            }
            piece(Phase::Prefill, 0, chunk)?;
        }
    }
    Some(Step { pieces })
}
