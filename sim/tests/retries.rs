//! Clients that try again: when they come, when they give up, and that nothing else is different with them.

use crate::clusters::{BLOCK, Scenario, profile, scenarios};
use conductor_core::event::Event;
use conductor_core::journal::{Auditor, Line};
use conductor_core::units::{Nanos, Tokens};
use conductor_core::workload::WorkloadRequest;
use conductor_sim::record::{Outcome, RequestRecord};
use conductor_sim::report::{RunLabels, RunReport, write_requests};
use conductor_sim::{Mode, Observer, RetryConfig, RetryText, RunConfig, RunResult, run};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use std::convert::Infallible;

/// Further tries without chance and without `Retry-After`.
fn plain(tries: u32) -> RetryText {
    RetryText {
        tries,
        jitter: 0.0,
        honour_retry_after: false,
        ..RetryText::default()
    }
}

fn config(scenario: &Scenario, retry: &RetryText, mode: Mode) -> RunConfig {
    RunConfig {
        retry: RetryConfig::from_text(retry).expect("in range"),
        ..scenario.config(mode)
    }
}

/// A run and its journal.
fn journaled(scenario: &Scenario, config: &RunConfig) -> (RunResult, Vec<u8>) {
    let mut journal = Vec::new();
    let observer = Observer {
        journal: Some(&mut journal),
        ..Observer::default()
    };
    let requests = scenario.requests.iter().cloned().map(Ok::<_, Infallible>);
    let result = run(config, requests, observer).expect("the run ends");
    (result, journal)
}

/// When each try arrived, with its request, in the journal's order.
fn arrivals(journal: &[u8]) -> Vec<(Nanos, u64)> {
    let lines = journal.split(|&byte| byte == b'\n').skip(1);
    let steps = lines.filter(|line| !line.is_empty()).map(|line| {
        let text = std::str::from_utf8(line).expect("a journal is text");
        serde_json::from_str::<Line<'_>>(text).expect("a step or the end")
    });
    let arrived = steps.filter_map(|line| match line {
        Line::Step(step) => match step.event {
            Event::Arrived { ticket, .. } => {
                assert_eq!(ticket.attempt, 0, "each try is admitted like any request");
                Some((step.now, ticket.request.0))
            }
            _ => None,
        },
        Line::End(_) => None,
    });
    arrived.collect()
}

/// One node of each kind that holds one request at a time. The first request stays for some seconds; the others come
/// meanwhile, at `others` milliseconds.
fn one_at_a_time(others: &[u64]) -> Scenario {
    let request = |millis, output| WorkloadRequest {
        class: conductor_core::ids::ClassId::default(),
        workflow: None,
        arrival: Nanos::from_millis(millis),
        input: Tokens(100),
        output: Tokens(output),
        blocks: Vec::new(),
    };
    let mut requests = vec![request(0, 1_500)];
    requests.extend(others.iter().map(|&millis| request(millis, 1)));
    Scenario {
        profile: profile(false, 10.0, 10.0, 4),
        cluster: format!(
            "name = \"one\"\nprofile = \"small\"\nblock_tokens = {BLOCK}\n\
             [[nodes]]\ncount = 1\nrole = \"prefill\"\n\
             [[nodes]]\ncount = 1\nrole = \"decode\"\nhbm_kv_tokens = 8000\n\
             [limits]\nlive_requests = 1\n"
        ),
        policy: String::new(),
        seed: 1,
        requests,
    }
}

#[test]
fn a_rejected_request_comes_again_after_each_wait() {
    let scenario = one_at_a_time(&[1_000]);
    let (result, journal) = journaled(&scenario, &config(&scenario, &plain(10), Mode::FastForward));
    let busy = result.records[0].e2e().expect("it completed");
    assert!(
        (2_500..8_500).contains(&(busy.0 / 1_000_000)),
        "three or four waits: {busy}"
    );
    // 1 s, then 0.5 s, 1 s, 2 s and so on later.
    let mut expected = vec![(Nanos::ZERO, 0)];
    let (mut at, mut wait) = (1_000, 500);
    expected.push((Nanos::from_millis(at), 1));
    while Nanos::from_millis(at) < busy {
        at += wait;
        wait *= 2;
        expected.push((Nanos::from_millis(at), 1));
    }
    assert_eq!(arrivals(&journal), expected);

    let record = result.records[1];
    assert_eq!(u64::from(record.tries), expected.len() as u64 - 1);
    assert_eq!(record.first_outcome.name(), "too-many-requests");
    assert_eq!(record.outcome, Outcome::Completed);
    // Its user has waited since the first try.
    let waited = Nanos::from_millis(at - 1_000);
    assert!(record.ttft > Some(waited) && record.ttft < Some(waited + Nanos::SECOND));
    assert_eq!(record.e2e(), record.ttft);
}

