//! Writes every chart type, and a report page, with made-up data into a folder:
//!
//!     cargo run -p conductor-plots --example gallery -- FOLDER
//!
//! The numbers mean nothing; the pictures are there to be looked at.

use std::error::Error;
use std::path::PathBuf;

use conductor_plots::{
    BarChart, BarSeries, Best, BoxChart, BoxStats, CdfChart, CdfSeries, Cell, Column, Figure,
    HeatChart, LineChart, LineSeries, PlotError, Reference, Report, ResultTable, TimeChart,
    TimePanel, TimeSeries, Verdict,
};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = PathBuf::from(
        std::env::args()
            .nth(1)
            .unwrap_or_else(|| "gallery".to_owned()),
    );
    std::fs::create_dir_all(&folder)?;
    let pictures = [
        ("cdf", cdf().to_svg()?),
        ("cdf-published", cdf_published().to_svg()?),
        ("box", boxes().to_svg()?),
        ("box-tall", tall_boxes().to_svg()?),
        ("time", time().to_svg()?),
        ("time-panels", panels().to_svg()?),
        ("bar", bars().to_svg()?),
        ("bar-series", bar_series().to_svg()?),
        ("line", lines().to_svg()?),
        ("line-log", log_lines().to_svg()?),
        ("heat", heat().to_svg()?),
        (
            "empty",
            CdfChart {
                title: "Nothing finished".to_owned(),
                ..cdf_empty()
            }
            .to_svg()?,
        ),
    ];
    for (name, svg) in &pictures {
        std::fs::write(folder.join(format!("{name}.svg")), svg)?;
        println!("{name}: {} bytes", svg.len());
    }
    std::fs::write(folder.join("report.html"), report()?.to_html())?;
    Ok(())
}

fn report() -> Result<Report, PlotError> {
    let fact = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let row = |name: &str, values: [f64; 6]| {
        let mut cells = vec![Cell::from(name)];
        cells.extend(values.map(Cell::from));
        cells
    };
    let verdict = |name: &str, unit: &str, published, simulated, holds| Verdict {
        experiment: "prefill-scheduling".to_owned(),
        name: name.to_owned(),
        unit: unit.to_owned(),
        published,
        simulated,
        half: None,
        required: "within 10 %".to_owned(),
        holds,
    };
    let figure = |title: &str, svg: String, caption: &str| Figure {
        title: title.to_owned(),
        svg,
        caption: caption.to_owned(),
    };
    let table = ResultTable {
        caption: "Policies, the best value of a column in bold".to_owned(),
        columns: vec![
            Column::text("policy"),
            Column::number("requests", "", 0),
            Column::number("TTFT mean", "s", 2).best(Best::Lowest),
            Column::number("TTFT p99", "s", 2).best(Best::Lowest),
            Column::number("TBT p90", "ms", 1).best(Best::Lowest),
            Column::share("within SLO", 1).best(Best::Highest),
            Column::number("goodput", "requests/s", 3).best(Best::Highest),
        ],
        rows: vec![
            row("random", [12_031.0, 19.65, 122.4, 88.1, 0.612, 2.04]),
            row("least-loaded", [12_031.0, 5.27, 31.0, 84.6, 0.954, 3.18]),
            row(
                "local-cache-aware",
                [12_031.0, 3.58, 24.9, 84.0, 0.981, 3.27],
            ),
            row(
                "kvcache-centric",
                [12_031.0, 3.07, f64::NAN, 83.9, 0.988, 3.30],
            ),
        ],
    };
    Ok(Report::new("Conversation trace, four policies")
        .summary("12,031 requests replayed at speed 1 on 8 prefill and 8 decode nodes; made-up numbers.")
        .facts(vec![
            fact("trace", "conversation"),
            fact("cluster", "a800-8p8d"),
            fact("requests", "12,031"),
            fact("simulated", "3,551 s"),
            fact("took", "1.8 s"),
            fact("SLO", "TTFT 30 s, TBT 100 ms"),
            fact("seed", "1"),
            fact("input", "144.8M tokens"),
        ])
        .heading("Results")
        .results(table)
        .heading("Against the paper")
        .verdicts(vec![
            verdict("mean TTFT, kvcache-centric", "s", Some(3.07), 3.22, Some(true)),
            verdict("mean TTFT, random", "s", Some(19.65), 22.6, Some(false)),
            verdict("TTFT order of the policies", "", None, 1.0, Some(true)),
        ])
        .heading("Figures")
        .figure(figure("TTFT", cdf().to_svg()?, "Further left is better: half of the requests get their first token within 1.7 s."))
        .figure(figure("TTFT boxes", boxes().to_svg()?, "The published boxes are those of FAST'25, figure 5."))
        .figure(figure("Load", panels().to_svg()?, "Without prediction the pools swing in anti-phase."))
        .heading("Configuration")
        .details("policy.toml", "name = \"mine\"\n\n[prefill]\nselect = \"kvcache-centric\"\nbalancing_threshold = 1.5\n")
        .details("cluster.toml", "prefill_nodes = 8\n")
        .footer("conductor 0.1.0 · digest 8f2c41d09a7be651"))
}

