//! scratch
use conductor_core::units::Tokens;
use conductor_traces::cache::*;
use conductor_traces::compare::*;
use conductor_traces::formats::*;
use conductor_traces::generate::{GenerateOptions, Workload};
use conductor_traces::stats::Stats;
fn main() {
    let real = read_all(
        locate("conversation", std::path::Path::new(".")).unwrap(),
        &ReadOptions::default(),
    )
    .unwrap();
    let curve = |rows: &[conductor_core::workload::WorkloadRequest]| {
        let s = CacheStudy::new(rows, Tokens(512));
        let mut v: Vec<f64> = [u64::MAX, 100_000, 50_000, 30_000, 10_000, 1000]
            .map(|c| {
                s.run(Policy::Lru, Capacity::Finite(c), Unit::Blocks)
                    .hit_ratio_blocks
            })
            .to_vec();
        let st = Stats::of(rows, Tokens(512));
        v.extend(st.access_cdf.iter().map(|p| p.share));
        v.push(st.input_mean / 1e4);
        v.push(st.output_mean / 1e3);
        v.push(st.duration_s / 3537.0);
        let d = demands(rows, Tokens(512));
        v.push(d.iter().map(|d| d.uncached().0 as f64).sum::<f64>() / d.len() as f64 / 1e4);
        v.push(
            d.iter()
                .map(|d| {
                    let (n, p) = (d.input.0 as f64 / 1e3, d.cached.0 as f64 / 1e3);
                    0.0183
                        + 0.11362 * (n - p)
                        + 0.0007162 * (n * n - p * p)
                        + if p > 0.0 { 0.0479 } else { 0.0 }
                        + 0.00256 * p
                })
                .sum::<f64>()
                / d.len() as f64,
        );
        v.push(ks_distance(
            real.iter().map(|r| r.input.0),
            rows.iter().map(|r| r.input.0),
        ));
        v.push(ks_distance(
            real.iter().map(|r| r.output.0),
            rows.iter().map(|r| r.output.0),
        ));
        v
    };
    let names = [
        "inf", "100k", "50k", "30k", "10k", "1k", "a1", "a2", "a3", "a5", "a10", "a20", "in",
        "out", "dur", "unc", "pref", "ksin", "ksout",
    ];
    let r = curve(&real);
    let n: u64 = std::env::args().nth(1).unwrap().parse().unwrap();
    let all: Vec<Vec<f64>> = (1..=n)
        .map(|seed| {
            curve(
                &Workload::builtin("kimi-conversation")
                    .unwrap()
                    .generate(seed, &GenerateOptions::default())
                    .collect::<Vec<_>>(),
            )
        })
        .collect();
    for (i, name) in names.iter().enumerate() {
        let m = all.iter().map(|v| v[i]).sum::<f64>() / n as f64;
        let sd = (all.iter().map(|v| (v[i] - m).powi(2)).sum::<f64>() / n as f64).sqrt();
        let worst = all.iter().map(|v| (v[i] - r[i]).abs()).fold(0.0, f64::max);
        let worst10 = all
            .iter()
            .take(10)
            .map(|v| (v[i] - r[i]).abs())
            .fold(0.0, f64::max);
        println!(
            "{name:>5} real {:.4} mean {m:.4} bias {:+.4} sd {sd:.4} worst {worst:.4} worst10 {worst10:.4}",
            r[i],
            m - r[i]
        );
    }
}
