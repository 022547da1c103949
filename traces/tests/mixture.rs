//! What holds for every mixture of populations: shares, separate draws, rates and lengths, and what is refused.

use conductor_core::ids::BlockHash;
use conductor_core::units::Nanos;
use conductor_core::workload::WorkloadRequest;
use conductor_traces::generate::{GenerateOptions, Workload};
use std::collections::BTreeMap;

/// Three populations, told apart by their answers: of 1 token to single prompts, of 2 and of 3 to sessions.
const MIXTURE: &str = "\
name = \"mixed\"
rate = 10
requests = 1000
block_tokens = 512
[arrivals]
process = \"poisson\"
warmup_s = 100
[[populations]]
name = \"single\"
weight = 2
templates = [{blocks = 2, weight = 1}]
[populations.start]
input = {edges = [1000, 2000, 3000], counts = [9, 1]}
output = [1]
[[populations]]
name = \"talk\"
weight = 1
templates = [{blocks = 1, weight = 1}]
[populations.start]
input = [600, 5000]
output = [2]
classes = [{below = 1000000, continues = 0.8, next = {reply = 1, attach = 0, rewrite = 0, retry = 0}}]
[populations.turns]
max_input = 1000000
likeness = {output = 0, gap = 0, tokens = 0}
reply = {gap_s = [5], tokens = [100], output = [2], continues = [0.8], next = {reply = 1, attach = 0, rewrite = 0, retry = 0}}
attach = {gap_s = [5], tokens = [100], output = [2], continues = [0], next = {reply = 1, attach = 0, rewrite = 0, retry = 0}}
rewrite = {gap_s = [5], tokens = [100], output = [2], continues = [0], next = {reply = 1, attach = 0, rewrite = 0, retry = 0}}
retry = {gap_s = [5], tokens = [100], output = [2], continues = [0], next = {reply = 1, attach = 0, rewrite = 0, retry = 0}}
kept = {share = [0.5], growth = [1]}
[[populations]]
name = \"bare\"
weight = 1
[populations.start]
input = [10, 400]
output = [3]
";

fn mixture() -> Workload {
    Workload::from_toml(MIXTURE).expect("valid")
}

fn some(workload: &Workload, seed: u64, requests: u64) -> Vec<WorkloadRequest> {
    let options = GenerateOptions {
        requests: Some(requests),
        ..GenerateOptions::default()
    };
    workload.generate(seed, &options).collect()
}

fn of(rows: &[WorkloadRequest], output: u64) -> Vec<&WorkloadRequest> {
    rows.iter().filter(|row| row.output.0 == output).collect()
}

#[test]
fn weights_are_shares_of_requests_at_any_rate() {
    let workload = mixture();
    for rate in [1.0, 10.0, 300.0] {
        let options = GenerateOptions {
            requests: Some(20_000),
            rate: Some(rate),
            ..GenerateOptions::default()
        };
        let rows: Vec<_> = workload.generate(1, &options).collect();
        let reached = rows.len() as f64 / rows[rows.len() - 1].arrival.as_secs_f64();
        assert!((reached / rate - 1.0).abs() < 0.06, "{rate} {reached}");
        for (output, share) in [(1, 0.5), (2, 0.25), (3, 0.25)] {
            let found = of(&rows, output).len() as f64 / rows.len() as f64;
            assert!((found - share).abs() < 0.01, "{rate}: {output}: {found}");
        }
    }
    // (2 + 1 + 1) requests in 2 + 1/5 + 1 sessions: talks have 1 / (1 - 0.8) turns.
    assert!((workload.turns_per_session() - 4.0 / 3.2).abs() < 1e-9);
}

#[test]
fn populations_share_no_blocks_with_each_other() {
    let rows = some(&mixture(), 2, 5000);
    let mut owner: BTreeMap<BlockHash, u64> = BTreeMap::new();
    for row in &rows {
        for block in &row.blocks {
            assert_eq!(*owner.entry(*block).or_insert(row.output.0), row.output.0);
        }
    }
    for (output, template) in [(1, 2), (2, 1)] {
        let same = of(&rows, output);
        // The shortest prompts end within the template.
        let first = same
            .iter()
            .max_by_key(|row| row.blocks.len())
            .expect("some");
        for row in &same {
            let shared = template.min(row.blocks.len());
            assert_eq!(row.blocks[..shared], first.blocks[..shared]);
        }
    }
}

#[test]
fn one_population_does_not_shift_the_draws_of_another() {
    let plain = mixture();
    let mut other = mixture();
    let talk = &mut other.populations[1];
    talk.weight = 3.0;
    talk.start.classes[0].continues = 0.1;
    let (plain, other) = (some(&plain, 3, 4000), some(&other, 3, 4000));
    for output in [1, 3] {
        let inputs = |rows: &[WorkloadRequest]| -> Vec<u64> {
            let rows = of(rows, output);
            rows.iter().map(|row| row.input.0).collect()
        };
        let (left, right) = (inputs(&plain), inputs(&other));
        // What comes before the first request that is handed out is another number of sessions.
        let skip = |long: &[u64], short: &[u64]| {
            (0..long.len() - 100).any(|from| long[from..from + 100] == short[..100])
        };
        assert!(skip(&left, &right) || skip(&right, &left));
    }
}