const POLICIES: [&str; 4] = [
    "random",
    "least-loaded",
    "local-cache-aware",
    "kvcache-centric",
];
/// Median and spread of made-up TTFTs.
const TTFT: [(f64, f64); 4] = [(13.7, 1.0), (3.6, 1.05), (2.2, 1.1), (1.7, 1.15)];

/// A fixed sequence of numbers in (0, 1).
struct Draws(u64);

impl Draws {
    fn uniform(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) as f64 + 0.5) / f64::from(1_u32 << 31)
    }

    /// Roughly normal: twelve uniform draws, centred.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }

    fn lognormal(&mut self, median: f64, spread: f64, count: usize) -> Vec<f64> {
        (0..count)
            .map(|_| median * libm::exp(spread * self.normal()))
            .collect()
    }
}

fn ttfts() -> Vec<Vec<f64>> {
    let mut draws = Draws(7);
    TTFT.iter()
        .map(|&(median, spread)| draws.lognormal(median, spread, 12_031))
        .collect()
}

fn cdf() -> CdfChart {
    let series = POLICIES.iter().zip(ttfts());
    let series = series.map(|(name, values)| CdfSeries::simulated(*name, values));
    CdfChart {
        title: "Time to first token by prefill policy, conversation trace".to_owned(),
        x_label: "TTFT (s)".to_owned(),
        log_x: true,
        series: series.collect(),
        markers: vec![Reference::new(30.0, "SLO 30 s")],
        ..CdfChart::default()
    }
}

fn cdf_published() -> CdfChart {
    let mut draws = Draws(3);
    let mooncake = vec![
        (50.0, 0.035),
        (70.0, 0.377),
        (90.0, 0.867),
        (100.0, 0.966),
        (150.0, 0.998),
    ];
    let vllm = vec![
        (50.0, 0.033),
        (70.0, 0.118),
        (100.0, 0.161),
        (150.0, 0.258),
        (200.0, 0.388),
        (300.0, 0.628),
        (500.0, 0.864),
        (1000.0, 0.979),
    ];
    let chunked = vec![
        (50.0, 0.012),
        (70.0, 0.064),
        (100.0, 0.094),
        (150.0, 0.174),
        (200.0, 0.288),
        (300.0, 0.554),
        (500.0, 0.965),
        (1000.0, 1.0),
    ];
    CdfChart {
        title: "Time between tokens, published and simulated".to_owned(),
        x_label: "TBT (ms)".to_owned(),
        x_max: Some(500.0),
        series: vec![
            CdfSeries::simulated("Mooncake", draws.lognormal(76.0, 0.2, 12_031)),
            CdfSeries::simulated("vLLM", draws.lognormal(230.0, 0.75, 12_031)),
            CdfSeries::published("Mooncake", mooncake),
            CdfSeries::published("vLLM", vllm),
            CdfSeries::published("vLLM, chunked prefill", chunked),
        ],
        markers: vec![
            Reference::new(100.0, "SLO 100 ms"),
            Reference::new(120.0, "relaxed 120 ms"),
            Reference::new(900.0, "timeout 900 ms"),
        ],
        ..CdfChart::default()
    }
}

fn cdf_empty() -> CdfChart {
    CdfChart {
        x_label: "TTFT (s)".to_owned(),
        series: vec![CdfSeries::simulated("kvcache-centric", Vec::new())],
        ..CdfChart::default()
    }
}

