//! Searches and axes of choices: what is refused, and a search end to end on a queue that is known.

use conductor_experiments::{RunOptions, Spec, run, write_results};

/// One request at a time on one node, and a faster one: prompts of 8,192 tokens, answers of one, Poisson arrivals.
const QUEUE: &str = r#"name = "queue"
title = "Queue"
source = "nowhere"
[workload]
name = "poisson-fixed"
requests = 2000
output_tokens = 1
[[axes]]
name = "system"
choices = [
    { name = "one", set = { cluster = "1", policy = "least-loaded" } },
    { name = "two", set = { cluster = "2", policy = "least-loaded" } },
]
[search]
key = "workload.rate"
low = 0.05
high = 16
tolerance = 0.05
conditions = [
    { metric = "ttft_s.p90", at_most = 4, of_first = true, over = "system", values = ["one"] },
]
[[search.grids]]
at = { system = "two" }
values = [0.05, 0.5, 1.0, 4.0]
[[published]]
series = "rate"
x = "two"
at = { system = "two" }
metric = "search.grid"
value = 1.0
unit = "requests/s"
source = "made up"
[[curves]]
what = "rate"
over = "system"
metric = "search.value"
unit = "requests/s"
[[checks]]
id = "more"
what = "two carry more"
kind = "order"
metric = "search.value"
over = "system"
values = ["two", "one"]
[[plots]]
file = "tries"
kind = "search"
title = "Tries"
x_label = "rate (requests/s)"
by = "system"
[[plots]]
file = "ttft"
kind = "cdf"
title = "TTFT"
metric = "ttft_s"
x_label = "TTFT (s)"
by = "system"
"#;

#[test]
fn a_search_finds_what_a_queue_carries() {
    let spec = Spec::parse(QUEUE).expect("parses");
    assert_eq!(spec.label(1), "system two");
    let report = run(&spec, &RunOptions::default()).expect("runs");
    let [one, two] = &report.searches[..] else {
        panic!("two runs")
    };
    // A prefill of 8,192 tokens takes 1.0 s without prefix caching: nobody carries more than one a second and node.
    assert!((0.5..1.02).contains(&one.value), "{one:?}");
    assert!(two.value > 1.5 * one.value && two.value < 2.05, "{two:?}");
    assert!((two.grid - 1.0).abs() < 1e-12);
    assert!(one.fails <= one.value * 1.05 && one.value < one.fails);
    // The limit is four times what the first node has at the lowest rate, for both.
    let (of_one, of_two) = (&one.tries[0], &two.tries[0]);
    assert!((of_one.normalised[0] - 0.25).abs() < 1e-9);
    let limits = [of_one, of_two].map(|tried| tried.metrics[0] / tried.normalised[0]);
    assert!((limits[0] - limits[1]).abs() < 1e-9);
    // The run that is kept is the one at the answer.
    assert_eq!(report.points.len(), 3);
    assert!((report.points[2].simulated - two.value).abs() < 1e-12);
    assert!(report.runs[0].ttft_s.p90 <= limits[0]);
    assert!(report.checks[0].holds);

    let dir = tempfile::tempdir().expect("a folder");
    let folder = write_results(dir.path(), &report).expect("written");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect(name);
    let tries = read("search.csv");
    assert_eq!(tries.lines().count(), 1 + one.tries.len() + two.tries.len());
    assert!(tries.starts_with("cell,seed,value,ttft_s.p90,ttft_s.p90 normalised,holds\n"));
    assert!(
        read("raw.csv")
            .lines()
            .next()
            .expect("a head")
            .ends_with("search.value,search.grid,search.fails")
    );
    // 200 quantiles of each of two runs.
    assert_eq!(read("cdf.csv").lines().count(), 401);

    // Threads change nothing.
    let options = RunOptions {
        jobs: 2,
        ..RunOptions::default()
    };
    assert_eq!(
        run(&spec, &options).expect("runs").searches,
        report.searches
    );
}

