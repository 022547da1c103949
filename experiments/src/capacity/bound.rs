//! The other side of an answer: the nearest value that is refuted with the same confidence.
//!
//! A search for what holds stops where the seeds begin to disagree. From there it goes on until so few hold that they
//! refute the value, then back by bisection to the nearest that is refuted: between the two the seeds cannot say. With
//! one seed, or too few to refute anything, there is no such value.

use super::Study;
use crate::confidence::Rule;
use crate::error::SearchError;
use crate::knob::Knob;
use crate::search::{Line, Seek};

/// True if some number of seeds would refute a value.
fn can_refute(rule: Rule) -> bool {
    rule.seeds > 1 && rule.refutes(0)
}

/// The nearest refuted value beyond what holds.
pub(super) fn refuted(
    study: &Study<'_>,
    knob: &Knob,
    line: Line,
    seek: Seek,
) -> Result<Option<f64>, SearchError> {
    if !can_refute(study.question.rule) {
        return Ok(None);
    }
    let seen: Vec<(f64, bool)> = study.refutations();
    let nearest = |wanted: bool, smallest: bool| {
        let values = seen.iter().filter(|(_, refuted)| *refuted == wanted);
        let values = values.map(|(value, _)| *value);
        match smallest {
            true => values.min_by(f64::total_cmp),
            false => values.max_by(f64::total_cmp),
        }
    };
    let refutes = |value: f64, left: u64| study.refuted_at(knob, line, value, left);
    match seek {
        Seek::Largest => {
            let mut above = nearest(true, true);
            let Some(mut below) = nearest(false, false) else {
                return Ok(above);
            };
            while above.is_none() && below < line.high {
                let next = line.further(below);
                match refutes(next, line.left(below, Some(next)))? {
                    true => above = Some(next),
                    false => below = next,
                }
            }
            let Some(above) = above.filter(|above| *above > below) else {
                return Ok(above);
            };
            let narrowed = line.narrowed(below, above, |value| {
                Ok::<_, SearchError>(!refutes(value, line.left(below, Some(above)))?)
            })?;
            Ok(Some(narrowed.1))
        }
        Seek::Smallest => {
            let (below, above) = (nearest(true, false), nearest(false, true));
            let (Some(below), Some(above)) = (below, above.filter(|above| below < Some(*above)))
            else {
                return Ok(below);
            };
            let narrowed = line.narrowed(below, above, |value| refutes(value, 1))?;
            Ok(Some(narrowed.0))
        }
    }
}
