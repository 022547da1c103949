//! What every run must obey, whatever the cluster: causality, conservation, repeatability, and a journal that holds.

use crate::clusters::{coupled, scenarios, switching};
use conductor_core::journal::Auditor;
use conductor_core::units::{Nanos, Tokens};
use conductor_sim::record::{Outcome, RequestRecord};
use conductor_sim::report::{RunLabels, RunReport, write_requests, write_timeline};
use conductor_sim::{Mode, Observer, RunConfig, RunResult};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

/// When a request left the system.
fn left(record: &RequestRecord) -> Nanos {
    record.arrival + record.e2e().unwrap_or(Nanos::ZERO)
}

fn check_causality(record: &RequestRecord, schedule: Nanos) -> Result<(), TestCaseError> {
    prop_assert!(record.hit <= record.input && record.hit_blocks <= record.blocks);
    match record.outcome {
        Outcome::Rejected(_) => {
            let none = (record.placed, record.ttft, record.decode, record.tbt);
            prop_assert_eq!(none, (None, None, None, None));
            prop_assert_eq!((record.prefill, record.hit), (Nanos::ZERO, Tokens::ZERO));
        }
        Outcome::Completed | Outcome::RejectedAfterPrefill => {
            let ttft = record.ttft.expect("it was computed");
            let decode = record.decode.expect("it left");
            prop_assert!(
                ttft >= schedule + record.prefill,
                "it waits for its prefill"
            );
            prop_assert!(record.e2e() >= record.ttft);
            let gaps = record.output.0 - 1;
            if let (Some(tbt), Outcome::Completed) = (record.tbt, record.outcome) {
                prop_assert!(tbt <= decode, "no gap is longer than all together");
                prop_assert!(
                    tbt.0 >= decode.0 / gaps,
                    "the longest are not below the mean"
                );
            }
            if record.outcome == Outcome::Completed {
                prop_assert_eq!(record.tbt.is_none(), gaps == 0);
                prop_assert_eq!(decode.is_zero(), gaps == 0);
            }
        }
    }
    Ok(())
}

/// Number in system over time, from arrivals and departures: its integral is the sum of the times in the system, and
/// it is what the simulator sampled.
fn check_number_in_system(result: &RunResult) -> Result<(), TestCaseError> {
    let mut changes: Vec<(Nanos, i64)> = Vec::new();
    for record in &result.records {
        changes.push((record.arrival, 1));
        changes.push((left(record), -1));
    }
    changes.sort_unstable();
    let (mut integral, mut inside, mut last) = (0_u128, 0_i64, Nanos::ZERO);
    for &(at, change) in &changes {
        integral += u128::from((at - last).0) * inside as u128;
        inside += change;
        last = at;
    }
    let sojourns = result
        .records
        .iter()
        .map(|record| left(record) - record.arrival);
    prop_assert_eq!(
        integral,
        sojourns.map(|time| u128::from(time.0)).sum::<u128>()
    );
    prop_assert_eq!((inside, last), (0, result.simulated.min(last)));
    for sample in &result.timeline.pools {
        let so_far = changes.iter().filter(|(at, _)| *at <= sample.at);
        let inside: i64 = so_far.map(|(_, change)| change).sum();
        prop_assert_eq!(sample.live as i64, inside, "sampled at {}", sample.at);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn every_run_is_causal_and_loses_nothing(scenario in prop_oneof![3 => scenarios(), 1 => switching(), 2 => coupled()]) {
        let mut journal = Vec::new();
        let observer = Observer { journal: Some(&mut journal), ..Observer::default() };
        let result = scenario.run_observed(Mode::FastForward, observer);
        let config = scenario.config(Mode::FastForward);
        prop_assert_eq!(result.records.len(), scenario.requests.len());
        for (record, request) in result.records.iter().zip(&scenario.requests) {
            prop_assert_eq!(
                (record.arrival, record.input, record.output),
                (request.arrival, request.input, request.output)
            );
            check_causality(record, config.cluster.profiles[0].schedule)?;
        }
        check_number_in_system(&result)?;

        let report = RunReport::new(&config, &result, RunLabels::default());
        prop_assert_eq!(report.requests, report.completed + report.rejected);
        prop_assert_eq!(report.unfinished, 0);
        let counters = result.counters;
        prop_assert_eq!(counters.arrived, report.requests);
        prop_assert_eq!(counters.finished, report.completed);
        prop_assert_eq!(counters.rejected + counters.refused, report.rejected);
        prop_assert_eq!(counters.refused, report.rejected_after_prefill);
        prop_assert_eq!((counters.stale, counters.lost, counters.cancelled), (0, 0, 0));
        prop_assert_eq!(counters.role_switches, result.role_changes.len() as u64);
        prop_assert_eq!(counters.unindexed_blocks, 0, "the index holds what all caches hold");

        let mut lines = journal.split(|&byte| byte == b'\n');
        let first = lines.next().expect("a header");
        let mut auditor = Auditor::new(first, None).expect("the header is understood");
        for line in lines.filter(|line| !line.is_empty()) {
            auditor.line(line).expect("decided again, it is the same");
        }
        let audited = auditor.finish();
        prop_assert!(audited.complete);
        prop_assert_eq!(&audited.digest, &result.digest);

        // The same again gives the same bytes.
        let mut again = Vec::new();
        let observer = Observer { journal: Some(&mut again), ..Observer::default() };
        let repeated = scenario.run_observed(Mode::FastForward, observer);
        prop_assert!(journal == again, "equal journals");
        prop_assert_eq!(files(&config, &result), files(&config, &repeated));
    }
}

/// The CSV files of a run.
fn files(config: &RunConfig, result: &RunResult) -> (Vec<u8>, Vec<u8>) {
    let (mut requests, mut timeline) = (Vec::new(), Vec::new());
    write_requests(result, &mut requests).expect("memory takes it");
    write_timeline(config, result, &mut timeline).expect("memory takes it");
    (requests, timeline)
}
