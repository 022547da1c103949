//! A closed loop: so many requests are in the system at a time, whatever the stamps say.

use crate::clusters::{Scenario, scenarios};
use conductor_core::units::Nanos;
use conductor_sim::record::{Outcome, RequestRecord};
use conductor_sim::{Mode, Observer, RunConfig, RunResult, run};
use proptest::prelude::*;
use std::convert::Infallible;
use std::num::NonZeroU32;

fn closed(scenario: &Scenario, clients: u32, mode: Mode) -> RunResult {
    let config = RunConfig {
        closed_loop: NonZeroU32::new(clients),
        ..scenario.config(mode)
    };
    // Stamps that go back do not matter: nobody reads them.
    let requests = scenario.requests.iter().rev().cloned();
    run(
        &config,
        requests.map(Ok::<_, Infallible>),
        Observer::default(),
    )
    .expect("the run ends")
}

/// When a request left the system, if its record says.
fn left(record: &RequestRecord) -> Option<Nanos> {
    match record.outcome {
        Outcome::Completed => record.e2e().map(|e2e| record.arrival + e2e),
        Outcome::Rejected(_) => Some(record.arrival),
        Outcome::RejectedAfterPrefill | Outcome::Cancelled => None,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    #[test]
    fn the_next_comes_when_one_has_ended(scenario in scenarios(), clients in 1_u32..6) {
        let result = closed(&scenario, clients, Mode::FastForward);
        prop_assert_eq!(result.records.len(), scenario.requests.len());
        let ends: Option<Vec<Nanos>> = result.records.iter().map(left).collect();
        // Where a request ended that was refused after its prefill is not in its record.
        let Some(ends) = ends else { return Ok(()) };
        for (i, record) in result.records.iter().enumerate() {
            let before = &ends[..i];
            let inside = before.iter().filter(|&&end| end > record.arrival).count();
            prop_assert!(inside < clients as usize, "{inside} are there when number {i} comes");
            let at_once = record.arrival == Nanos::ZERO || before.contains(&record.arrival);
            prop_assert!(at_once, "number {i} comes at {}", record.arrival);
        }
    }

    #[test]
    fn jumping_equals_stepping_here_too(scenario in scenarios(), clients in 1_u32..6) {
        let jumped = closed(&scenario, clients, Mode::FastForward);
        let stepped = closed(&scenario, clients, Mode::StepByStep);
        prop_assert_eq!(&jumped.records, &stepped.records);
        prop_assert_eq!(&jumped.digest, &stepped.digest);
    }
}
