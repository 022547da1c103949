//! Links in whole runs and alone: nothing arrives before it could have been sent, and who shares a link shares it.

use crate::clusters::{BLOCK, Scenario, profile};
use conductor_core::units::{Bytes, Nanos, Tokens};
use conductor_core::workload::WorkloadRequest;
use conductor_sim::network::{FlowId, LinkId, Network};
use conductor_sim::{Mode, RunResult};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// KV bytes of a token in the test profile.
const TOKEN: u64 = 1000;

/// `count` equal requests at once, each to a prefill node of its own, all to one decode node.
fn at_once(count: u64, input: u64, profile: String) -> RunResult {
    let request = WorkloadRequest {
        class: conductor_core::ids::ClassId::default(),
        workflow: None,
        arrival: Nanos::ZERO,
        input: Tokens(input),
        output: Tokens(2),
        blocks: Vec::new(),
    };
    let scenario = Scenario {
        profile,
        cluster: format!(
            "name = \"links\"\nprofile = \"small\"\nblock_tokens = {BLOCK}\n\
             [[nodes]]\ncount = {count}\nrole = \"prefill\"\n\
             [[nodes]]\ncount = 1\nrole = \"decode\"\nhbm_kv_tokens = 100000\n"
        ),
        policy: "[prefill]\nselect = \"round-robin\"\n".to_string(),
        seed: 1,
        requests: vec![request; count as usize],
    };
    scenario.run(Mode::FastForward)
}

/// The time that `bytes` take at `gbytes` (10^9 a second).
fn time(bytes: f64, gbytes: f64) -> f64 {
    bytes / gbytes / 1e9
}

fn assert_close(found: f64, expected: f64) {
    // Rates are whole bytes a second and times whole nanoseconds.
    assert!(
        (found - expected).abs() < 1e-6,
        "{found} s, expected {expected} s"
    );
}

#[test]
fn a_stream_alone_takes_its_bytes_over_the_bandwidth() {
    for layers in 1..5 {
        for nic in [0.001, 0.004, 0.05, 10.0] {
            let result = at_once(1, 200, profile(false, nic, 100.0, layers));
            let bytes = 200.0 * TOKEN as f64;
            let prefill = result.records[0].prefill.as_secs_f64();
            // All layers but the last leave during the prefill if the link is fast enough for that.
            let early = bytes * f64::from(layers - 1) / f64::from(layers);
            let sent = early.min(prefill * nic * 1e9);
            let expected = time(bytes - sent, nic);
            assert_close(result.transfers().time.as_secs_f64(), expected);
            assert_eq!(result.transfers().bytes, Bytes(200 * TOKEN));
        }
    }
}

#[test]
fn streams_into_one_node_share_its_link() {
    for count in 1..5_u64 {
        let (nic, input) = (0.002, 150);
        let result = at_once(count, input, profile(false, nic, 100.0, 4));
        let prefill = result.records[0].prefill.as_secs_f64();
        let together = time((count * input * TOKEN) as f64, nic) - prefill;
        // The link is full from the first byte on, so all end when it has carried all.
        assert_close(
            result.transfers().time.as_secs_f64(),
            together * count as f64,
        );
    }
}

/// However small the KV and however long the prefill: the last layer's KV is made at its end.
#[test]
fn no_stream_ends_before_its_prefill() {
    let slow = profile(false, 1.0, 1.0, 1)
        .replace("kv_bytes_per_token = 1000", "kv_bytes_per_token = 1")
        .replace("base_s = 1.3e-3", "base_s = 5.0");
    let result = at_once(1, 3, slow);
    assert!(result.records[0].ttft > Some(Nanos::from_secs(5)));
    assert!(result.records[0].e2e() > result.records[0].ttft);
    // Three bytes at a gigabyte a second.
    assert!(
        result.transfers().time <= Nanos(3),
        "{}",
        result.transfers().time
    );
}

proptest! {
    #[test]
    fn no_flow_ends_before_its_data_could_be_sent(
        capacity in proptest::collection::vec(1_000_u64..1_000_000, 2..5),
        flows in proptest::collection::vec((0_u64..2_000_000_000, 0_u32..5, 0_u32..5, 1_u64..1_000_000), 1..20),
    ) {
        let links = capacity.len() as u32;
        let mut network = Network::new(capacity.clone());
        let mut to_start: Vec<_> = flows.iter().map(|&(at, a, b, size)| {
            (Nanos(at), [LinkId(a % links), LinkId(b % links)], size)
        }).collect();
        to_start.sort_unstable();
        to_start.reverse();
        // Start, path and size of what is under way.
        let mut flying: BTreeMap<FlowId, (Nanos, [LinkId; 2], u64)> = BTreeMap::new();
        let (mut carried, mut ended) = (vec![0_u128; capacity.len()], 0);
        loop {
            let next_end = network.next_end();
            let now = match (next_end, to_start.last()) {
                (Some((end, flow)), next) if next.is_none_or(|next| end <= next.0) => {
                    let (start, path, size) = flying.remove(&flow).expect("it was started");
                    network.end(end, flow);
                    ended += 1;
                    for link in path {
                        let least = u128::from(size) * 1_000_000_000 / u128::from(capacity[link.0 as usize]);
                        prop_assert!(u128::from((end - start).0) >= least);
                    }
                    carried[path[0].0 as usize] += u128::from(size);
                    if path[1] != path[0] {
                        carried[path[1].0 as usize] += u128::from(size);
                    }
                    end
                }
                (_, Some(&(at, path, size))) => {
                    to_start.pop();
                    let flow = network.start(at, path, Bytes(size), None);
                    flying.insert(flow, (at, path, size));
                    at
                }
                (_, None) => break,
            };
            for (link, &capacity) in capacity.iter().enumerate() {
                let on = |path: &[LinkId; 2]| path.iter().any(|on| on.0 as usize == link);
                let rates = flying.iter().filter(|(_, (_, path, _))| on(path)).map(|(&flow, _)| network.rate(flow));
                prop_assert!(rates.sum::<u64>() <= capacity, "a link gives no more than it has");
                let most = u128::from(capacity) * u128::from(now.0) / 1_000_000_000;
                prop_assert!(carried[link] <= most + 1, "nor has it over all time");
            }
        }
        prop_assert_eq!(ended, flows.len());
    }
}
