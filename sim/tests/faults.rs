//! Each kind of fault by itself, on clusters so small that what must follow can be said.

use crate::clusters::{BLOCK, Scenario, profile};
use conductor_core::action::RejectReason;
use conductor_core::ids::{BlockHash, ClassId, NodeId};
use conductor_core::units::{Nanos, Tokens};
use conductor_core::workload::WorkloadRequest;
use conductor_sim::record::{Outcome, RequestRecord};
use conductor_sim::{FaultPlan, Mode, Observer, RunConfig, RunResult, run};
use std::convert::Infallible;

/// `prefill` and `decode` nodes of the small profile, whose KV crosses links of so many GB/s.
fn scenario(prefill: u32, decode: u32, nic: f64, requests: Vec<WorkloadRequest>) -> Scenario {
    Scenario {
        profile: profile(false, nic, 100.0, 4),
        cluster: format!(
            "name = \"few\"\nprofile = \"small\"\nblock_tokens = {BLOCK}\n\
             [[nodes]]\ncount = {prefill}\nrole = \"prefill\"\n\
             [[nodes]]\ncount = {decode}\nrole = \"decode\"\nhbm_kv_tokens = 8000\n"
        ),
        policy: String::new(),
        seed: 1,
        requests,
    }
}

fn request(millis: u64, input: u64, output: u64) -> WorkloadRequest {
    WorkloadRequest {
        class: ClassId::default(),
        workflow: None,
        arrival: Nanos::from_millis(millis),
        input: Tokens(input),
        output: Tokens(output),
        blocks: (0..input / BLOCK).map(BlockHash).collect(),
    }
}

fn with(scenario: &Scenario, plan: &str) -> RunResult {
    let config = scenario.config(Mode::FastForward);
    let faults = FaultPlan::parse(plan, config.cluster.nodes.len(), 1).expect("a valid plan");
    let observer = Observer {
        checks: true,
        ..Observer::default()
    };
    let requests = scenario.requests.iter().cloned().map(Ok::<_, Infallible>);
    run(&RunConfig { faults, ..config }, requests, observer).expect("it ends")
}

/// The first request's record without faults, and with them.
fn both(scenario: &Scenario, plan: &str) -> (RequestRecord, RunResult) {
    (with(scenario, "").records[0], with(scenario, plan))
}

/// Equal but for less than a microsecond: factors are rounded.
fn near(found: Nanos, expected: Nanos) -> bool {
    found.0.abs_diff(expected.0) < 1_000
}

#[test]
fn a_slow_node_takes_so_many_times_as_long() {
    let scenario = scenario(1, 1, 100.0, vec![request(0, 300, 50)]);
    let slow = |node: u32, at: f64| {
        format!(
            "[[faults]]\nkind = \"slow\"\nat_s = {at:?}\nfor_s = 100\nnode = {node}\nfactor = 3"
        )
    };
    let (before, after) = both(&scenario, &slow(0, 0.0));
    assert!(near(after.records[0].prefill, before.prefill * 3));
    assert_eq!(after.records[0].decode, before.decode);

    let (before, after) = both(&scenario, &slow(1, 0.0));
    assert_eq!(after.records[0].prefill, before.prefill);
    let (was, is) = (
        before.tbt.expect("tokens"),
        after.records[0].tbt.expect("tokens"),
    );
    assert!(near(is, was * 3), "{is} after {was}");

    // From the middle on: the longest tenth of the gaps is all slow, and the whole is less than three times.
    let (before, after) = both(&scenario, &slow(1, 0.12));
    let (was, is) = (
        before.decode.expect("done"),
        after.records[0].decode.expect("done"),
    );
    assert!(is > was * 3 / 2 && is < was * 3, "{is} after {was}");
}

