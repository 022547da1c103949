//! What the experiments of single figures need: a request alone, settings of some nodes, one pool, watched blocks.

use conductor_core::units::Tokens;
use conductor_experiments::inputs;
use conductor_experiments::{ExperimentReport, RunOptions, Spec, run, write_results};

fn ran(text: &str) -> Result<ExperimentReport, String> {
    let spec = Spec::parse(text).map_err(|error| error.to_string())?;
    run(&spec, &RunOptions::default()).map_err(|error| error.to_string())
}

const HEAD: &str = "name = \"x\"\ntitle = \"t\"\nsource = \"s\"\n";

#[test]
fn a_request_alone_is_reported_without_the_one_that_fills_the_cache() {
    let text = format!(
        "{HEAD}cluster = \"1p1d\"\npolicies = [\"kvcache-centric\"]\n\
         [workload]\nname = \"single-request\"\nprompt_tokens = 8192\noutput_tokens = 100\n\
         [set]\n\"cluster.block_tokens\" = 16\n\
         [[axes]]\nkey = \"workload.cached\"\nvalues = [0, 0.5]\n"
    );
    let report = ran(&text).expect("runs");
    let [whole, half] = &report.runs[..] else {
        panic!("two runs")
    };
    assert_eq!((whole.requests, half.requests), (1, 1));
    assert_eq!((whole.input_tokens, whole.output_tokens), (8_192, 100));
    assert!((half.hit_ratio_tokens - 0.5).abs() < 1e-9);
    assert!(half.parts_s.prefill < 0.7 * whole.parts_s.prefill);
    // Nothing else is there: no waiting, and the parts are all there is.
    for run in [whole, half] {
        let parts = &run.parts_s;
        assert!(parts.queue + parts.held + parts.fetch < 1e-9);
        assert!((parts.before_decode + parts.decode - run.e2e_s.mean).abs() < 1e-9);
        let alone = 8_192.0 * 327_680.0 / 87e9;
        assert!((run.transfer.streams.alone_s - alone).abs() < 1e-6);
    }
    for (wrong, expected) in [
        (
            text.replace("0.5]", "1.0]"),
            "`workload.cached`: expected a share from 0, below 1",
        ),
        (
            text.replace("single-request", "kimi-conversation"),
            "only the workload \"single-request\" has it",
        ),
    ] {
        let error = ran(&wrong).expect_err(expected);
        assert!(error.contains(expected), "{error}");
    }
}