#[test]
fn errors_name_line_and_key() {
    for (good, bad, expected) in [
        (
            "low = 0.05\n",
            "",
            "line 14: `search.low`: needed by runs without a grid",
        ),
        (
            "low = 0.05",
            "low = 0",
            "line 16: `search.low`: expected a number above 0, found 0",
        ),
        (
            "low = 0.05",
            "low = 17",
            "line 16: `search.low`: expected a number below `high` (16)",
        ),
        (
            "\"workload.rate\"",
            "\"cluster\"",
            "line 15: `search.key`: the axis system sets it",
        ),
        (
            "tolerance = 0.05",
            "tolerance = -1",
            "line 18: `search.tolerance`: expected a number above 0",
        ),
        (
            "\"ttft_s.p90\"",
            "\"search.value\"",
            "line 20: `search.conditions.metric`: unknown metric",
        ),
        (
            "at_most = 4, ",
            "",
            "line 20: `search.conditions`: expected either `at_most` or `at_least`",
        ),
        (
            "of_first = true, ",
            "",
            "line 20: `search.conditions.over`: has a meaning only with",
        ),
        (
            "over = \"system\", values",
            "values",
            "line 20: `search.conditions.values`: values of what",
        ),
        (
            "values = [\"one\"]",
            "values = [\"three\"]",
            "line 20: `search.conditions.values`: the axis has no value three",
        ),
        (
            "[0.05, 0.5,",
            "[0.5, 0.05,",
            "line 24: `search.grids.values`: expected rising numbers",
        ),
        ("at = { system = \"two\" }\nvalues", "values", ""),
        ("[search]", "[[search]]", "line 14: `search`: expected "),
        (
            "name = \"two\", set",
            "name = \"one\", set",
            "line 10: `axes.choices`: one is there twice",
        ),
        (
            "name = \"system\"\n",
            "",
            "line 9: `axes.name`: an axis of choices has no key",
        ),
        (
            "name = \"system\"\n",
            "name = \"system\"\nkey = \"seed\"\n",
            "line 10: `axes`: expected `key` and `values`, or",
        ),
        (
            "{ cluster = \"2\", policy",
            "{ policy",
            "`cluster`: expected a cluster, or an axis",
        ),
        (
            "{ cluster = \"2\"",
            "{ clutser = \"2\"",
            "line 12: `axes.choices.set`: unknown setting",
        ),
        (
            "metric = \"ttft_s\"",
            "metric = \"ttft_s.p90\"",
            "line 55: `plots.metric`: expected one of: ttft_s, tbt_s",
        ),
        (
            "x_label = \"TTFT (s)\"\n",
            "",
            "line 53: `plots.x_label`: a plot of kind \"cdf\" needs it",
        ),
        (
            "over = \"system\"\nmetric",
            "over = \"system\"\nby = \"system\"\nmetric",
            "line 36: `curves.by`: the axis is drawn twice",
        ),
    ] {
        assert!(QUEUE.contains(good), "{good}");
        let text = QUEUE.replacen(good, bad, 1);
        if expected.is_empty() {
            Spec::parse(&text).expect("a grid for all");
            continue;
        }
        let error = Spec::parse(&text).expect_err(bad).to_string();
        assert!(error.starts_with(expected), "{bad}: {error}");
    }
    // Without a search there is no answer to speak of, nor tries to draw.
    let start = QUEUE.find("[search]").expect("there");
    let end = QUEUE.find("[[published]]").expect("there");
    let without = [&QUEUE[..start], &QUEUE[end..]].concat();
    let error = Spec::parse(&without).expect_err("search.grid").to_string();
    assert!(error.contains("unknown metric \"search."), "{error}");
    let fit = "[fit]\nkey = \"seed\"\nmetric = \"ttft_s.mean\"\ntarget = 1\ntolerance = 1\nlow = 1\nhigh = 2\n";
    let error = Spec::parse(&[QUEUE, fit].concat())
        .expect_err("both")
        .to_string();
    assert!(
        error.starts_with("line 14: `search`: cannot stand beside [fit]"),
        "{error}"
    );
}