#[test]
fn a_crash_costs_the_attempt_and_the_cache_and_the_request_is_served_when_the_node_is_back() {
    let scenario = scenario(
        1,
        1,
        100.0,
        vec![request(0, 300, 50), request(4_000, 300, 1)],
    );
    let crash = |node: u32| {
        format!(
            "detect_s = 0.01\n[[faults]]\nkind = \"crash\"\nat_s = 0.02\nfor_s = 2\nnode = {node}\n\
             [[faults]]\nkind = \"crash\"\nat_s = 3\nfor_s = 0.5\nnode = {node}"
        )
    };
    for node in [0, 1] {
        let result = with(&scenario, &crash(node));
        let (first, second) = (result.records[0], result.records[1]);
        assert_eq!((first.outcome, first.lost), (Outcome::Completed, 1));
        // Told at 30 ms that nobody is there, and so again each second; back at 2.02 s.
        let waited = Nanos::from_millis(2_030);
        assert_eq!(result.faults.resubmitted_later, 2);
        assert!(first.ttft.is_some_and(|ttft| ttft > waited));
        assert_eq!(first.earlier.count, 1);
        let hits = if node == 0 { 0 } else { 18 };
        assert_eq!(
            second.hit_blocks, hits,
            "a prefill node's cache is gone, and only that"
        );
    }
}

#[test]
fn a_request_that_loses_all_its_attempts_is_turned_away_and_so_is_one_that_waits_for_a_node_in_vain()
 {
    let crashes: String = (0..5)
        .map(|i| {
            // Given in again a second after each crash, and lost 10 ms later.
            let at = 0.02 + 1.01 * f64::from(i);
            format!("[[faults]]\nkind = \"crash\"\nat_s = {at}\nfor_s = 0.5\nnode = 1\n")
        })
        .collect();
    let mut scenario = scenario(1, 1, 100.0, vec![request(0, 300, 1_000)]);
    scenario.policy = "[lost]\nattempts_max = 3\n".into();
    let plan = format!("detect_s = 0\n{crashes}");
    let result = with(&scenario, &plan);
    let record = result.records[0];
    let reason = RejectReason::TooManyAttempts;
    assert_eq!(
        (record.outcome, record.lost),
        (Outcome::Rejected(reason), 2)
    );
    assert_eq!((result.counters.lost, result.counters.given_up), (3, 1));
    assert!(
        record.wasted_prefill() > record.earlier.time,
        "the last one too"
    );

    scenario.policy = "[lost]\nwait_s = 5\n".into();
    let plan = "detect_s = 0\n[[faults]]\nkind = \"crash\"\nat_s = 0.02\nfor_s = 20\nnode = 1\n";
    let result = with(&scenario, plan);
    let reason = RejectReason::NoDecodeNode;
    assert_eq!(result.records[0].outcome, Outcome::Rejected(reason));
    // Asked at 0.02 s, and once a second for as long as it waits.
    assert_eq!(
        (result.records[0].lost, result.faults.resubmitted_later),
        (1, 5)
    );
}

#[test]
fn a_node_that_is_back_before_anybody_noticed_has_lost_its_work_all_the_same() {
    let scenario = scenario(2, 1, 100.0, vec![request(0, 300, 50)]);
    let plan = "detect_s = 1\n[[faults]]\nkind = \"crash\"\nat_s = 0.02\nfor_s = 0.5\nnode = 0";
    let result = with(&scenario, plan);
    assert_eq!(
        (result.faults.unseen_restarts, result.records[0].lost),
        (1, 1)
    );
    assert!(result.records[0].ttft > Some(Nanos::from_millis(520)));
    // Where it is noticed at once, the other node takes over at once.
    let result = with(&scenario, &plan.replace("detect_s = 1", "detect_s = 0"));
    assert_eq!(
        (result.faults.unseen_restarts, result.records[0].lost),
        (0, 1)
    );
    assert!(result.records[0].ttft < Some(Nanos::from_millis(120)));
    assert_eq!(result.records[0].placed, Some((NodeId(1), NodeId(2))));
}