#[test]
fn a_client_gives_up_after_its_tries_with_the_last_reason() {
    let scenario = one_at_a_time(&[1_000]);
    let (result, journal) = journaled(&scenario, &config(&scenario, &plain(1), Mode::FastForward));
    let at = [0, 1_000, 1_500].map(Nanos::from_millis);
    assert_eq!(arrivals(&journal), [(at[0], 0), (at[1], 1), (at[2], 1)]);
    let record = result.records[1];
    assert_eq!((record.tries, record.placed, record.ttft), (2, None, None));
    assert_eq!(record.outcome.name(), "too-many-requests");
    let counters = result.counters;
    assert_eq!((counters.arrived, counters.rejected), (3, 2));
}

#[test]
fn retry_after_is_waited_for() {
    let scenario = one_at_a_time(&[1_000]);
    let text = RetryText {
        honour_retry_after: true,
        ..plain(1)
    };
    let (_, journal) = journaled(&scenario, &config(&scenario, &text, Mode::FastForward));
    // The Conductor asks for a second at least, which is longer than the first wait of its own.
    assert_eq!(arrivals(&journal)[2], (Nanos::from_millis(2_000), 1));
}

#[test]
fn what_can_never_be_served_is_not_tried_again() {
    let mut scenario = one_at_a_time(&[]);
    scenario.requests[0].input = Tokens(100_000);
    let (result, _) = journaled(&scenario, &config(&scenario, &plain(3), Mode::FastForward));
    assert_eq!(result.records[0].tries, 1);
    assert_eq!(result.records[0].outcome.name(), "prompt-too-long");
}

#[test]
fn at_one_instant_new_requests_come_before_those_that_come_again() {
    // Requests 1 and 2 come again when 3 and 4 come for the first time.
    let scenario = one_at_a_time(&[1_000, 1_000, 1_500, 1_500]);
    let (_, journal) = journaled(&scenario, &config(&scenario, &plain(1), Mode::FastForward));
    let at = Nanos::from_millis(1_500);
    let instant: Vec<_> = arrivals(&journal)
        .into_iter()
        .filter_map(|(now, request)| (now == at).then_some(request))
        .collect();
    assert_eq!(instant, [3, 4, 1, 2]);
}

#[test]
fn samples_jump_over_the_time_in_which_clients_only_wait() {
    let mut scenario = one_at_a_time(&[1_000]);
    scenario.requests.truncate(2);
    let text = RetryText {
        first_s: 10_000.0,
        most_s: 86_400.0,
        ..plain(1)
    };
    let (result, _) = journaled(&scenario, &config(&scenario, &text, Mode::FastForward));
    assert_eq!(result.records[1].outcome, Outcome::Completed);
    assert!(result.simulated > Nanos::from_secs(10_000));
    let timeline = &result.timeline;
    assert!(timeline.pools.len() < 20 && timeline.idle > 9_900);
    let last = timeline.pools.last().expect("samples");
    let waiting = timeline.pools.iter().filter(|sample| sample.at < last.at);
    assert!(
        waiting.map(|sample| sample.live).max() == Some(1),
        "who waits is not inside"
    );
}

/// True if no client would try again.
fn is_final(record: &RequestRecord) -> bool {
    record.outcome == Outcome::Completed || record.outcome.name() == "prompt-too-long"
}

fn retries() -> impl Strategy<Value = RetryText> {
    let first = prop_oneof![Just(0.0), Just(0.001), Just(0.05), Just(1.0)];
    let jitter = prop_oneof![Just(0.0), Just(0.25), Just(1.0)];
    (1_u32..6, first, 1_u32..4, jitter, any::<bool>()).prop_map(
        |(tries, first_s, factor, jitter, honour_retry_after)| RetryText {
            tries,
            first_s,
            factor: f64::from(factor),
            jitter,
            honour_retry_after,
            ..RetryText::default()
        },
    )
}

