//! What Prometheus reads.

use crate::bench::{COMPLETIONS, Setup};
use std::collections::{BTreeMap, BTreeSet};

/// Splits a sample into its name and its value.
fn sample(line: &str) -> (&str, &str) {
    let (name, value) = line.rsplit_once(' ').expect("a value");
    value.parse::<f64>().expect("a number");
    let bare = name.split('{').next().expect("a name");
    let family = ["_bucket", "_sum", "_count"];
    let family = family.iter().find_map(|end| bare.strip_suffix(end));
    (family.unwrap_or(bare), name)
}

#[tokio::test]
async fn every_sample_has_a_type_a_help_and_the_prefix_and_comes_once() {
    let bench = Setup::new().start().await;
    bench
        .post(COMPLETIONS, r#"{"model": "tiny", "prompt": "abc"}"#)
        .await;
    bench.post(COMPLETIONS, "nothing").await;
    bench.until_idle().await;
    let reply = bench.get("/metrics").await;
    assert_eq!(
        reply.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let (mut types, mut helps) = (BTreeMap::new(), BTreeSet::new());
    let mut seen = BTreeSet::new();
    for line in reply.body.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            helps.insert(rest.split_once(' ').expect("a help").0);
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert!(types.insert(name, kind).is_none(), "{name} comes twice");
        } else {
            let (family, name) = sample(line);
            assert!(family.starts_with("conductor_"), "{line}");
            assert!(
                types.contains_key(family) && helps.contains(family),
                "{line}"
            );
            assert_eq!(
                family.ends_with("_total"),
                types[family] == "counter",
                "{line}"
            );
            assert!(seen.insert(name), "{name} comes twice");
        }
    }
    for (name, value) in [
        ("conductor_requests_total{outcome=\"completed\"}", 1),
        ("conductor_requests_total{outcome=\"refused\"}", 1),
        ("conductor_errors_total{code=\"invalid-json\"}", 1),
        ("conductor_tokens_total{kind=\"prompt\"}", 3),
        ("conductor_tokens_total{kind=\"output\"}", 4),
        ("conductor_time_to_first_token_seconds_count", 1),
        ("conductor_time_between_tokens_seconds_count", 3),
        ("conductor_request_seconds_count", 1),
        ("conductor_live_requests", 0),
        ("conductor_nodes_up", 2),
        ("conductor_node_up{node=\"1\"}", 1),
        ("conductor_decisions_executed_total", 1),
        ("conductor_decisions_journaled_total", 1),
        ("conductor_differing_tokens_total", 0),
        ("conductor_journal_lost_lines_total", 0),
    ] {
        assert_eq!(bench.sample(name).await, value, "{name}");
    }
    bench.end().await;
}
