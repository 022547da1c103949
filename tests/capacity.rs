//! `conductor capacity`: loads, nodes, splits and other settings, their confidence, and what tokens cost.

use crate::common::{file, stdout};
use serde_json::Value;
use std::path::Path;

fn json(args: &[&str], folder: &Path) -> Value {
    let text = stdout(&[&["capacity"], args, &["--json"]].concat(), folder);
    serde_json::from_str(&text).expect("one JSON document")
}

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("a number, not {value}"))
}

/// Seeds on which a try held, found by what was tried.
fn holding(answer: &Value, value: &Value) -> (bool, u64) {
    let tries = answer["tries"].as_array().expect("a list");
    let tried = tries
        .iter()
        .find(|tried| tried["value"] == *value)
        .expect("it was tried");
    (
        tried["holds"].as_bool().expect("yes or no"),
        tried["holding"].as_u64().expect("a count"),
    )
}

#[test]
fn a_load_is_the_last_that_enough_seeds_hold() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let args = [
        "--requests",
        "300",
        "--clusters",
        "2p2d,6p6d",
        "--seeds",
        "5",
        "--tolerance",
        "0.2",
    ];
    let found = json(&args, folder.path());
    assert_eq!(found["confidence"]["needed"], 5);
    assert!((number(&found["confidence"]["confidence"]) - 0.96875).abs() < 1e-9);
    let clusters = found["capacity"].as_array().expect("a list");
    for answer in clusters {
        let (value, fails) = (&answer["value"], &answer["fails"]);
        assert!(number(fails) > number(value) && number(fails) <= number(value) * 1.2);
        assert_eq!(holding(answer, value), (true, 5));
        let (holds, seeds) = holding(answer, fails);
        assert!(!holds && seeds < 5);
        // Beyond, no seed is left: with five that refutes it. Not far below, one is.
        let refuted = number(&answer["refuted"]);
        assert_eq!(holding(answer, &answer["refuted"]), (false, 0));
        assert!(refuted >= number(fails));
        let tries = answer["tries"].as_array().expect("a list").iter();
        let open = tries.filter(|tried| tried["holding"].as_u64() > Some(0));
        let open = open
            .map(|tried| number(&tried["value"]))
            .fold(0.0, f64::max);
        assert!(open < refuted && refuted <= open * 1.2);
        assert!(answer["cost"].is_null());
    }
    let rps = |answer: &Value| number(&answer["requests_per_s"]["mean"]);
    assert!(rps(&clusters[1]) > 1.5 * rps(&clusters[0]));
    // How many runs go on at once changes nothing.
    assert_eq!(
        json(&[&args[..], &["--jobs", "1"]].concat(), folder.path()),
        found
    );
    let table = stdout(&[&["capacity"], &args[..]].concat(), folder.path());
    for expected in [
        "a800-6p6d",
        "effective_ratio is at least 0.9",
        "Confidence 96.9 %",
        "5 of 5",
    ] {
        assert!(table.contains(expected), "{expected}: {table}");
    }
}

/// The fewest nodes hold, one node fewer does not whatever its split, and each of those was tried or is smaller than
/// one that failed.
#[test]
fn the_fewest_nodes_are_the_fewest_of_any_split() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let load = ["--requests", "500", "--fewest-nodes", "--most-nodes", "20"];
    let free = &json(&load, folder.path())["capacity"][0];
    let nodes = number(&free["value"]) as u64;
    let split = |name: &str| {
        let shape = name
            .strip_prefix("a800-")
            .and_then(|name| name.strip_suffix('d'));
        let (p, d) = shape
            .and_then(|shape| shape.split_once('p'))
            .expect("its shape");
        (
            p.parse::<u64>().expect("a count"),
            d.parse::<u64>().expect("a count"),
        )
    };
    let (p, d) = split(free["cluster"].as_str().expect("a name"));
    assert_eq!(p + d, nodes);
    let tries = free["tries"].as_array().expect("a list");
    let failed: Vec<(u64, u64)> = tries
        .iter()
        .filter(|tried| tried["holds"] == false)
        .map(|tried| split(tried["cluster"].as_str().expect("a name")))
        .collect();
    for prefill in 1..nodes - 1 {
        let decode = nodes - 1 - prefill;
        assert!(
            failed.iter().any(|&(p, d)| p >= prefill && d >= decode),
            "{prefill}p{decode}d"
        );
    }
    let shares = json(&[&load[..], &["--keep-shares"]].concat(), folder.path());
    assert!(number(&shares["capacity"][0]["value"]) >= nodes as f64);
}

