//! What each class is owed: so that a class with a low priority is turned away first, but not for ever.
//!
//! Of all work that is admitted, each class that has asked lately is owed its weight's share; what it gets itself is
//! paid off. The guarantee:
//!
//! 1. A class that is owed anything is tested with the whole thresholds, whatever its own ceiling.
//! 2. Once a class that was turned away lately is owed [`PATIENCE`] of work, nobody who is owed nothing passes a
//!    load above [`HELD_BACK`] of the thresholds. So whoever is admitted then is admitted at a load at which it would
//!    be too.
//!
//! Hence a class that keeps asking gets, in the long run, its weight's share of the admitted work, less the
//! `PATIENCE` that it may be owed. A test holds the books to at least 95 % of it in random overloads.
//!
//! Work is predicted prefill time, the resource that admission hands out.

use crate::config::{ClassConfig, Ratio};
use crate::ids::ClassId;
use crate::units::Nanos;
use alloc::vec::Vec;

/// What a class may be owed before others are held back: the prefill of a few long prompts (128k tokens take 27.5 s,
/// FAST'25 Fig 14). An assumption; smaller is fairer in the short run and holds back more often.
pub const PATIENCE: Nanos = Nanos::from_secs(30);

/// Nobody is owed, or owes, more: what happened long ago is forgotten.
const MOST: Nanos = Nanos::from_secs(300);

/// Who has not asked for so long wants nothing now, and who was not turned away for so long needs no help. An
/// assumption.
const LATELY: Nanos = Nanos::from_secs(60);

/// The part of the thresholds that is left to who is owed nothing while others are owed too much. An assumption.
pub const HELD_BACK: Ratio = Ratio(900);

/// One class.
#[derive(Clone, Copy, Debug)]
struct Share {
    weight: i128,
    /// In nanoseconds of work; negative for what it got too much.
    owed: i64,
    /// When it was last turned away.
    denied: Option<Nanos>,
    /// When it last asked.
    asked: Option<Nanos>,
}

/// The books of all classes.
#[derive(Clone, Debug)]
pub struct Shares {
    shares: Vec<Share>,
}

impl Shares {
    /// Nobody is owed anything.
    #[must_use]
    pub fn new(classes: &[ClassConfig]) -> Self {
        let share = |class: &ClassConfig| Share {
            weight: i128::from(class.weight),
            owed: 0,
            denied: None,
            asked: None,
        };
        Self {
            shares: classes.iter().map(share).collect(),
        }
    }

    /// A request of `class`, whose own ceiling is `own`, asks: the part of the thresholds that it may use.
    pub fn ask(&mut self, now: Nanos, class: ClassId, own: Ratio) -> Ratio {
        let share = &mut self.shares[class.index()];
        share.asked = Some(now);
        if share.owed > 0 {
            return Ratio::ONE;
        }
        let patience = PATIENCE.0 as i64;
        let waits = |share: &Share| lately(share.denied, now) && share.owed >= patience;
        match self.shares.iter().any(waits) {
            true => own.min(HELD_BACK),
            false => own,
        }
    }

    /// The request was turned away by load.
    pub fn denied(&mut self, now: Nanos, class: ClassId) {
        self.shares[class.index()].denied = Some(now);
    }

    /// A request of `class` was admitted, which is predicted to take `work`.
    pub fn admitted(&mut self, now: Nanos, class: ClassId, work: Nanos) {
        if self.shares.len() == 1 {
            return;
        }
        let served = class.index();
        let wants = |share: &Share| lately(share.asked, now);
        self.shares[served].asked = Some(now);
        let wanting = self.shares.iter().filter(|share| wants(share));
        let all: i128 = wanting.map(|share| share.weight).sum();
        let (work, most) = (i128::from(work.0), i128::from(MOST.0));
        for (i, share) in self.shares.iter_mut().enumerate() {
            if wants(share) {
                let own = if i == served { work } else { 0 };
                let owed = i128::from(share.owed) + work * share.weight / all - own;
                share.owed = owed.clamp(-most, most) as i64;
            }
        }
    }
}

fn lately(at: Option<Nanos>, now: Nanos) -> bool {
    at.is_some_and(|at| now - at <= LATELY)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::PolicyConfig;
    use crate::rng::Stream;
    use proptest::prelude::*;

    fn classes(weights: &[u32]) -> Vec<ClassConfig> {
        let policy = PolicyConfig::built_in("random").expect("built in");
        let class = |(i, &weight): (usize, &u32)| ClassConfig {
            weight,
            ceiling: Ratio(1000 - 100 * i as u32),
            ..policy.classes[0].clone()
        };
        weights.iter().enumerate().map(class).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
        /// A pool of one server that everybody overloads: each class gets its share, whatever its place in line.
        #[test]
        fn who_keeps_asking_gets_its_share(weights in proptest::collection::vec(1_u32..6, 2..4), seed: u64, size in 1_u64..4) {
            let classes = classes(&weights);
            let mut shares = Shares::new(&classes);
            let stream = Stream::new(seed, "test");
            let mut got = alloc::vec![0_u64; weights.len()];
            // Work that is left, of at most 100 s; 1 s of it is done in each round, and 4 requests ask.
            let mut left = 0_u64;
            for round in 0..40_000 {
                left = left.saturating_sub(1);
                for ask in 0..4 {
                    let class = stream.below(round * 4 + ask, weights.len() as u64) as usize;
                    let id = ClassId(class as u8);
                    let now = Nanos::from_secs(round);
                    let ceiling = shares.ask(now, id, classes[class].ceiling);
                    if (left + size) * 1000 <= 100 * u64::from(ceiling.0) {
                        left += size;
                        got[class] += size;
                        shares.admitted(now, id, Nanos::from_secs(size));
                    } else {
                        shares.denied(now, id);
                    }
                }
            }
            let (all, weight): (u64, u32) = (got.iter().sum(), weights.iter().sum());
            for (got, own) in got.iter().zip(&weights) {
                let share = f64::from(*own) / f64::from(weight);
                prop_assert!(*got as f64 >= 0.95 * share * all as f64, "{got:?} of {all}, weights {weights:?}");
            }
        }
    }

    #[test]
    fn the_first_in_line_is_turned_away_last() {
        let classes = classes(&[1, 1]);
        let mut shares = Shares::new(&classes);
        let (first, second) = (ClassId(0), ClassId(1));
        let now = Nanos::from_secs(1);
        let ceilings = |shares: &mut Shares| {
            [first, second].map(|id| shares.ask(now, id, classes[id.index()].ceiling).0)
        };
        assert_eq!(
            ceilings(&mut shares),
            [1000, 900],
            "nobody is owed anything"
        );
        shares.denied(now, second);
        assert_eq!(ceilings(&mut shares), [1000, 900], "owed nothing yet");
        shares.admitted(now, first, Nanos::from_secs(10));
        assert_eq!(ceilings(&mut shares), [1000, 1000], "it is owed 5 s");
        shares.admitted(now, first, Nanos::from_secs(60));
        assert_eq!(
            ceilings(&mut shares),
            [900, 1000],
            "it is owed more than patience allows"
        );
        shares.admitted(now, second, Nanos::from_secs(200));
        assert_eq!(
            ceilings(&mut shares),
            [1000, 900],
            "it has more than its share"
        );
        let later = now + LATELY + Nanos::from_secs(1);
        shares.admitted(later, first, Nanos::from_secs(200));
        assert_eq!(
            shares.shares[1].owed, -65_000_000_000,
            "who does not ask is not owed more"
        );
    }
}
