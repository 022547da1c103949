//! The fewest nodes that carry a load, prefill and decode nodes each as many as it takes.
//!
//! First the cluster's own shares, larger and smaller, by bisection: that bounds the total. Then every split of one
//! node fewer, of two fewer, and so on, as long as any holds. A split is not tried if one that has at least as many
//! nodes of both kinds has failed: more nodes are taken never to hurt.

use super::{Found, Study, crossing};
use crate::error::SearchError;
use crate::knob::Knob;
use crate::search::{Crossing, Line, Seek};
use crate::shape;

pub(super) fn fewest(study: &Study<'_>, most: u64) -> Result<Found, SearchError> {
    let cluster = &study.question.job.cluster;
    shape::split_of(cluster).map_err(SearchError::Setting)?;
    let line = Line {
        low: 2.0,
        high: most as f64,
        whole: true,
        tolerance: 0.0,
    };
    let shares = crossing(study, &Knob::Nodes, line, Seek::Smallest)?;
    // Where the cluster's own shares are too few, another split of the most may do.
    let (mut total, mut enough) = match shares.holds {
        Some(total) => (total as u64 - 1, Some(total)),
        None => (most, None),
    };
    let mut failed: Vec<(u64, u64)> = Vec::new();
    while total >= 2 {
        let hopeless = |prefill, decode| failed.iter().any(|&(p, d)| p >= prefill && d >= decode);
        let splits = (1..total).map(|prefill| (prefill, total - prefill));
        let splits: Vec<_> = splits.filter(|&(p, d)| !hopeless(p, d)).collect();
        let jobs = splits.iter().map(|&(prefill, decode)| {
            let mut job = study.question.job.clone();
            job.cluster = shape::split(cluster, prefill, decode)?;
            Ok((job, total as f64))
        });
        let jobs = jobs
            .collect::<Result<Vec<_>, _>>()
            .map_err(SearchError::Setting)?;
        let holds = study.judged(&jobs, 1)?;
        failed.extend(
            splits
                .iter()
                .zip(&holds)
                .filter(|(_, holds)| !**holds)
                .map(|(split, _)| split),
        );
        if !holds.contains(&true) {
            break;
        }
        enough = Some(total as f64);
        total -= 1;
    }
    let fails = (total >= 2).then_some(total as f64);
    // Splits of the same total may hold where others are refuted: there is no one such number.
    let crossing = Crossing {
        holds: enough,
        fails,
    };
    study.checked(study.found(crossing, None))
}