#[test]
fn a_short_cut_delays_a_transfer_and_a_long_one_costs_the_attempt() {
    // The prefill ends at some 40 ms; then 300 kB of KV take 300 ms.
    let scenario = scenario(1, 1, 0.001, vec![request(0, 300, 2)]);
    let cut = |length: f64| {
        format!(
            "patience_s = 0.5\n[[faults]]\nkind = \"link\"\nat_s = 0.1\nfor_s = {length:?}\nnode = 1\npart = 0.0"
        )
    };
    let (before, short) = both(&scenario, &cut(0.25));
    let (was, is) = (
        before.decode.expect("done"),
        short.records[0].decode.expect("done"),
    );
    assert!(near(is, was + Nanos::from_millis(250)), "{is} after {was}");
    assert_eq!(short.records[0].lost, 0);
    let (_, long) = both(&scenario, &cut(0.75));
    assert_eq!((long.records[0].lost, long.faults.failed_transfers), (1, 1));
    assert_eq!(long.records[0].outcome, Outcome::Completed);
    // Slower is not cut: half as fast takes twice as long.
    let slow = cut(100.0)
        .replace("part = 0.0", "part = 0.5")
        .replace("at_s = 0.1", "at_s = 0.0");
    let (before, slow) = both(&scenario, &slow);
    let (was, is) = (
        before.decode.expect("done"),
        slow.records[0].decode.expect("done"),
    );
    assert!(
        is > was + Nanos::from_millis(250) && slow.records[0].lost == 0,
        "{is} after {was}"
    );
}

#[test]
fn a_conductor_that_restarts_knows_the_caches_again_and_serves_who_was_inside() {
    let scenario = scenario(
        1,
        1,
        100.0,
        vec![request(0, 300, 50), request(10_000, 300, 1)],
    );
    let result = with(
        &scenario,
        "[[faults]]\nkind = \"restart-conductor\"\nat_s = 0.1",
    );
    let (first, second) = (result.records[0], result.records[1]);
    assert_eq!((first.outcome, first.lost), (Outcome::Completed, 1));
    assert_eq!(
        (first.earlier.hit_blocks, first.hit_blocks),
        (0, 18),
        "its own blocks"
    );
    assert_eq!(second.hit_blocks, 18);
    assert_eq!(result.counters.lost, 1);
}

#[test]
fn a_client_that_goes_is_served_no_further() {
    let scenario = scenario(1, 1, 100.0, vec![request(0, 300, 50), request(10, 300, 50)]);
    for (millis, ttft) in [(15, false), (30, false), (150, true)] {
        let plan = format!(
            "[[faults]]\nkind = \"cancel\"\nat_s = {:?}\nrequest = 1",
            f64::from(millis) / 1000.0
        );
        let (alone, result) = both(&scenario, &plan);
        let gone = result.records[1];
        assert_eq!(gone.outcome, Outcome::Cancelled);
        assert_eq!(
            gone.inside,
            Nanos::from_millis(u64::try_from(millis).expect("positive") - 10)
        );
        assert_eq!(gone.ttft.is_some(), ttft, "{millis} ms");
        assert_eq!(result.records[0].outcome, Outcome::Completed);
        assert!(
            result.records[0].e2e() <= alone.e2e(),
            "nobody waits for who is gone"
        );
        assert_eq!((result.faults.cancelled, result.counters.cancelled), (1, 1));
    }
    // Who has an answer stays answered.
    let (_, late) = both(
        &scenario,
        "[[faults]]\nkind = \"cancel\"\nat_s = 100\nrequest = 1",
    );
    assert_eq!(late.records[1].outcome, Outcome::Completed);
}

#[test]
fn after_a_lost_report_the_conductor_is_wrong_until_the_node_reports_all() {
    let requests = || vec![request(0, 300, 1), request(500, 300, 1)];
    let plan = |resync: f64| {
        format!(
            "resync_s = {resync:?}\n[[faults]]\nkind = \"lose-reports\"\nat_s = 0\nfor_s = 0.4\nnode = 0\nshare = 1.0"
        )
    };
    // Of two nodes the one with the prompt is taken only if the Conductor knows; else the one that is idle longer.
    let scenario = scenario(2, 1, 100.0, requests());
    let node = |plan: &str| with(&scenario, plan).records[1].placed.expect("served").0;
    assert_eq!(node(""), NodeId(0));
    assert_eq!(node(&plan(0.1)), NodeId(0), "reported again in time");
    assert_eq!(node(&plan(5.0)), NodeId(1), "nobody knows");
    let result = with(&scenario, &plan(0.1));
    assert_eq!((result.faults.lost_reports, result.faults.resyncs), (1, 1));
}
