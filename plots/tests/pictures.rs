//! Each chart type, byte by byte: `UPDATE_EXPECT=1 cargo test -p conductor-plots` rewrites the
//! pictures in `golden/`; look at them before you commit them.

use conductor_plots::{
    BarChart, BarSeries, BoxChart, BoxStats, CdfChart, CdfData, CdfSeries, HeatChart, LineChart,
    LinePanel, LinePanels, LineSeries, PlotError, Reference, TimeChart, TimePanel, TimeSeries,
};
use expect_test::{ExpectFile, expect_file};

use crate::xml;

fn check(svg: Result<String, PlotError>, expected: &ExpectFile) {
    let svg = svg.expect("a sound chart can be drawn");
    xml::check(&svg);
    expected.assert_eq(&svg);
}

/// Not random at all, but uneven enough: `count` values in 0..1.
fn uneven(count: u32, stride: u32) -> Vec<f64> {
    (0..count)
        .map(|i| f64::from(i * stride % 101) / 101.0)
        .collect()
}

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn cdf() {
    let values = |name: &str, scale: f64, stride| CdfSeries {
        name: name.to_owned(),
        data: CdfData::Values(
            uneven(60, stride)
                .iter()
                .map(|u| scale * (u + 0.02))
                .collect(),
        ),
        published: false,
    };
    let chart = CdfChart {
        title: "TTFT by policy".to_owned(),
        x_label: "TTFT (s)".to_owned(),
        log_x: true,
        series: vec![
            values("kvcache-centric", 8.0, 37),
            values("a < b & c", 40.0, 59),
            CdfSeries {
                name: "kvcache-centric".to_owned(),
                data: CdfData::Points(vec![(0.3, 0.1), (2.0, 0.5), (9.0, 0.99)]),
                published: true,
            },
        ],
        markers: vec![
            Reference::new(30.0, "SLO 30 s"),
            Reference::new(1e4, "timeout 10,000 s"),
        ],
        ..CdfChart::default()
    };
    check(chart.to_svg(), &expect_file!["golden/cdf.svg"]);
}

#[test]
fn boxes() {
    let stats = |name: &str, scale: f64| {
        let values: Vec<f64> = uneven(90, 37).iter().map(|u| scale * u * u).collect();
        BoxStats::from_values(name, &values)
    };
    let chart = BoxChart {
        title: "TTFT by policy".to_owned(),
        y_label: "TTFT (s)".to_owned(),
        boxes: vec![stats("random", 40.0), stats("kvcache-centric", 9.0)],
        published: vec![BoxStats {
            whisker_high: f64::NAN,
            ..stats("random", 44.0)
        }],
        y_max: Some(20.0),
        references: vec![Reference::new(15.0, "SLO 15 s")],
        ..BoxChart::default()
    };
    check(chart.to_svg(), &expect_file!["golden/box.svg"]);
}

#[test]
fn time() {
    let series = |name: &str, stride, scale: f64| TimeSeries {
        name: name.to_owned(),
        points: uneven(80, stride)
            .iter()
            .enumerate()
            .map(|(i, u)| (45.0 * i as f64, if i == 40 { f64::NAN } else { u * scale }))
            .collect(),
        published: false,
    };
    let chart = TimeChart {
        title: "Load and hits".to_owned(),
        x_label: "simulated time".to_owned(),
        panels: vec![
            TimePanel {
                y_label: "load".to_owned(),
                series: vec![series("prefill", 3, 0.9), series("decode", 2, 0.7)],
                references: vec![Reference::new(1.0, "limit")],
                ..TimePanel::default()
            },
            TimePanel {
                y_label: "hit ratio (%)".to_owned(),
                y_limits: Some((0.0, 50.0)),
                series: vec![series("cluster", 1, 60.0)],
                ..TimePanel::default()
            },
        ],
    };
    check(chart.to_svg(), &expect_file!["golden/time.svg"]);
}

#[test]
fn bars() {
    let chart = BarChart {
        title: "Rejected requests".to_owned(),
        y_label: "requests".to_owned(),
        groups: strings(&["per stage", "early", "early-predicted"]),
        series: vec![BarSeries {
            name: "simulated".to_owned(),
            values: vec![4301.0, f64::NAN, 3510.0],
            halves: Vec::new(),
            published: vec![4183.0, 3771.0, 3589.0],
        }],
        references: vec![Reference::new(5000.0, "all")],
        ..BarChart::default()
    };
    check(chart.to_svg(), &expect_file!["golden/bar.svg"]);
}

#[test]
fn lines() {
    let series = |name: &str, published, shift: f64| LineSeries {
        name: name.to_owned(),
        points: [1e4, 1e6, 1e7, 1e9]
            .into_iter()
            .zip([0.05, 0.09, 0.3, 0.4 + shift])
            .collect(),
        halves: Vec::new(),
        published,
    };
    let chart = LineChart {
        title: "Hits over capacity".to_owned(),
        x_label: "capacity (tokens)".to_owned(),
        y_label: "hit ratio (share of tokens)".to_owned(),
        log_x: true,
        series: vec![
            series("conversation", false, 0.02),
            series("conversation", true, 0.0),
        ],
        verticals: vec![Reference::new(3e6, "one node, 3M tokens")],
        ..LineChart::default()
    };
    check(chart.to_svg(), &expect_file!["golden/line.svg"]);
}

