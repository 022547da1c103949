//! The one number that is tuned: a common factor on every probability of a further turn.
//!
//! Counting turns in a window is noisy, and a percent more turns is several percent more hits. So the factor is
//! set such that generated traces, as long as the real one and begun as cold, have on average the real one's
//! ideal hit ratio in blocks. Nothing else is tuned.

use super::run::GenerateOptions;
use super::spec::{Start, Turns, Workload};
use super::table::round;
use crate::stats::StatsBuilder;
use conductor_core::units::Tokens;

/// Seeds of the calibration, apart from those that people use.
const FIRST_SEED: u64 = 0x00c0_ffee;
/// Rows that one round generates at most, over all seeds.
const ROWS: u64 = 200_000;
const SEEDS: u64 = 16;
/// Rounds of a fit.
const ROUNDS: u32 = 4;
/// Rounds where most hits may be on templates, which no further turn changes, so that a step reaches less far;
const MANY_ROUNDS: u32 = 24;
/// they end when the ratio is as near as this.
const NEAR: f64 = 2e-4;

impl Workload {
    /// The same with every probability of a further turn times one factor, such that generated traces of
    /// `requests` requests have about this ideal hit ratio in blocks, on the mean of some seeds.
    ///
    /// Unchanged where nothing can be reached: no session has a second turn, or the ratio is not above 0.
    #[must_use]
    pub fn calibrated(&self, hit_ratio_blocks_ideal: f64) -> Self {
        let mut workload = self.clone();
        towards(&mut workload, hit_ratio_blocks_ideal, MANY_ROUNDS, NEAR);
        workload
    }
}

/// Sets the factor so that the mean ideal hit ratio becomes `target`.
pub(super) fn calibrate(workload: &mut Workload, target: f64) {
    towards(workload, target, ROUNDS, 0.0);
}

fn towards(workload: &mut Workload, target: f64, rounds: u32, near: f64) {
    let plain = workload.clone();
    let mut factor = 1.0;
    for _ in 0..rounds {
        let reached = mean_hit_ratio(workload);
        if reached <= 0.0 || target <= 0.0 || (reached - target).abs() < near {
            return;
        }
        // Hits grow about as the square root of this ratio asks for; a smaller step is only slower.
        factor *= libm::sqrt(target / reached);
        scale(workload, &plain, factor);
    }
}

fn scale(workload: &mut Workload, plain: &Workload, factor: f64) {
    let Workload {
        start,
        turns,
        populations,
        ..
    } = workload;
    if let (Some(start), Some(plain_start)) = (start, &plain.start) {
        scale_sessions(
            start,
            turns.as_mut(),
            (plain_start, plain.turns.as_ref()),
            factor,
        );
    }
    for (population, plain) in populations.iter_mut().zip(&plain.populations) {
        let plain = (&plain.start, plain.turns.as_ref());
        scale_sessions(
            &mut population.start,
            population.turns.as_mut(),
            plain,
            factor,
        );
    }
}

fn scale_sessions(
    start: &mut Start,
    turns: Option<&mut Turns>,
    plain: (&Start, Option<&Turns>),
    factor: f64,
) {
    let scaled = |probability: f64| round((probability * factor).min(0.99), 1e-4);
    for (class, plain) in start.classes.iter_mut().zip(&plain.0.classes) {
        class.continues = scaled(plain.continues);
    }
    if let (Some(turns), Some(plain)) = (turns, plain.1) {
        let turns = [
            &mut turns.reply,
            &mut turns.attach,
            &mut turns.rewrite,
            &mut turns.retry,
        ];
        let plain = [&plain.reply, &plain.attach, &plain.rewrite, &plain.retry];
        for (turn, plain) in turns.into_iter().zip(plain) {
            turn.continues = plain.continues.iter().copied().map(scaled).collect();
        }
    }
}

fn mean_hit_ratio(workload: &Workload) -> f64 {
    let seeds = (ROWS / workload.requests).clamp(1, SEEDS);
    let options = GenerateOptions {
        requests: Some(workload.requests.min(ROWS)),
        ..GenerateOptions::default()
    };
    let mut sum = 0.0;
    for seed in FIRST_SEED..FIRST_SEED + seeds {
        let mut stats = StatsBuilder::new(Tokens(workload.block_tokens));
        workload
            .generate(seed, &options)
            .for_each(|row| stats.add(&row));
        sum += stats.finish().hit_ratio_blocks_ideal;
    }
    sum / seeds as f64
}
