//! Faults drawn from a seed: a Poisson process of faults over all nodes.
//!
//! Gaps and lengths are exponential, kinds and nodes even. How bad a fault is is drawn evenly from ranges that are
//! assumptions of ours, chosen wide: slow by 1.5 to 10 times, a link down to 1 to 50 %, a fifth to all of the reports,
//! late by up to twice the mean length of a fault.

use super::text::{FaultError, error, seconds};
use super::{Fault, FaultKind};
use conductor_core::config::Ratio;
use conductor_core::cost::Factor;
use conductor_core::ids::NodeId;
use conductor_core::rng::Stream;
use conductor_core::units::Nanos;
use serde::{Deserialize, Serialize};

/// More faults than this are a slip of a digit.
const FAULTS_MAX: usize = 100_000;
/// All that can be drawn.
const KINDS: [&str; 7] = [
    "crash",
    "slow",
    "link",
    "cut",
    "lose-reports",
    "delay-reports",
    "restart-conductor",
];

/// `[draw]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DrawText {
    /// Which kinds, each as often as the others: those of the script but `cancel`, and `cut` for a link of which
    /// nothing is left. All by default.
    #[serde(default = "all_kinds")]
    pub kinds: Vec<String>,
    /// No fault begins later, in seconds.
    pub until_s: f64,
    /// Mean time between beginnings, in seconds.
    pub gap_s: f64,
    /// Mean length, in seconds.
    pub length_s: f64,
}

fn all_kinds() -> Vec<String> {
    KINDS.map(str::to_string).into()
}

impl DrawText {
    /// Adds the faults that `seed` draws for a cluster of `nodes`.
    ///
    /// # Errors
    /// Names the key that is out of its range.
    pub fn draw(&self, nodes: usize, seed: u64, faults: &mut Vec<Fault>) -> Result<(), FaultError> {
        for kind in &self.kinds {
            if !KINDS.contains(&&kind[..]) {
                return Err(error(format!(
                    "`kinds`: expected some of: {}, found \"{kind}\"",
                    KINDS.join(", ")
                )));
            }
        }
        let until = seconds("until_s", self.until_s)?;
        let (gap, length) = (
            seconds("gap_s", self.gap_s)?,
            seconds("length_s", self.length_s)?,
        );
        for (key, time) in [("gap_s", gap), ("length_s", length)] {
            if time.is_zero() {
                return Err(error(format!("`{key}`: expected more than 0")));
            }
        }
        let stream = Stream::new(seed, "faults");
        let mut draws = 0..;
        let mut bits = || stream.draw(draws.next().expect("they do not end"));
        let mut at = Nanos::ZERO;
        while !self.kinds.is_empty() {
            at += exponential(gap, bits());
            if at > until {
                break;
            }
            if faults.len() >= FAULTS_MAX {
                return Err(error(format!(
                    "`gap_s`: that are more than {FAULTS_MAX} faults"
                )));
            }
            let mut below = |bound: u64| ((u128::from(bits()) * u128::from(bound)) >> 64) as u64;
            let kind = &self.kinds[below(self.kinds.len() as u64) as usize][..];
            let node = NodeId(below(nodes as u64) as u16);
            let (one, two) = (below(1000), below(1000));
            let share = Ratio(200 + (one * 801 / 1000) as u32);
            let kind = match kind {
                "crash" => FaultKind::Crash { node },
                "slow" => FaultKind::Slow {
                    node,
                    factor: Factor::from_f64(1.5 + 8.5 * one as f64 / 1000.0)
                        .expect("1.5 to 10 is in range"),
                },
                "link" => FaultKind::Link {
                    node,
                    part: Ratio(10 + (one * 490 / 1000) as u32),
                },
                "cut" => FaultKind::Link {
                    node,
                    part: Ratio(0),
                },
                "lose-reports" => FaultKind::LoseReports { node, share },
                "delay-reports" => FaultKind::DelayReports {
                    node,
                    share,
                    by: Nanos((u128::from(length.0) * u128::from(two) / 500) as u64),
                },
                _ => FaultKind::RestartConductor,
            };
            let lasts = match kind {
                FaultKind::RestartConductor => Nanos::ZERO,
                _ => exponential(length, bits()),
            };
            faults.push(Fault { at, lasts, kind });
        }
        Ok(())
    }
}

/// An exponential time of this mean, from 64 uniform bits.
fn exponential(mean: Nanos, bits: u64) -> Nanos {
    let unit = ((bits >> 11) + 1) as f64 / (1_u64 << 53) as f64;
    Nanos((mean.0 as f64 * -libm::log(unit)) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seed_draws_every_kind_and_nothing_else() {
        let draw = DrawText {
            kinds: all_kinds(),
            until_s: 1000.0,
            gap_s: 1.0,
            length_s: 3.0,
        };
        let plan = |seed| {
            let mut faults = Vec::new();
            draw.draw(4, seed, &mut faults).expect("it is valid");
            faults
        };
        let faults = plan(1);
        assert_eq!(faults, plan(1));
        assert_ne!(faults, plan(2));
        // Ten standard deviations of a Poisson count of 1,000 are 316.
        assert!((684..1316).contains(&faults.len()), "{}", faults.len());
        let mut kinds = [0; 7];
        for fault in &faults {
            kinds[match fault.kind {
                FaultKind::Crash { .. } => 0,
                FaultKind::Slow { .. } => 1,
                FaultKind::Link { part, .. } => 2 + usize::from(part == Ratio(0)),
                FaultKind::LoseReports { .. } => 4,
                FaultKind::DelayReports { .. } => 5,
                _ => 6,
            }] += 1;
        }
        assert!(kinds.iter().all(|&count| count > 80), "{kinds:?}");
    }

    #[test]
    fn bad_draws_are_refused() {
        let text = "[draw]\nkinds = [\"crush\"]\nuntil_s = 1\ngap_s = 1\nlength_s = 1\n";
        let found = super::super::FaultPlan::parse(text, 2, 1).expect_err("no such kind");
        assert_eq!(
            found.to_string(),
            "`kinds`: expected some of: crash, slow, link, cut, lose-reports, delay-reports, restart-conductor, \
             found \"crush\""
        );
        let text = "[draw]\nuntil_s = 1\ngap_s = 0\nlength_s = 1\n";
        let found = super::super::FaultPlan::parse(text, 2, 1).expect_err("no gap");
        assert_eq!(found.to_string(), "`gap_s`: expected more than 0");
    }
}
