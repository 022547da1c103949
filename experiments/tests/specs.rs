//! Specifications: the built-in ones parse, and what is wrong is named with line and key.

use conductor_experiments::spec::{Key, RunKind};
use conductor_experiments::{ExperimentError, Spec, list};

/// A specification that parses; the tests break it.
const GOOD: &str = r#"name = "good"
title = "t"
source = "s"
cluster = "2p2d"
policies = ["random", "least-loaded"]
[workload]
name = "kimi-conversation"
limit = 10
[[axes]]
key = "workload.speed"
values = [1, 2]
[[published]]
series = "a"
x = 1
at = { speed = 1, policy = "random" }
metric = "ttft_s.mean"
value = 1.0
unit = "s"
source = "here"
[[checks]]
id = "c"
what = "w"
kind = "ratio"
metric = "ttft_s.mean"
at = { speed = 2.0 }
of = { policy = "random" }
to = { policy = "least-loaded" }
low = 0.5
high = 2
"#;

#[test]
fn built_in_experiments_parse_and_their_metrics_exist() {
    let listed = list();
    assert!(listed.len() >= 2);
    for info in listed {
        let spec = Spec::builtin(&info.name).expect("listed");
        assert_eq!(spec.name, info.name);
        assert!(!spec.source.is_empty() && info.runs > 0, "{}", info.name);
        assert!(
            !(spec.published.is_empty() && spec.curves.is_empty()),
            "{}",
            info.name
        );
    }
}

#[test]
fn unknown_names_are_input_errors_that_list_all() {
    let error = Spec::builtin("seesaw?").expect_err("no such experiment");
    assert!(error.is_input());
    let text = error.to_string();
    assert!(text.contains("unknown experiment \"seesaw?\""), "{text}");
    assert!(text.contains("local-global"), "{text}");
}

#[test]
fn files_work_as_built_ins_do() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("mine.toml");
    let name = path.to_string_lossy().into_owned();
    let missing = Spec::load(&name).expect_err("not there yet");
    assert!(missing.is_input() && missing.to_string().contains("mine.toml"));
    std::fs::write(&path, GOOD).expect("written");
    assert_eq!(Spec::load(&name).expect("parses").run_count(), 4);
    std::fs::write(&path, GOOD.replace("limit", "limits]")).expect("written");
    let error = Spec::load(&name).expect_err("broken");
    assert!(matches!(error, ExperimentError::SpecFile { .. }));
    assert!(error.to_string().contains("mine.toml: line 8"), "{error}");
}

#[test]
fn runs_are_the_product_of_the_axes_and_the_last_turns_fastest() {
    let spec = Spec::parse(GOOD).expect("good");
    let labels: Vec<_> = (0..spec.run_count()).map(|run| spec.label(run)).collect();
    assert_eq!(
        labels,
        [
            "speed 1, policy random",
            "speed 1, policy least-loaded",
            "speed 2, policy random",
            "speed 2, policy least-loaded"
        ]
    );
    assert_eq!(spec.published[0].run, 0);
    let key: &Key = spec.axes[0].key.as_ref().expect("one setting");
    assert_eq!(key.to_string(), "workload.speed");
}