fn boxes() -> BoxChart {
    let published = |name: &str, whiskers: (f64, f64), q: [f64; 3], mean| BoxStats {
        name: name.to_owned(),
        whisker_low: whiskers.0,
        q1: q[0],
        median: q[1],
        q3: q[2],
        whisker_high: whiskers.1,
        mean,
    };
    BoxChart {
        title: "TTFT by prefill policy".to_owned(),
        y_label: "TTFT (s)".to_owned(),
        boxes: POLICIES
            .iter()
            .zip(ttfts())
            .map(|(n, v)| BoxStats::from_values(*n, &v))
            .collect(),
        published: vec![
            published("random", (0.1, f64::NAN), [3.54, 13.72, 29.30], 19.65),
            published("least-loaded", (0.1, 16.93), [1.05, 3.56, 7.41], 5.27),
            published("local-cache-aware", (0.1, 12.0), [0.56, 2.16, 5.14], 3.58),
            published("kvcache-centric", (0.1, 9.76), [0.39, 1.72, 4.14], 3.07),
        ],
        y_max: Some(25.0),
        ..BoxChart::default()
    }
}

fn tall_boxes() -> BoxChart {
    let mut draws = Draws(11);
    let name = |i| format!("kvcache-centric+early-predicted threshold {i}");
    BoxChart {
        title:
            "TTFT for eight settings, a title that is rather long and has to be broken into two \
                lines because it does not fit"
                .to_owned(),
        y_label: "TTFT (s)".to_owned(),
        boxes: (1..=8)
            .map(|i| BoxStats::from_values(name(i), &draws.lognormal(f64::from(i), 0.8, 2000)))
            .collect(),
        log_y: true,
        references: vec![Reference::new(30.0, "SLO 30 s")],
        ..BoxChart::default()
    }
}

/// A load that swings with the given period and phase (in turns).
fn load(seed: u64, mean: f64, swing: f64, phase: f64) -> Vec<(f64, f64)> {
    let mut draws = Draws(seed);
    let turn = std::f64::consts::TAU;
    (0..3600)
        .map(|second| {
            let t = f64::from(second);
            let wave = libm::sin(turn * (t / 420.0 + phase)) * swing;
            (t, (mean + wave + 0.04 * draws.normal()).max(0.0))
        })
        .collect()
}

fn line(name: &str, points: Vec<(f64, f64)>) -> TimeSeries {
    TimeSeries {
        name: name.to_owned(),
        points,
        published: false,
    }
}

fn time() -> TimeChart {
    TimeChart::single(
        "Load of the pools under early rejection",
        TimePanel {
            y_label: "load (predicted latency / SLO)".to_owned(),
            series: vec![
                line("prefill pool", load(1, 0.55, 0.3, 0.0)),
                line("decode pool", load(2, 0.63, 0.2, 0.5)),
            ],
            references: vec![Reference::new(1.0, "limit 1.0")],
            ..TimePanel::default()
        },
    )
}

fn panels() -> TimeChart {
    let panel = |label: &str, series| TimePanel {
        y_label: label.to_owned(),
        series,
        references: vec![Reference::new(1.0, "limit")],
        ..TimePanel::default()
    };
    let hits: Vec<(f64, f64)> = (0..3600)
        .map(|second| {
            let t = f64::from(second);
            let value = 40.0 * (1.0 - libm::exp(-t / 700.0));
            // A gap: no request arrived.
            (
                t,
                if (1500..1700).contains(&second) {
                    f64::NAN
                } else {
                    value
                },
            )
        })
        .collect();
    TimeChart {
        title: "Early rejection, without and with prediction".to_owned(),
        x_label: "simulated time".to_owned(),
        panels: vec![
            panel(
                "load, early",
                vec![
                    line("prefill pool", load(1, 0.55, 0.3, 0.0)),
                    line("decode pool", load(2, 0.63, 0.2, 0.5)),
                ],
            ),
            panel(
                "load, predicted",
                vec![
                    line("prefill pool", load(3, 0.7, 0.08, 0.0)),
                    line("decode pool", load(4, 0.73, 0.06, 0.5)),
                ],
            ),
            TimePanel {
                y_label: "hit ratio (%)".to_owned(),
                y_limits: Some((0.0, 50.0)),
                series: vec![line("cluster", hits)],
                ..TimePanel::default()
            },
        ],
    }
}

fn bars() -> BarChart {
    BarChart {
        title: "Rejected requests of 23,000".to_owned(),
        y_label: "rejected requests".to_owned(),
        groups: ["per stage", "early rejection", "early rejection, predicted"]
            .map(str::to_owned)
            .to_vec(),
        series: vec![BarSeries {
            name: "simulated".to_owned(),
            values: vec![4301.0, 3802.0, 3510.0],
            halves: vec![60.0, 45.0, 50.0],
            published: vec![4183.0, 3771.0, 3589.0],
        }],
        ..BarChart::default()
    }
}

