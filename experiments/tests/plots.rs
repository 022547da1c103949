//! What a specification says of plots: where runs stand on them, what is refused, and the tables that a run writes for
//! them.

use conductor_experiments::spec::PlotKind;
use conductor_experiments::{RunOptions, Spec, run, write_results};

/// A plot of each kind, over two seeds and two policies; 8 runs of some hundred requests.
const DRAWN: &str = r#"name = "drawn"
title = "Drawn"
source = "nowhere"
cluster = "2p1d"
policies = ["kvcache-centric+early", "kvcache-centric+per-stage"]
seeds = 2
[workload]
name = "kimi-conversation"
requests = 200
[[axes]]
key = "workload.rate"
values = [1, 2.0]
[[plots]]
file = "goodput"
kind = "lines"
title = "Goodput"
metric = "goodput_rps"
y_label = "goodput (requests/s)"
over = "rate"
x_one = 2
x_label = "offered load (multiple of 2 requests/s)"
by = "policy"
[[plots]]
file = "rejected"
kind = "bars"
title = "Rejected"
at = { rate = 2 }
metric = "rejected"
y_label = "rejected (requests)"
over = "policy"
[[plots]]
file = "seesaw"
kind = "loads"
title = "Loads"
at = { rate = 2 }
panels = "policy"
values = ["kvcache-centric+per-stage"]
seed = 2
from_s = 15
to_s = 600
published = { file = "no-such-file.csv", source = "nobody" }
"#;

#[test]
fn plots_know_their_runs() {
    let spec = Spec::parse(DRAWN).expect("parses");
    let [lines, bars, loads] = &spec.plots[..] else {
        panic!("three plots")
    };
    let PlotKind::Lines(lines) = &lines.kind else {
        panic!("lines")
    };
    let found: Vec<_> = lines.panels[0].lines.iter().collect();
    assert_eq!(lines.panels.len(), 1);
    assert_eq!(
        (found[0].name.as_str(), &found[0].points[..]),
        ("early", &[(0.5, 0), (1.0, 2)][..])
    );
    assert_eq!(
        (found[1].name.as_str(), &found[1].points[..]),
        ("per-stage", &[(0.5, 1), (1.0, 3)][..])
    );
    let PlotKind::Bars(bars) = &bars.kind else {
        panic!("bars")
    };
    assert_eq!(bars.groups, ["early", "per-stage"]);
    assert_eq!(bars.series, [(String::new(), vec![2, 3])]);
    let PlotKind::Loads(loads) = &loads.kind else {
        panic!("loads")
    };
    // A single name is not shortened.
    assert_eq!(loads.panels, [("kvcache-centric+per-stage".to_string(), 3)]);
    assert_eq!(loads.seed, Some(2));
}

#[test]
fn errors_of_plots_name_line_and_key() {
    for (good, bad, expected) in [
        (
            "y_label = \"goodput",
            "ylabel = \"goodput",
            "line 18: unknown field `ylabel`",
        ),
        (
            "kind = \"lines\"",
            "kind = \"line\"",
            "line 15: `plots.kind`: unknown kind \"line\", expected lines, bars, loads, replicas, cdf, box, heat or search",
        ),
        (
            "kind = \"bars\"",
            "kind = \"bars\"\nlog_x = true",
            "line 26: `plots.log_x`: has no meaning for a plot of kind \"bars\"",
        ),
        (
            "metric = \"rejected\"",
            "metric = \"refused\"",
            "line 28: `plots.metric`: unknown metric \"refused\"",
        ),
        (
            "over = \"rate\"\n",
            "",
            "line 15: `plots.over`: a plot of kind \"lines\" needs it",
        ),
        (
            "over = \"rate\"\n",
            "over = \"policy\"\n",
            "line 22: `plots`: the axis policy is drawn twice",
        ),
        (
            "by = \"policy\"\n",
            "",
            "line 15: `plots.at`: selects 2 runs, expected one",
        ),
        (
            "x_one = 2",
            "x_one = 0",
            "line 20: `plots.x_one`: expected a number above 0",
        ),
        (
            "at = { rate = 2 }\nmetric",
            "at = { rate = 2, policy = \"kvcache-centric+early\" }\nmetric",
            "line 27: `plots.at.policy`: the axis is drawn: it cannot be fixed",
        ),
        (
            "file = \"rejected\"",
            "file = \"goodput\"",
            "line 24: `plots.file`: two plots are called \"goodput\"",
        ),
        (
            "file = \"rejected\"",
            "file = \"../rejected\"",
            "line 24: `plots.file`: expected lower-case letters",
        ),
        (
            "seed = 2\n",
            "seed = 3\n",
            "line 38: `plots.seed`: expected 1 to 2, found 3",
        ),
        (
            "to_s = 600",
            "to_s = 15",
            "line 40: `plots.to_s`: expected seconds above `from_s` (15)",
        ),
        (
            "source = \"nobody\"",
            "sauce = \"nobody\"",
            "line 41: unknown field `sauce`",
        ),
        (
            "values = [\"kvcache-centric+per-stage\"]",
            "values = [\"none\"]",
            "line 36: `policy`: the axis has no value none",
        ),
    ] {
        assert!(DRAWN.contains(good), "{good}");
        let text = DRAWN.replacen(good, bad, 1);
        let error = Spec::parse(&text).expect_err(bad).to_string();
        assert!(error.starts_with(expected), "{bad}: {error}");
    }
}