/// A decode node that checks for itself refuses more often after prefill; its limits are tight.
fn overloaded() -> impl Strategy<Value = Scenario> {
    (scenarios(), 0..3_usize).prop_map(|(mut scenario, admission)| {
        let admission = ["none", "per-stage", "early"][admission];
        scenario.policy.push_str(&format!(
            "[admission]\nselect = \"{admission}\"\n[slo]\nttft_s = 0.05\ntbt_s = 0.004\n"
        ));
        scenario
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn jumping_equals_stepping_and_sums_hold(scenario in overloaded(), retry in retries()) {
        let config = |mode| config(&scenario, &retry, mode);
        let (jumped, journal) = journaled(&scenario, &config(Mode::FastForward));
        let (stepped, slow_journal) = journaled(&scenario, &config(Mode::StepByStep));
        prop_assert_eq!(&jumped.records, &stepped.records);
        prop_assert!(journal == slow_journal, "equal journals");
        prop_assert_eq!(&jumped.timeline.pools, &stepped.timeline.pools);
        prop_assert_eq!(jumped.simulated, stepped.simulated);
        let (again, _) = journaled(&scenario, &config(Mode::FastForward));
        prop_assert_eq!(&jumped.digest, &again.digest);

        let mut lines = journal.split(|&byte| byte == b'\n');
        let mut auditor = Auditor::new(lines.next().expect("a header"), None).expect("a header");
        for line in lines.filter(|line| !line.is_empty()) {
            auditor.line(line).expect("decided again, it is the same");
        }
        prop_assert_eq!(&auditor.finish().digest, &jumped.digest);

        let report = RunReport::new(&config(Mode::FastForward), &jumped, RunLabels::default());
        let counters = jumped.counters;
        prop_assert_eq!(report.requests, scenario.requests.len() as u64);
        prop_assert_eq!(report.completed + report.rejected, report.requests);
        prop_assert!(report.attempts >= report.requests);
        prop_assert_eq!(report.attempts, counters.arrived);
        prop_assert_eq!(report.attempts, counters.dispatched + counters.rejected);
        prop_assert_eq!(report.attempts, report.decisions);
        prop_assert_eq!(report.completed, counters.finished);
        prop_assert!(report.first_try_completed <= report.eventually_completed);
        prop_assert_eq!(counters.stale, 0);
        let mut prefills = 0;
        for record in &jumped.records {
            prop_assert!((1..=retry.tries + 1).contains(&record.tries));
            prefills += u64::from(record.prefills().count);
            if !is_final(record) {
                prop_assert_eq!(record.tries, retry.tries + 1, "nobody gives up before");
            }
            match record.tries {
                1 => prop_assert_eq!(record.first_outcome, record.outcome),
                _ => prop_assert_ne!(record.first_outcome, Outcome::Completed),
            }
        }
        // Each dispatched try was computed: refused ones after that, all others to the end.
        prop_assert_eq!(prefills, counters.dispatched);
        prop_assert_eq!(report.wasted_prefill_s > 0.0, counters.refused > 0);
        let mut rows = Vec::new();
        write_requests(&jumped, &mut rows).expect("memory takes it");
        let text = String::from_utf8(rows).expect("rows are text");
        let tries = text.lines().skip(1).filter_map(|row| row.rsplit(',').next()?.parse::<u64>().ok());
        prop_assert_eq!(tries.sum::<u64>(), report.attempts);
    }

    /// Where nobody is turned away, clients that would come again change nothing.
    #[test]
    fn the_option_alone_changes_nothing(scenario in scenarios(), retry in retries()) {
        let (without, _) = journaled(&scenario, &scenario.config(Mode::FastForward));
        prop_assume!(without.records.iter().all(is_final));
        let (with, _) = journaled(&scenario, &config(&scenario, &retry, Mode::FastForward));
        prop_assert_eq!(with.digest, without.digest);
    }
}

/// Random runs are worth something only if the rare things happen in them.
#[test]
fn the_random_runs_reach_every_corner() {
    let mut runner = TestRunner::deterministic();
    let (mut late, mut in_vain_first, mut gave_up, mut many) = (0, 0, 0, 0);
    for _ in 0..60 {
        let drawn = (overloaded(), retries()).new_tree(&mut runner);
        let (scenario, retry) = drawn.expect("it can be drawn").current();
        let config = config(&scenario, &retry, Mode::FastForward);
        for record in journaled(&scenario, &config).0.records {
            let completed = record.outcome == Outcome::Completed;
            late += u64::from(completed && record.tries > 1);
            in_vain_first += u64::from(completed && record.earlier.count > 0);
            gave_up += u64::from(!completed && record.tries == retry.tries + 1);
            many += u64::from(record.tries > 3);
        }
    }
    for (name, count) in [
        ("completed later", late),
        ("completed after a prefill in vain", in_vain_first),
        ("gave up", gave_up),
        ("more than three tries", many),
    ] {
        assert!(count > 10, "{name}: {count}");
    }
}