#[test]
fn memory_is_that_of_live_sessions() {
    let options = GenerateOptions {
        requests: Some(100_000),
        ..GenerateOptions::default()
    };
    let mut generator = mixture().generate(4, &options);
    let mut last = Nanos::ZERO;
    // What is printed holds all that is kept.
    let mut size_after = |rows: usize| {
        for row in generator.by_ref().take(rows) {
            assert!(row.arrival >= last);
            last = row.arrival;
        }
        format!("{generator:?}").len()
    };
    let (early, late) = (size_after(2_000), size_after(97_000));
    assert!(late < early * 3 / 2, "{early} {late}");
}

#[test]
fn what_is_written_is_read_back() {
    for workload in [
        mixture(),
        Workload::builtin("kimi-toolagent").expect("valid"),
    ] {
        assert_eq!(
            Workload::from_toml(&workload.to_toml()).expect("valid"),
            workload
        );
    }
}

#[test]
fn calibration_reaches_the_hit_ratio() {
    let ratio = |workload: &Workload| {
        let rows = some(workload, 9, 4000);
        conductor_traces::stats::Stats::of(&rows, conductor_core::units::Tokens(512))
            .hit_ratio_blocks_ideal
    };
    let mut workload = mixture();
    workload.requests = 4000;
    let target = ratio(&workload) - 0.05;
    assert!((ratio(&workload.calibrated(target)) - target).abs() < 0.02);
    // Where nothing goes on there is nothing to tune.
    workload.populations.remove(1);
    assert_eq!(workload.calibrated(0.9), workload);
    assert_eq!(mixture().calibrated(0.0), mixture());
}

#[test]
fn a_wrong_mixture_says_line_or_key() {
    for (from, to, expected) in [
        (
            "name = \"single\"",
            "name = \"single\"\ncolour = 1",
            "line 10: unknown field `colour`",
        ),
        ("weight = 2\n", "", "line 8: missing field `weight`"),
        (
            "weight = 2\n",
            "weight = 0\n",
            "`populations[0].weight`: expected a weight above 0, found 0",
        ),
        (
            "weight = 2\n",
            "weight = nan\n",
            "`populations[0].weight`: expected a weight above 0, found NaN",
        ),
        (
            "blocks = 2",
            "blocks = 0",
            "`populations[0].templates[0].blocks`: expected 1 to 65536 blocks, found 0",
        ),
        (
            "counts = [9, 1]",
            "count = [9, 1]",
            "line 13: unknown field `count`, expected `edges` or `counts`",
        ),
        ("counts = [9, 1]", "", "line 13: missing field `counts`"),
        (
            "input = [10, 400]",
            "input = 10",
            "expected a list of quantiles, or a histogram with `edges` and `counts`",
        ),
        (
            "counts = [9, 1]",
            "counts = [9]",
            "`populations[0].start.input`: expected a histogram with one count from 0 to 1e15 in each bin",
        ),
        (
            "counts = [9, 1]",
            "counts = [0, 0]",
            "`populations[0].start.input`: expected a histogram with one count from 0 to 1e15 in each bin",
        ),
        (
            "edges = [1000, 2000, 3000]",
            "edges = [1000, 3000, 2000]",
            "`populations[0].start.input`: expected a histogram with 2 to 100 finite edges in ascending order",
        ),
        (
            "edges = [1000, 2000, 3000]",
            "edges = [0, 2000, 3000]",
            "`populations[0].start.input`: expected quantiles within the range of the quantity, found 0 to 3000",
        ),
        (
            "continues = [0.8]",
            "continues = [1.0]",
            "`populations[1].turns.reply.continues`: expected a probability from 0 to 0.999",
        ),
        (
            "[[populations]]\nname = \"single\"",
            "[start]\ninput = [1]\noutput = [1]\n[[populations]]\nname = \"single\"",
            "`start`: expected none beside `populations`",
        ),
        (
            "block_tokens = 512\n",
            "block_tokens = 512\ntemplates = [{blocks = 1, weight = 1}]\n",
            "`templates`: expected none beside `populations`",
        ),
    ] {
        assert!(MIXTURE.contains(from), "{from}");
        let message = Workload::from_toml(&MIXTURE.replacen(from, to, 1))
            .expect_err(to)
            .to_string();
        assert!(message.contains(expected), "{to}: {message}");
        assert!(!message.contains('\n'), "{message}");
    }
    let nothing = MIXTURE.split("[[populations]]").next().expect("a head");
    assert_eq!(
        Workload::from_toml(nothing).expect_err("empty").to_string(),
        "`start`: expected a table `start`, or `populations`, found neither"
    );
}