#[test]
fn errors_name_line_and_key() {
    for (good, bad, expected) in [
        (
            "title = \"t\"",
            "titel = \"t\"",
            "line 2: unknown field `titel` (did you mean \"title\"?), expected one of `name`, ",
        ),
        (
            "name = \"good\"",
            "name = \"Not good\"",
            "line 1: `name`: expected lower-case",
        ),
        (
            "unit = \"s\"",
            "units = \"s\"",
            "line 18: unknown field `units`",
        ),
        (
            "limit = 10",
            "limit = [10]",
            "line 8: `workload.limit`: expected a string, a number, true or false, or a table of these, found [10]",
        ),
        (
            "value = 1.0",
            "value = \"one\"",
            "line 17: `published.value`: expected a number, found \"one\"",
        ),
        (
            "value = 1.0",
            "value = 1.0\ntolerance = 2",
            "line 18: `published.tolerance`: expected a share from 0 to 1, found 2",
        ),
        (
            "to = { policy = \"least-loaded\" }",
            "to = [\"least-loaded\"]",
            "line 27: `checks.to`: expected a table, found [\"least-loaded\"]",
        ),
        (
            "title = \"t\"",
            "title = 5",
            "line 2: `title`: expected a string, found 5",
        ),
        (
            "title = \"t\"",
            "title = \"t\"\nheavy = 1",
            "line 3: `heavy`: expected true or false, found 1",
        ),
        (
            "values = [1, 2]",
            "values = []",
            "line 11: `axes.values`: expected at least one",
        ),
        (
            "values = [1, 2]",
            "values = [1, 1.0]",
            "line 11: `axes.values`: 1 is there twice",
        ),
        (
            "values = [1, 2]",
            "values = [1, 2, \"fitted\"]",
            "line 11: `axes.values`: no [fit] has",
        ),
        (
            "\"workload.speed\"",
            "\"network.speed\"",
            "line 10: `axes.key`: unknown setting",
        ),
        (
            "x = 1\nat = { speed = 1, policy = \"random\" }",
            "x = 1\nat = { speed = 1 }",
            "line 15: `published.at`: selects 2 runs, expected one",
        ),
        (
            "{ speed = 1,",
            "{ spede = 1,",
            "line 15: `spede`: no such axis (did you mean \"speed\"?), expected one of: speed",
        ),
        (
            "{ speed = 1,",
            "{ speed = 3,",
            "line 15: `speed`: the axis has no value 3",
        ),
        (
            "metric = \"ttft_s.mean\"\nvalue",
            "metric = \"ttft_s.meen\"\nvalue",
            "line 16: `published.metric`: unknown metric \"ttft_s.meen\" (did you mean \"ttft_s.mean\"?), expected one of: ",
        ),
        (
            "metric = \"ttft_s.mean\"\nat",
            "metric = \"digest\"\nat",
            "line 24: `checks.metric`: unknown metric \"digest\"",
        ),
        (
            "\"ratio\"",
            "\"rato\"",
            "line 23: `checks.kind`: unknown kind \"rato\"",
        ),
        (
            "\"ratio\"",
            "\"band\"",
            "line 26: `checks.of`: has no meaning for a check of kind \"band\"",
        ),
        (
            "high = 2\n",
            "",
            "line 23: `checks.high`: a check of kind \"ratio\" needs it",
        ),
        (
            "high = 2\n",
            "high = 0.1\n",
            "line 29: `checks.high`: expected at least `low`",
        ),
        (
            "cluster = \"2p2d\"\n",
            "",
            "`cluster`: expected a cluster, or an axis",
        ),
    ] {
        assert!(GOOD.contains(good), "{good}");
        let text = GOOD.replacen(good, bad, 1);
        let error = Spec::parse(&text).expect_err(bad).to_string();
        assert!(error.starts_with(expected), "{bad}: {error}");
    }
}

#[test]
fn a_fit_needs_its_bracket_and_its_place() {
    let fit = "[fit]\nkey = \"workload.speed\"\nat = { policy = \"random\" }\nmetric = \"ttft_s.mean\"\ntarget = 1\ntolerance = 0.1\nlow = 1\nhigh = 2\n";
    let with = |text: &str| {
        Spec::parse(&format!(
            "{}{text}",
            GOOD.replace("[1, 2]", "[1, 2, \"fitted\"]")
        ))
    };
    let spec = with(fit).expect("good");
    assert_eq!(
        spec.label(spec.fit.as_ref().expect("there").run),
        "speed fitted, policy random"
    );
    for (good, bad, expected) in [
        (
            "high = 2",
            "high = 1",
            "line 37: `fit.high`: expected a number above `low`",
        ),
        (
            "tolerance = 0.1",
            "tolerance = 0",
            "line 35: `fit.tolerance`: expected a number above 0",
        ),
        (
            "workload.speed",
            "workload.rate",
            "line 11: `axes.values`: no [fit] has the key \"workload.speed\"",
        ),
    ] {
        let error = with(&fit.replace(good, bad)).expect_err(bad).to_string();
        assert!(error.starts_with(expected), "{bad}: {error}");
    }
    let nowhere = Spec::parse(&format!("{GOOD}{fit}")).expect_err("no value is fitted");
    assert!(
        nowhere.to_string().contains("has no value \"fitted\""),
        "{nowhere}"
    );
}

