//! Runs that are kept: done once, shared, resumed, put together from shards, and found when they are damaged.

use conductor_experiments::{
    Ended, Meter, RunOptions, Shard, Spec, results::TIMING_FILE, run_all, write_results,
};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Four runs of two seeds each, a plot of distributions and one of loads.
const PLAIN: &str = r#"
name = "plain"
title = "Plain"
source = "nowhere"
cluster = "2p1d"
policies = ["random", "kvcache-centric+early"]
seeds = 2
[workload]
name = "kimi-conversation"
requests = 200
[[axes]]
key = "workload.rate"
values = [1.0, 4.0]
[[published]]
series = "a"
x = 1
at = { rate = 1.0, policy = "random" }
metric = "ttft_s.mean"
value = 1.0
unit = "s"
source = "made up, \"here\""
[[plots]]
file = "cdf"
kind = "cdf"
title = "t"
metric = "ttft_s"
x_label = "x"
by = "policy"
at = { rate = 4.0 }
[[plots]]
file = "loads"
kind = "loads"
title = "t"
panels = "policy"
at = { rate = 4.0 }
"#;

/// The same runs under another name, and two more.
const WIDER: &str = r#"
name = "wider"
title = "Wider"
source = "nowhere"
cluster = "2p1d"
policies = ["random", "kvcache-centric+early"]
seeds = 2
[workload]
name = "kimi-conversation"
requests = 200
[[axes]]
key = "workload.rate"
values = [1.0, 2.0, 4.0]
[[checks]]
id = "order"
what = "random is slower"
kind = "order"
metric = "ttft_s.mean"
over = "policy"
values = ["random", "kvcache-centric+early"]
at = { rate = 2.0 }
"#;

/// A fit that two runs need.
const FITTED: &str = r#"
name = "fitted"
title = "Fitted"
source = "nowhere"
cluster = "2p1d"
policies = ["random", "kvcache-centric"]
[workload]
name = "kimi-conversation"
requests = 200
output_tokens = 1
[[axes]]
key = "workload.speed"
values = ["fitted"]
[fit]
key = "workload.speed"
at = { policy = "kvcache-centric" }
metric = "ttft_s.mean"
target = 20
tolerance = 2
low = 0.1
high = 4
"#;

/// A search with limits that are made of what others give, and watched blocks.
const SOUGHT: &str = r#"
name = "sought"
title = "Sought"
source = "nowhere"
cluster = "2p1d"
policies = ["random", "kvcache-centric"]
seeds = 2
[workload]
name = "kimi-conversation"
requests = 200
[watch]
ranks = [1, 10]
period_s = 30
[search]
key = "workload.rate"
low = 0.5
high = 8
tolerance = 0.3
conditions = [{ metric = "ttft_s.p90", at_most = 4, of_first = true, over = "policy" }]
"#;

/// Pools have no cluster.
const POOL: &str = r#"
name = "pool"
title = "Pool"
source = "nowhere"
kind = "pool"
[workload]
name = "kimi-conversation"
requests = 200
[[axes]]
key = "pool.capacity_tokens"
values = [10000, "inf"]
"#;

const ALL: [&str; 5] = [PLAIN, WIDER, FITTED, SOUGHT, POOL];

struct Call {
    /// What each experiment took, by name.
    meters: BTreeMap<String, Meter>,
    /// What failed, by name.
    failed: BTreeMap<String, String>,
    order: Vec<String>,
}

impl Call {
    fn done(&self) -> usize {
        self.meters.values().map(|meter| meter.done).sum()
    }
}

/// Runs specifications into a folder.
fn call(texts: &[&str], out: &Path, options: RunOptions<'_>) -> Call {
    let specs: Vec<_> = texts
        .iter()
        .map(|text| Spec::parse(text).expect("parses"))
        .collect();
    let options = RunOptions {
        runs: Some(out.join(".runs")),
        ..options
    };
    let mut call = Call {
        meters: BTreeMap::new(),
        failed: BTreeMap::new(),
        order: Vec::new(),
    };
    run_all(&specs, &options, |ended: Ended| {
        let name = specs[ended.place].name.clone();
        match ended.report {
            Ok(Some(report)) => drop(write_results(out, &report).expect("written")),
            Ok(None) => assert!(options.shard.is_some(), "{name}"),
            Err(error) => drop(call.failed.insert(name.clone(), error.to_string())),
        }
        call.order.push(name.clone());
        call.meters.insert(name, ended.meter);
    })
    .expect("the folder can be written");
    call
}

fn jobs(jobs: usize) -> RunOptions<'static> {
    RunOptions {
        jobs,
        ..RunOptions::default()
    }
}