/// An SSD needs two settings and compression three; only prefill nodes have some.
#[test]
fn settings_of_a_cluster_are_judged_together() {
    let text = |set: &str| {
        format!(
            "{HEAD}cluster = \"2p1d\"\npolicies = [\"kvcache-centric\"]\n\
             [workload]\nname = \"kimi-conversation\"\nrequests = 400\n[set]\n{set}\n"
        )
    };
    let ssd = "\"cluster.nodes.prefill.cache_tokens\" = 20_000\n\
               \"cluster.nodes.prefill.ssd_tokens\" = 1_000_000\n\
               \"cluster.nodes.prefill.ssd_gbytes_per_s\" = 6\n";
    let report = ran(&text(ssd)).expect("runs");
    assert!(report.runs[0].tiers.ssd.hit_ratio_blocks > 0.0);
    let kv = "\"cluster.kv.compression\" = 4\n\"cluster.kv.compress_gbytes_per_s\" = 100\n\
              \"cluster.kv.decompress_gbytes_per_s\" = 100\n";
    let (plain, compressed) = (ran(&text("")).expect("runs"), ran(&text(kv)).expect("runs"));
    // Whatever the order of the settings, KV is compressed once.
    let per_stream = |report: &ExperimentReport| {
        let streams = report.runs[0].transfer.streams;
        streams.gb / streams.count as f64
    };
    let factor = per_stream(&plain) / per_stream(&compressed);
    assert!((factor - 4.0).abs() < 1e-3, "{factor}");
    for (set, expected) in [
        (
            "\"cluster.nodes.prefill.ssd_tokens\" = 1_000_000",
            "`cluster.nodes.prefill.ssd_tokens`: an SSD needs it",
        ),
        (
            "\"cluster.nodes.ssd_tokens\" = 1\n\"cluster.nodes.ssd_gbytes_per_s\" = 1",
            "only prefill nodes have it",
        ),
        ("\"cluster.kv.compression\" = 4", "missing field"),
    ] {
        let error = ran(&text(set)).expect_err(expected);
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn one_pool_has_a_report_of_its_own() {
    let text = format!(
        "{HEAD}kind = \"pool\"\n[workload]\nname = \"kimi-conversation\"\nrequests = 400\n\
         [[axes]]\nkey = \"pool.sub_block\"\nvalues = [false, true]\n\
         [[axes]]\nkey = \"pool.capacity_tokens\"\nvalues = [50_000, \"inf\"]\n\
         [[published]]\nseries = \"s\"\nx = 1\nat = {{ sub_block = true, capacity_tokens = \"inf\" }}\n\
         metric = \"hit_ratio_tokens\"\nscale = 100\nvalue = 40\nunit = \"%\"\nsource = \"s\"\n"
    );
    let report = ran(&text).expect("runs");
    assert!(report.runs.is_empty());
    let hits: Vec<f64> = report
        .pools
        .iter()
        .map(|pool| pool.hit_ratio_tokens)
        .collect();
    assert_eq!(report.pools[0].requests, 400);
    // Larger pools hit more, and the rule adds.
    assert!(
        hits[0] < hits[1] && hits[0] < hits[2] && hits[1] < hits[3],
        "{hits:?}"
    );
    assert!((report.points[0].simulated - 100.0 * hits[3]).abs() < 1e-9);
    let dir = tempfile::tempdir().expect("a folder");
    let folder = write_results(dir.path(), &report).expect("written");
    let raw = std::fs::read_to_string(folder.join("raw.csv")).expect("raw.csv");
    assert!(
        raw.starts_with("axis sub_block,axis capacity_tokens,"),
        "{raw}"
    );
    assert_eq!(raw.lines().count(), 5);
    let error = ran(&text.replace("\"inf\"", "0")).expect_err("no capacity");
    assert!(
        error.contains("expected a whole number from 1, or inf"),
        "{error}"
    );
}

#[test]
fn watched_blocks_are_in_the_report_and_in_a_table() {
    let text = format!(
        "{HEAD}cluster = \"3p1d\"\npolicies = [\"round-robin\"]\n\
         [workload]\nname = \"kimi-toolagent\"\nrequests = 200\n\
         [watch]\nranks = [1, 500]\nperiod_s = 10\n\
         [[plots]]\nfile = \"copies\"\nkind = \"replicas\"\ntitle = \"t\"\n"
    );
    let report = ran(&text).expect("runs");
    let copies = &report.runs[0].replicas;
    assert_eq!(copies.len(), 2);
    // Nearly half of all prompts begin with the commonest block: soon all three nodes have it.
    assert_eq!((copies[0].max, copies[0].last), (3, 3));
    assert!(copies[1].max <= 3);
    let dir = tempfile::tempdir().expect("a folder");
    let folder = write_results(dir.path(), &report).expect("written");
    let table = std::fs::read_to_string(folder.join("replicas.csv")).expect("replicas.csv");
    assert!(
        table.starts_with("cell,seed,rank,time_s,replicas\npolicy round-robin"),
        "{table}"
    );
    let error = ran(&text.replace("500]", "5000000]")).expect_err("fewer blocks");
    assert!(
        error.contains("watch.ranks: expected ranks of which the workload has blocks"),
        "{error}"
    );
}

/// Blocks of another size are no reason to compress KV twice.
#[test]
fn a_cluster_compresses_once_whatever_its_blocks() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("kv.toml");
    let text = "name = \"kv\"\n[[nodes]]\ncount = 1\nrole = \"prefill\"\n[[nodes]]\ncount = 1\nrole = \"decode\"\n\
                [kv]\ncompression = 4\ncompress_gbytes_per_s = 100\ndecompress_gbytes_per_s = 100\n";
    std::fs::write(&path, text).expect("written");
    let path = path.to_str().expect("a plain path");
    let as_written = inputs::cluster(path, None).expect("valid");
    assert_eq!(
        inputs::cluster(path, Some(Tokens(512))).expect("valid"),
        as_written
    );
    let small = inputs::cluster(path, Some(Tokens(64))).expect("valid");
    assert_eq!(small.profiles, as_written.profiles);
}