#[test]
fn the_best_split_is_what_trying_each_by_itself_gives() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let load = ["--requests", "400", "--tolerance", "0.1", "--seeds", "2"];
    let best = json(
        &[&load[..], &["--best-split", "--cluster", "3p2d"]].concat(),
        folder.path(),
    );
    let best = &best["capacity"][0];
    let each = json(
        &[&load[..], &["--clusters", "1p4d,2p3d,3p2d,4p1d"]].concat(),
        folder.path(),
    );
    let values = each["capacity"].as_array().expect("a list").iter();
    let largest = values
        .map(|answer| number(&answer["value"]))
        .fold(0.0, f64::max);
    assert!(
        (number(&best["value"]) / largest - 1.0).abs() <= 0.1,
        "{largest}"
    );
    assert_eq!(best["splits"].as_array().expect("a list").len(), 4);
    assert_eq!(
        best["fresh"]["seeds"][0]["seed"], 3,
        "fresh seeds are those behind"
    );
}

#[test]
fn any_setting_is_sought_from_either_side() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let args = [
        "--requests",
        "200",
        "--cluster",
        "2p2d",
        "--ttft-p90",
        "4",
        "--completed",
        "0.5",
        "--search",
    ];
    let largest = json(
        &[&args[..], &["workload.rate=0.2..20"]].concat(),
        folder.path(),
    );
    assert_eq!(
        (&largest["sought"], &largest["seek"]),
        (&"workload.rate".into(), &"largest".into())
    );
    let answer = &largest["capacity"][0];
    let rps = number(&answer["requests_per_s"]["mean"]);
    assert!(
        (rps / number(&answer["value"]) - 1.0).abs() < 0.3,
        "a rate is requests a second: {rps}"
    );
    let smallest = json(
        &[
            &args[..],
            &["cluster.nodes.prefill.count=1..32", "--smallest"],
        ]
        .concat(),
        folder.path(),
    );
    let answer = &smallest["capacity"][0];
    let nodes = number(&answer["value"]);
    assert!(nodes.fract().abs() < 1e-9 && number(&answer["fails"]) + 1.0 <= nodes + 1e-9);
}

#[test]
fn tokens_have_a_price_where_the_cluster_has() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let priced = |name: &str, price: u32| {
        let text = format!(
            "name = \"{name}\"\ncurrency = \"EUR\"\n[[nodes]]\ncount = 2\nrole = \"prefill\"\nprice_per_hour = {price}\n\
             [[nodes]]\ncount = 2\nrole = \"decode\"\nprice_per_hour = {price}\n"
        );
        file(folder.path(), &format!("{name}.toml"), text);
    };
    priced("dear", 10);
    priced("cheap", 5);
    let args = [
        "--requests",
        "200",
        "--tolerance",
        "0.3",
        "--clusters",
        "dear.toml,cheap.toml,2p2d",
    ];
    let found = json(&args, folder.path());
    let [dear, cheap, free] = &found["capacity"].as_array().expect("a list")[..] else {
        panic!("three clusters")
    };
    assert_eq!(dear["cost"]["per_hour"], 40.0);
    let cost = |answer: &Value, key: &str| number(&answer["cost"][key]);
    assert!(
        (cost(dear, "per_million_tokens") / cost(cheap, "per_million_tokens") - 2.0).abs() < 1e-9
    );
    // What is not within the limits is paid for too.
    assert!(cost(dear, "per_million_tokens_within") >= cost(dear, "per_million_tokens"));
    assert!(free["cost"].is_null());
    assert_eq!(
        (&dear["cheapest"], &cheap["cheapest"]),
        (&false.into(), &true.into())
    );
    let table = stdout(&[&["capacity"], &args[..]].concat(), folder.path());
    assert!(table.contains("EUR (cheapest)"), "{table}");
}