/// What an experiment draws of a metric over an axis: panels, intervals, something published.
#[test]
fn line_panels() {
    let line = |name: &str, published, ys: [f64; 4]| LineSeries {
        name: name.to_owned(),
        points: [0.25, 1.0, 2.0, 4.0].into_iter().zip(ys).collect(),
        halves: if published {
            Vec::new()
        } else {
            vec![0.1, 0.3, 0.4, f64::NAN]
        },
        published,
    };
    let panel = |title: &str, peak: f64| LinePanel {
        title: title.to_owned(),
        series: vec![
            line("none", false, [1.7, peak, 4.0, 2.0]),
            line("early-predicted", false, [1.7, peak, peak, peak + 0.2]),
            line("none", true, [1.6, peak, 4.4, 2.6]),
        ],
    };
    let chart = LinePanels {
        title: "Goodput over offered load".to_owned(),
        x_label: "offered load (multiple of 7 requests/s)".to_owned(),
        y_label: "goodput (requests/s)".to_owned(),
        log_x: true,
        panels: vec![
            panel("8p8d", 6.1),
            panel("14p2d", 5.2),
            LinePanel::default(),
        ],
        note: "Mean of 3 seeds; bars: 95 % confidence interval".to_owned(),
        ..LinePanels::default()
    };
    check(chart.to_svg(), &expect_file!["golden/line_panels.svg"]);
}

/// The seesaw: titled panels, percent, a published series as a panel of its own.
#[test]
fn loads() {
    let series = |name: &str, stride, scale: f64, published| TimeSeries {
        name: name.to_owned(),
        points: uneven(81, stride)
            .iter()
            .enumerate()
            .map(|(i, u)| (15.0 * i as f64, u * scale))
            .collect(),
        published,
    };
    let panel = |title: &str, scale, published| TimePanel {
        title: title.to_owned(),
        caption: "prefill 54 ± 26 %, decode 49 ± 31 % (mean ± sd)".to_owned(),
        y_label: "load (% of limit)".to_owned(),
        y_limits: Some((0.0, 120.0)),
        series: vec![
            series("prefill pool", 3, scale, published),
            series("decode pool", 2, scale, published),
        ],
        ..TimePanel::default()
    };
    let chart = TimeChart {
        title: "The load seesaw".to_owned(),
        x_label: "time from 150 s on".to_owned(),
        panels: vec![panel("early", 110.0, false), panel("published", 95.0, true)],
    };
    check(chart.to_svg(), &expect_file!["golden/loads.svg"]);
}

/// Bars by group and series, with intervals, and published values in one group only.
#[test]
fn grouped_bars() {
    let series = |name: &str, values: [f64; 2], published: Vec<f64>| BarSeries {
        name: name.to_owned(),
        values: values.to_vec(),
        halves: vec![120.0, f64::NAN],
        published,
    };
    let chart = BarChart {
        title: "Rejected requests of 23,000".to_owned(),
        y_label: "rejected (requests)".to_owned(),
        groups: strings(&["8p8d", "13p3d"]),
        series: vec![
            series("per-stage", [9800.0, 4300.0], vec![f64::NAN, 4183.0]),
            series("early", [9790.0, 3700.0], vec![f64::NAN, 3771.0]),
            series("oracle", [9780.0, 3300.0], Vec::new()),
        ],
        note: "Mean of 10 seeds; whiskers: 95 % confidence interval".to_owned(),
        ..BarChart::default()
    };
    check(chart.to_svg(), &expect_file!["golden/grouped_bars.svg"]);
}

#[test]
fn heat() {
    let chart = HeatChart {
        title: "Within both SLOs".to_owned(),
        x_label: "prefill nodes".to_owned(),
        y_label: "decode nodes".to_owned(),
        columns: strings(&["6", "8", "10"]),
        rows: strings(&["6", "8"]),
        values: vec![vec![61.0, 92.5, 97.0], vec![64.0, 98.9, f64::NAN]],
        unit: "share (%)".to_owned(),
    };
    check(chart.to_svg(), &expect_file!["golden/heat.svg"]);
}

#[test]
fn a_large_cdf_stays_small() {
    let series = (0..8).map(|i| CdfSeries {
        name: format!("policy {i}"),
        data: CdfData::Values(
            (0..12_000_u32)
                .map(|n| f64::from(n * 7919 % 12_007) * f64::from(i + 1))
                .collect(),
        ),
        published: false,
    });
    let chart = CdfChart {
        series: series.collect(),
        ..CdfChart::default()
    };
    let svg = chart.to_svg().expect("eight series can be drawn");
    assert!(svg.len() < 100_000, "{} bytes", svg.len());
}

#[test]
fn errors_say_what_was_expected() {
    let chart = BarChart {
        title: "Bars".to_owned(),
        groups: strings(&["a", "b"]),
        series: vec![BarSeries {
            name: "s".to_owned(),
            values: vec![1.0],
            halves: Vec::new(),
            published: Vec::new(),
        }],
        ..BarChart::default()
    };
    let message = chart
        .to_svg()
        .expect_err("one value for two groups")
        .to_string();
    assert_eq!(
        message,
        "Bars: series `s` has 1 values, expected 2 (one a group)"
    );
}