#[test]
fn lines_need_numbers() {
    let text = DRAWN.replacen("over = \"rate\"", "over = \"policy\"", 1);
    let text = text.replacen("by = \"policy\"", "by = \"rate\"", 1);
    let error = Spec::parse(&text).expect_err("names").to_string();
    assert!(
        error.contains("`plots.over`: expected an axis of numbers, and kvcache-centric+early"),
        "{error}"
    );
}

#[test]
fn a_run_writes_the_loads_that_are_drawn_and_no_others() {
    let spec = Spec::parse(DRAWN).expect("parses");
    let report = run(&spec, &RunOptions::default()).expect("runs");
    let dir = tempfile::tempdir().expect("a folder");
    let folder = write_results(dir.path(), &report).expect("written");
    let table = std::fs::read_to_string(folder.join("loads.csv")).expect("written");
    let mut rows = table.lines();
    assert_eq!(
        rows.next(),
        Some("cell,policy,seed,time_s,prefill_load,decode_load")
    );
    let policy = "kvcache-centric+per-stage";
    let mut next = 0;
    for row in rows {
        let start = format!("\"rate 2, policy {policy}\",{policy},2,{next},");
        assert!(row.starts_with(&start), "{row}");
        next += 15;
    }
    assert!(next >= 90, "{next} s");
    // Nobody publishes that curve: nothing is made up, and nothing fails.
    assert!(!folder.join("seesaw-published.csv").exists());
}

/// Boxes and a heat map over the same axes as [`DRAWN`].
const SPREAD: &str = r#"name = "spread"
title = "Spread"
source = "nowhere"
cluster = "2p1d"
policies = ["kvcache-centric+early", "kvcache-centric+per-stage"]
[workload]
name = "kimi-conversation"
requests = 100
[[axes]]
key = "workload.rate"
values = [1, 2.0]
[[plots]]
file = "box"
kind = "box"
title = "TTFT"
caption = "What to see."
at = { rate = 2 }
metric = "ttft_s"
scale = 1000
y_label = "TTFT (ms)"
y_max = 50
by = "policy"
[[plots]]
file = "heat"
kind = "heat"
title = "Goodput"
metric = "goodput_rps"
value_label = "goodput (requests/s)"
over = "rate"
x_label = "rate"
by = "policy"
values = ["kvcache-centric+per-stage"]
y_label = "admission"
"#;

#[test]
fn boxes_and_cells_name_their_runs_and_boxes_leave_quantiles() {
    let spec = Spec::parse(SPREAD).expect("parses");
    assert_eq!(spec.plots[0].caption, "What to see.");
    let PlotKind::Box(plot) = &spec.plots[0].kind else {
        panic!("{:?}", spec.plots[0]);
    };
    // Runs are numbered with the last axis, the policy, turning fastest.
    let named = |name: &str, run| (name.to_string(), run);
    assert_eq!(plot.series, [named("early", 2), named("per-stage", 3)]);
    assert_eq!(plot.y_max, Some(50.0));
    let PlotKind::Heat(plot) = &spec.plots[1].kind else {
        panic!("{:?}", spec.plots[1]);
    };
    assert_eq!(plot.columns, ["1", "2"]);
    assert_eq!(
        plot.rows,
        [("kvcache-centric+per-stage".to_string(), vec![1, 3])]
    );
    let report = run(&spec, &RunOptions::default()).expect("runs");
    let kept: Vec<usize> = report.distributions.iter().map(|kept| kept.run).collect();
    assert_eq!(kept, [2, 3]);
}

#[test]
fn errors_of_boxes_and_cells_name_line_and_key() {
    for (good, bad, expected) in [
        (
            "y_label = \"TTFT (ms)\"\n",
            "",
            "line 14: `plots.y_label`: a plot of kind \"box\" needs it",
        ),
        (
            "y_max = 50",
            "y_max = 0",
            "line 21: `plots.y_max`: expected a number above 0",
        ),
        (
            "y_max = 50",
            "x_max = 50",
            "line 21: `plots.x_max`: has no meaning for a plot of kind \"box\"",
        ),
        (
            "metric = \"ttft_s\"",
            "metric = \"rejected\"",
            "line 18: `plots.metric`: expected one of: ttft_s",
        ),
        (
            "value_label = \"goodput (requests/s)\"\n",
            "",
            "line 25: `plots.value_label`: a plot of kind \"heat\" needs it",
        ),
        (
            "values = [\"kvcache-centric+per-stage\"]",
            "values = []",
            "line 32: `plots.values`: expected at least one value",
        ),
    ] {
        assert!(SPREAD.contains(good), "{good}");
        let error = Spec::parse(&SPREAD.replacen(good, bad, 1))
            .expect_err(bad)
            .to_string();
        assert!(error.starts_with(expected), "{bad}: {error}");
    }
}

#[test]
fn every_built_in_experiment_is_drawn_and_every_plot_says_what_to_see() {
    for info in conductor_experiments::list() {
        let spec = Spec::builtin(&info.name).expect("listed");
        assert!(!spec.plots.is_empty(), "{}", info.name);
        for plot in &spec.plots {
            assert!(plot.caption.len() > 40, "{}: {}", info.name, plot.file);
        }
    }
}