/// All files of results by name, but those of runs and of times.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for experiment in folder.read_dir().expect("a folder") {
        let experiment = experiment.expect("readable").path();
        if experiment.ends_with(".runs") {
            continue;
        }
        for file in experiment.read_dir().expect("a folder") {
            let path = file.expect("readable").path();
            if !path.ends_with(TIMING_FILE) {
                let name = path.strip_prefix(folder).expect("below").display();
                found.insert(name.to_string(), fs::read(&path).expect("readable"));
            }
        }
    }
    found
}

#[test]
fn what_is_kept_gives_the_same_bytes_and_is_not_done_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let (first, again) = (dir.path().join("first"), dir.path().join("again"));
    let call_first = call(&ALL, &first, jobs(2));
    assert_eq!(
        call_first.order,
        ["plain", "wider", "fitted", "sought", "pool"]
    );
    assert!(call_first.failed.is_empty(), "{:?}", call_first.failed);
    let files_first = files(&first);
    assert!(files_first.contains_key("plain/cdf.csv"));
    assert!(files_first.contains_key("plain/verdicts.csv"));
    assert!(files_first.contains_key("sought/replicas.csv"));
    // On one thread, in memory of nobody else's runs.
    call(&ALL, &again, jobs(1));
    assert_eq!(files_first, files(&again));
    // Runs that two experiments ask for are done once.
    let meters = &call_first.meters;
    let both = meters["plain"].done + meters["wider"].done;
    assert_eq!(
        (both, meters["wider"].cached + meters["plain"].cached),
        (12, 8)
    );
    // From what is kept alone, into a folder without results.
    for name in meters.keys() {
        fs::remove_dir_all(first.join(name)).expect("removed");
    }
    let cached = call(&ALL, &first, jobs(2));
    assert_eq!(cached.done(), 0);
    assert_eq!(files_first, files(&first));
    // Unless a fresh start is asked for, in which they are shared all the same.
    let fresh = RunOptions {
        fresh: true,
        ..jobs(2)
    };
    let fresh = call(&ALL, &first, fresh);
    assert_eq!(fresh.done(), call_first.done());
    assert_eq!(files_first, files(&first));
}

#[test]
fn costs_are_in_a_file_of_their_own() {
    let dir = tempfile::tempdir().expect("a folder");
    call(&[PLAIN], dir.path(), jobs(2));
    for (name, content) in files(dir.path()) {
        let text = String::from_utf8(content).expect("text");
        assert!(!text.contains("wall_s"), "{name}");
    }
    let timing = fs::read_to_string(dir.path().join("plain").join(TIMING_FILE)).expect("there");
    assert!(timing.starts_with("cell,seed,wall_s,cpu_s,peak_rss_mb\n"));
    assert_eq!(timing.lines().count(), 1 + 8);
}

#[test]
fn shards_put_together_are_the_whole() {
    let dir = tempfile::tempdir().expect("a folder");
    let at = |name: &str| dir.path().join(name);
    call(&ALL, &at("whole"), jobs(2));
    let merged = at("merged").join(".runs");
    fs::create_dir_all(&merged).expect("made");
    let mut done = Vec::new();
    for shard in ["1/3", "2/3", "3/3"] {
        let folder = at(&shard.replace('/', "-of-"));
        let options = RunOptions {
            shard: Some(shard.parse::<Shard>().expect("a shard")),
            ..jobs(1)
        };
        let part = call(&ALL, &folder, options);
        assert!(part.failed.is_empty(), "{:?}", part.failed);
        assert!(files(&folder).is_empty());
        done.push(part.done());
        for file in folder.join(".runs").read_dir().expect("runs") {
            let path = file.expect("readable").path();
            let name = path.file_name().expect("a file");
            fs::copy(&path, merged.join(name)).expect("copied");
        }
    }
    // Each does some of it.
    assert!(done.iter().all(|done| *done > 0), "{done:?}");
    let put_together = call(&ALL, &at("merged"), jobs(2));
    assert_eq!(put_together.done(), 0);
    assert_eq!(files(&at("whole")), files(&at("merged")));
}

#[test]
fn an_interrupted_sweep_goes_on_and_damage_is_repaired() {
    let dir = tempfile::tempdir().expect("a folder");
    let (whole, part) = (dir.path().join("whole"), dir.path().join("part"));
    let all = call(&[WIDER], &whole, jobs(2)).done();
    call(&[WIDER], &part, jobs(2));
    // As if it had been killed: some runs are not there, one is torn, another is another's, and one is under way.
    let mut kept: Vec<_> = part
        .join(".runs")
        .read_dir()
        .expect("runs")
        .collect::<Result<_, _>>()
        .expect("readable");
    kept.sort_by_key(fs::DirEntry::path);
    let paths: Vec<_> = kept.iter().map(fs::DirEntry::path).collect();
    assert_eq!(paths.len(), all);
    for path in &paths[..3] {
        fs::remove_file(path).expect("removed");
    }
    let torn = fs::read(&paths[3]).expect("there");
    fs::write(&paths[3], &torn[..torn.len() / 3]).expect("written");
    fs::copy(&paths[5], &paths[4]).expect("copied");
    fs::write(part.join(".runs/.x.1-1.part"), "half").expect("written");
    assert_eq!(call(&[WIDER], &part, jobs(2)).done(), 5);
    assert_eq!(files(&whole), files(&part));
    assert_eq!(call(&[WIDER], &part, jobs(2)).done(), 0);
}