#[test]
fn repeated_runs_have_rules_of_their_own() {
    let seeded =
        |more: &str| GOOD.replace("source = \"s\"", &format!("source = \"s\"\nseeds = {more}"));
    assert_eq!(Spec::parse(&seeded("3")).expect("good").repeats(), 3);
    for (text, message) in [
        (seeded("1"), "expected a whole number from 2"),
        (
            seeded("3").replace("limit = 10", "seed = 10"),
            "cannot stand beside",
        ),
        (
            seeded("3").replace("kind = \"ratio\"", "kind = \"difference\""),
            "has no meaning for a check of kind",
        ),
    ] {
        let error = Spec::parse(&text).expect_err("wrong");
        assert!(error.to_string().contains(message), "{error}");
    }
}

/// The kind of runs decides what a specification needs and may have; watched blocks have metrics.
#[test]
fn runs_of_one_pool_and_watched_blocks_are_checked() {
    let refused = |text: &str, expected: &str| {
        let error = Spec::parse(text).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    };
    let pool = "name = \"p\"\ntitle = \"t\"\nsource = \"s\"\nkind = \"pool\"\n[workload]\nname = \"conversation\"\n";
    let spec = Spec::parse(&format!("{pool}[set]\n\"pool.capacity_tokens\" = 1000\n"));
    assert_eq!(spec.expect("parses").kind, RunKind::Pool);
    refused(
        &format!("{pool}[set]\n\"policy.slo.ttft_s\" = 3\n"),
        "line 8: `policy.slo.ttft_s`: runs of `kind = \"pool\"` do not have it",
    );
    refused(
        &pool.replace("\"pool\"", "\"sea\""),
        "line 4: `kind`: expected simulation or pool, found \"sea\"",
    );
    refused(
        &pool.replace("kind = \"pool\"\n", ""),
        "expected a cluster, or an axis",
    );
    refused(
        &GOOD.replace("[workload]", "[set]\n\"pool.policy\" = \"lru\"\n[workload]"),
        "`pool.policy`: only runs of `kind = \"pool\"` have it",
    );

    let watched = GOOD.replace(
        "[workload]",
        "[watch]\nranks = [1, 5]\nperiod_s = 30\n[workload]",
    );
    let metric = |of: u32| {
        watched.replace(
            "\"ttft_s.mean\"\nvalue",
            &format!("\"replicas.{of}.max\"\nvalue"),
        )
    };
    Spec::parse(&metric(1)).expect("two blocks are watched");
    refused(&metric(2), "unknown metric \"replicas.2.max\"");
    refused(
        &watched.replace("[1, 5]", "[0]"),
        "`watch.ranks`: expected 1 to 8 ranks, each from 1",
    );
    refused(
        &watched.replace("= 30", "= 0"),
        "`watch.period_s`: expected whole seconds",
    );
    let plot = "[[plots]]\nfile = \"f\"\nkind = \"replicas\"\ntitle = \"t\"\nat = { speed = 1, policy = \"random\" }\n";
    Spec::parse(&format!("{watched}{plot}")).expect("parses");
    refused(
        &format!("{GOOD}{plot}"),
        "`plots.kind`: a plot of kind \"replicas\" needs [watch]",
    );
}
