//! The figures of a run or a comparison, from their results.

use conductor_core::units::Nanos;
use conductor_experiments::execute::Done;
use conductor_plots::{
    BoxChart, BoxStats, CdfChart, CdfSeries, PlotError, Reference, TimeChart, TimePanel, TimeSeries,
};
use conductor_sim::record::RequestRecord;
use conductor_sim::timeline::PoolSample;

/// A figure: file name without ending, title, what to see, and the picture.
pub(crate) struct Picture {
    pub(crate) file: &'static str,
    pub(crate) title: &'static str,
    pub(crate) caption: String,
    pub(crate) svg: String,
}

/// Half a minute: long enough to see a trend, short enough to see a swing.
const SMOOTHING_SAMPLES: usize = 30;

/// All figures of these runs, one series a run.
pub(crate) fn all(runs: &[&Done]) -> Result<Vec<Picture>, PlotError> {
    Ok(vec![
        ttft_cdf(runs)?,
        tbt_cdf(runs)?,
        ttft_box(runs)?,
        load(runs)?,
        hit_ratio(runs)?,
    ])
}

fn seconds(run: &Done, value: impl Fn(&RequestRecord) -> Option<Nanos>) -> Vec<f64> {
    run.result
        .records
        .iter()
        .filter_map(value)
        .map(Nanos::as_secs_f64)
        .collect()
}

fn ttft_cdf(runs: &[&Done]) -> Result<Picture, PlotError> {
    let slo = runs[0].report.slo.ttft_s;
    let series = runs
        .iter()
        .map(|run| CdfSeries::simulated(&run.report.policy, seconds(run, |record| record.ttft)));
    let chart = CdfChart {
        title: "Time to first token".into(),
        x_label: "TTFT (s)".into(),
        log_x: true,
        series: series.collect(),
        markers: vec![Reference::new(slo, format!("SLO {slo} s"))],
        ..CdfChart::default()
    };
    Ok(Picture {
        file: "ttft_cdf",
        title: "Time to first token",
        caption: "Share of requests whose first token came within a time. Further left is better; where a curve crosses the \
                  limit is the share that met it."
            .into(),
        svg: chart.to_svg()?,
    })
}

fn tbt_cdf(runs: &[&Done]) -> Result<Picture, PlotError> {
    let slo = runs[0].report.slo.tbt_s * 1e3;
    let series = runs.iter().map(|run| {
        let millis = seconds(run, |record| record.tbt)
            .into_iter()
            .map(|tbt| tbt * 1e3)
            .collect();
        CdfSeries::simulated(&run.report.policy, millis)
    });
    let chart = CdfChart {
        title: "Time between tokens".into(),
        x_label: "TBT, mean of a request's longest 10 % of gaps (ms)".into(),
        log_x: true,
        series: series.collect(),
        markers: vec![Reference::new(slo, format!("SLO {slo:.0} ms"))],
        ..CdfChart::default()
    };
    Ok(Picture {
        file: "tbt_cdf",
        title: "Time between tokens",
        caption: "Share of requests by the mean of their longest tenth of token gaps. In a disaggregated cluster decoding \
                  does not wait for prefills, so policies hardly differ here; the tail is the first gap of short answers."
            .into(),
        svg: chart.to_svg()?,
    })
}

fn ttft_box(runs: &[&Done]) -> Result<Picture, PlotError> {
    let boxes = runs
        .iter()
        .map(|run| BoxStats::from_values(&run.report.policy, &seconds(run, |record| record.ttft)));
    let chart = BoxChart {
        title: "Time to first token".into(),
        y_label: "TTFT (s)".into(),
        boxes: boxes.collect(),
        ..BoxChart::default()
    };
    Ok(Picture {
        file: "ttft_box",
        title: "Spread of the time to first token",
        caption: "Boxes from the first to the third quartile with the median; whiskers reach 1.5 times the box, as in Fig 5 of \
                  the paper. The mean, marked apart, lies where the long prompts pull it."
            .into(),
        svg: chart.to_svg()?,
    })
}

fn load(runs: &[&Done]) -> Result<Picture, PlotError> {
    let panel = |y_label: &str, value: fn(&PoolSample) -> f64| TimePanel {
        y_label: y_label.into(),
        series: runs
            .iter()
            .map(|run| TimeSeries::simulated(&run.report.policy, smoothed(run, value)))
            .collect(),
        references: vec![Reference::new(1.0, "limit")],
        ..TimePanel::default()
    };
    let chart = TimeChart {
        title: "Load of the pools".into(),
        x_label: "time".into(),
        panels: vec![
            panel("prefill load", |sample| sample.prefill_load),
            panel("decode load", |sample| sample.decode_load),
        ],
    };
    Ok(Picture {
        file: "load",
        title: "Load over time",
        caption: format!(
            "Load is predicted latency over its limit, mean over the pool, smoothed over {SMOOTHING_SAMPLES} s. Above 1 the \
             limit is about to be missed."
        ),
        svg: chart.to_svg()?,
    })
}

/// A pool's series as means of [`SMOOTHING_SAMPLES`].
fn smoothed(run: &Done, value: fn(&PoolSample) -> f64) -> Vec<(f64, f64)> {
    let chunks = run.result.timeline.pools.chunks(SMOOTHING_SAMPLES);
    let mean = |chunk: &[PoolSample]| chunk.iter().map(value).sum::<f64>() / chunk.len() as f64;
    chunks
        .map(|chunk| (chunk[0].at.as_secs_f64(), mean(chunk)))
        .collect()
}

fn hit_ratio(runs: &[&Done]) -> Result<Picture, PlotError> {
    let series = runs.iter().map(|run| {
        let pools: Vec<&PoolSample> = run
            .result
            .timeline
            .pools
            .iter()
            .step_by(SMOOTHING_SAMPLES)
            .collect();
        let points = pools.windows(3).filter_map(|window| {
            let (before, after) = (window[0], window[2]);
            let input = after.input_tokens - before.input_tokens;
            let hit = after.hit_tokens - before.hit_tokens;
            (input > 0).then(|| (window[1].at.as_secs_f64(), hit as f64 / input as f64))
        });
        TimeSeries::simulated(&run.report.policy, points.collect())
    });
    let panel = TimePanel {
        y_label: "tokens reused".into(),
        y_limits: Some((0.0, 1.0)),
        series: series.collect(),
        ..TimePanel::default()
    };
    let chart = TimeChart {
        title: "Hit ratio".into(),
        x_label: "time".into(),
        panels: vec![panel],
    };
    Ok(Picture {
        file: "hit_ratio",
        title: "Hit ratio over time",
        caption: "Share of prompt tokens that came from a cache, over the minute around each point. Caches start empty.".into(),
        svg: chart.to_svg()?,
    })
}