#[test]
fn what_fails_does_not_stop_the_others() {
    let dir = tempfile::tempdir().expect("a folder");
    let unbracketed = FITTED.replace("target = 20", "target = 2000");
    let absent = PLAIN
        .replace("\"plain\"", "\"absent\"")
        .replace("\"kimi-conversation\"\nrequests = 200", "\"no-such.jsonl\"")
        .replace(
            "key = \"workload.rate\"",
            "name = \"rate\"\nkey = \"workload.speed\"",
        );
    let wrong = WIDER
        .replace("\"wider\"", "\"wrong\"")
        .replace("requests", "reqests");
    let texts = [absent.as_str(), &wrong, &unbracketed, WIDER];
    let call = call(&texts, dir.path(), jobs(2));
    assert_eq!(call.order, ["absent", "wrong", "fitted", "wider"]);
    let failed: Vec<_> = call.failed.keys().map(String::as_str).collect();
    assert_eq!(failed, ["absent", "fitted", "wrong"]);
    assert!(
        call.failed["absent"].contains("no-such.jsonl"),
        "{:?}",
        call.failed
    );
    assert!(
        call.failed["wrong"].contains("`workload.reqests`"),
        "{:?}",
        call.failed
    );
    assert!(
        call.failed["fitted"].contains("is not bracketed"),
        "{:?}",
        call.failed
    );
    assert_eq!(call.meters["wider"].done, 12);
    assert!(dir.path().join("wider/experiment.json").is_file());
}

/// A value may be published as a multiple of what other runs have, and be a quartile.
#[test]
fn published_values_are_judged_one_by_one() {
    let row = |series: &str, rest: &str| {
        format!(
            "[[published]]\nseries = \"{series}\"\nx = 1\nat = {{ rate = 1.0, policy = \"random\" }}\n\
             unit = \"\"\nsource = \"s\"\n{rest}\n"
        )
    };
    let rows = [
        row(
            "itself",
            "metric = \"ttft_s.mean\"\nto = { rate = 1.0, policy = \"random\" }\nvalue = 1",
        ),
        row(
            "half of it",
            "metric = \"ttft_s.mean\"\nto = { rate = 1.0, policy = \"random\" }\nscale = 0.5\nvalue = 1",
        ),
        row(
            "half, within",
            "metric = \"ttft_s.mean\"\nto = { rate = 1.0, policy = \"random\" }\nscale = 0.5\nvalue = 1\ntolerance = 0.5",
        ),
        row(
            "over all rates",
            "metric = \"ttft_s.q1\"\nto = { policy = \"random\" }\nvalue = 1",
        ),
    ];
    let text = WIDER.replace("[[checks]]", &format!("{}\n[[checks]]", rows.concat()));
    let spec = Spec::parse(&text).expect("parses");
    let report = conductor_experiments::run(&spec, &jobs(2)).expect("runs");
    let judged = report.points.iter().map(|point| {
        let verdict = point.verdict.expect("published");
        (
            point.series.as_str(),
            verdict.holds,
            verdict.error.map(|error| format!("{error:.2}")),
        )
    });
    let judged: Vec<_> = judged.collect();
    assert_eq!(judged[0], ("itself", true, Some("0.00".into())));
    assert_eq!(judged[1], ("half of it", false, Some("-0.50".into())));
    assert_eq!(judged[2], ("half, within", true, Some("-0.50".into())));
    // The quartile of the lowest rate is below the mean over all.
    assert!(
        (0.01..1.0).contains(&report.points[3].simulated),
        "{:?}",
        report.points[3]
    );
    let dir = tempfile::tempdir().expect("a folder");
    let folder = write_results(dir.path(), &report).expect("written");
    let table = fs::read_to_string(folder.join("verdicts.csv")).expect("there");
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 1 + 4 + 1);
    assert_eq!(
        lines[2],
        "wider,value,half of it,1,,1,0.5,,-50.00,10.00,,,false,s"
    );
    assert!(
        lines[5].starts_with("wider,requirement,random is slower,order,,,"),
        "{}",
        lines[5]
    );
    conductor_experiments::verdicts::collect(dir.path(), &[folder]).expect("written");
    let page = fs::read_to_string(dir.path().join("verdicts.md")).expect("there");
    assert!(page.contains("| wider | 2 of 4 |"), "{page}");
    assert!(
        page.contains("| half, within | 1 | 1.000 | 0.500 | -50.0 % | within 50 % | yes |"),
        "{page}"
    );
}