fn bar_series() -> BarChart {
    let series = |name: &str, values: [f64; 3], published: [f64; 3]| BarSeries {
        name: name.to_owned(),
        values: values.to_vec(),
        halves: Vec::new(),
        published: published.to_vec(),
    };
    BarChart {
        title: "Prefill time a request".to_owned(),
        y_label: "GPU time (s)".to_owned(),
        groups: ["conversation", "tool&agent", "synthetic"]
            .map(str::to_owned)
            .to_vec(),
        series: vec![
            series(
                "local cache",
                [1.401, f64::NAN, 1.44],
                [1.379, 0.703, 1.497],
            ),
            series("global cache", [1.09, 0.54, 0.79], [1.05, 0.521, 0.783]),
        ],
        references: vec![Reference::new(1.6, "no cache")],
        ..BarChart::default()
    }
}

fn lines() -> LineChart {
    let series = |name: &str, published, points: &[(f64, f64)]| LineSeries {
        name: name.to_owned(),
        points: points.to_vec(),
        halves: Vec::new(),
        published,
    };
    LineChart {
        title: "Requests within both SLOs".to_owned(),
        x_label: "load (requests/s)".to_owned(),
        y_label: "goodput (requests/s)".to_owned(),
        series: vec![
            series(
                "random",
                false,
                &[(1.0, 0.9), (2.0, 1.3), (3.0, 1.1), (4.0, 0.6)],
            ),
            series(
                "kvcache-centric",
                false,
                &[(1.0, 1.0), (2.0, 1.98), (3.0, 2.9), (4.0, 3.1)],
            ),
            series(
                "kvcache-centric",
                true,
                &[(1.0, 1.0), (2.0, 2.0), (3.0, 2.8), (4.0, 2.9)],
            ),
        ],
        verticals: vec![Reference::new(3.34, "trace at speed 1")],
        horizontals: vec![Reference::new(3.0, "target")],
        ..LineChart::default()
    }
}

fn log_lines() -> LineChart {
    let capacity = [1e4, 1e5, 1e6, 2e6, 4e6, 5e6, 8e6, 1e7, 5e7, 1e8, 1e9];
    let series = |name: &str, published, ratios: [f64; 11]| LineSeries {
        name: name.to_owned(),
        points: capacity.into_iter().zip(ratios).collect(),
        halves: Vec::new(),
        published,
    };
    let conversation = [
        0.0449, 0.0731, 0.0866, 0.1202, 0.2149, 0.2471, 0.2997, 0.3263, 0.3983, 0.4006, 0.4006,
    ];
    let synthetic = [
        0.0004, 0.0117, 0.1461, 0.2345, 0.3805, 0.4352, 0.5447, 0.5886, 0.6582, 0.6582, 0.6582,
    ];
    LineChart {
        title: "Prefix-cache hits over capacity, LRU, one global pool".to_owned(),
        x_label: "capacity (tokens)".to_owned(),
        y_label: "hit ratio (share of tokens)".to_owned(),
        log_x: true,
        series: vec![
            series(
                "conversation",
                false,
                conversation.map(|ratio| ratio - 0.02),
            ),
            series(
                "synthetic",
                false,
                synthetic.map(|ratio: f64| (ratio - 0.01).max(0.0)),
            ),
            series("conversation", true, conversation),
            series("synthetic", true, synthetic),
        ],
        verticals: vec![Reference::new(3e6, "one node, 3M tokens")],
        ..LineChart::default()
    }
}

fn heat() -> HeatChart {
    let names = |from: i32| (from..from + 7).map(|i| format!("{i}")).collect();
    HeatChart {
        title: "Share of requests within both SLOs, by size of the pools".to_owned(),
        x_label: "prefill nodes".to_owned(),
        y_label: "decode nodes".to_owned(),
        columns: names(5),
        rows: names(5),
        values: (0..7)
            .map(|d| {
                (0..7)
                    .map(|p| {
                        let value = 100.0 * (1.0 - libm::exp(-0.5 * f64::from(p.min(d) + 1)));
                        if p == 6 && d == 6 { f64::NAN } else { value }
                    })
                    .collect()
            })
            .collect(),
        unit: "within SLO (%)".to_owned(),
    }
}
