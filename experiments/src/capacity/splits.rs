//! The split of a cluster's nodes into prefill and decode nodes that carries most.
//!
//! All splits are tried at once, at one load after the other: those that fail where another holds are out. While any
//! holds, the load is doubled; then it is bisected between the largest at which any holds and the smallest at which
//! none does. The answer is what trying each split by itself would give, if what holds at a load holds at every smaller
//! one, with far fewer runs: most splits are out after the first loads. Those that are left at the end are equal to
//! within the tolerance; of them the one with the least strain is named.

use super::{Found, SplitSeen, Study};
use crate::error::SearchError;
use crate::search::{Crossing, Line};
use crate::shape;

pub(super) fn best(study: &Study<'_>, line: Line) -> Result<Found, SearchError> {
    let cluster = &study.question.job.cluster;
    let (prefill, decode) = shape::split_of(cluster).map_err(SearchError::Setting)?;
    let total = prefill + decode;
    let mut seen: Vec<SplitSeen> = (1..total)
        .map(|prefill| SplitSeen {
            prefill,
            decode: total - prefill,
            holds: None,
            fails: None,
        })
        .collect();
    let mut left: Vec<usize> = (0..seen.len()).collect();
    let (mut below, mut above) = (None, None);
    let mut next = Some(line.low);
    while let Some(speed) = next {
        let jobs = left.iter().map(|&place| {
            let mut job = study.question.job.clone();
            job.cluster = shape::split(cluster, seen[place].prefill, seen[place].decode)?;
            job.workload.speed = speed;
            Ok((job, speed))
        });
        let jobs = jobs
            .collect::<Result<Vec<_>, _>>()
            .map_err(SearchError::Setting)?;
        let expected = line.left(below.unwrap_or(line.low), above);
        let holds = study.judged(&jobs, expected)?;
        for (&place, &holds) in left.iter().zip(&holds) {
            let split = &mut seen[place];
            *(if holds {
                &mut split.holds
            } else {
                &mut split.fails
            }) = Some(speed);
        }
        if holds.contains(&true) {
            let held = left.iter().zip(&holds).filter(|(_, holds)| **holds);
            left = held.map(|(&place, _)| place).collect();
            below = Some(speed);
        } else {
            above = Some(speed);
        }
        next = match (below, above) {
            (None, _) => None,
            (Some(below), Some(above)) => line.middle(below, above),
            (Some(below), None) => (below < line.high).then(|| line.further(below)),
        };
    }
    let crossing = Crossing {
        holds: below,
        fails: above,
    };
    // A load that refutes one split does not refute another.
    let found = study.found(crossing, None);
    study.checked(Found {
        splits: seen,
        ..found
    })
}
