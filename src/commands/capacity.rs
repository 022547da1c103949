//! `conductor capacity`: the largest load within limits, for one cluster or several side by side.
//!
//! Not here: the search itself (`conductor_experiments::search`).

use super::replay;
use crate::args::CapacityArgs;
use crate::failure::Failure;
use crate::{progress, render};
use conductor_experiments::execute::{Done, Job, execute};
use conductor_experiments::metric::Metric;
use conductor_experiments::parallel::in_parallel;
use conductor_experiments::search::{Answer, Bound, Condition, Range, largest};
use conductor_experiments::statistics::Estimate;
use conductor_sim::Observer;
use serde_json::{Value, json};

/// What one search found: the answer, and the run at it.
struct Found {
    answer: Answer,
    /// Requests a second at the answer; 0 if nothing holds.
    rps: f64,
    done: Done,
}

pub(crate) fn run(args: &CapacityArgs) -> Result<(), Failure> {
    let conditions = conditions(args)?;
    let range = range(args)?;
    if args.world.trace.is_some() && args.seeds > 1 {
        return Err(Failure::Input(
            "--seeds: expected 1 with a trace, whose requests are the same for every seed"
                .to_string(),
        ));
    }
    for (option, given, why) in [
        (
            "--out",
            args.world.out.is_some(),
            "no files are written: --json has all there is",
        ),
        (
            "--png and --parquet",
            args.world.formats.png || args.world.formats.parquet,
            "no files are written: --json has all there is",
        ),
        (
            "--concurrency",
            args.world.concurrency.is_some(),
            "a closed loop sets its own load",
        ),
    ] {
        if given {
            return Err(Failure::Input(format!(
                "{option}: expected none with capacity, {why}"
            )));
        }
    }
    let one = [args.world.cluster.clone()];
    let clusters = if args.clusters.is_empty() {
        &one[..]
    } else {
        &args.clusters
    };
    let mut jobs: Vec<Job> = Vec::new();
    for cluster in clusters {
        for seed in 0..args.seeds {
            let mut world = args.world.clone();
            (world.cluster, world.seed) = (cluster.clone(), args.world.seed + seed);
            let mut job = replay::job(&world, &args.policy)?;
            // Only what is drawn or written needs samples of nodes.
            job.node_samples = false;
            jobs.push(job);
        }
    }
    let bar = progress::runs(jobs.len() as u64, "searches");
    let threads = args.jobs.map_or_else(replay::processors, usize::from);
    let found = in_parallel(jobs.len(), threads, |place| {
        let found = search(&jobs[place], &range, &conditions)?;
        bar.inc(1);
        Ok::<_, Failure>(found)
    })?;
    bar.finish_and_clear();
    for none in found.iter().filter(|found| found.answer.value <= 0.0) {
        let report = &none.done.report;
        eprintln!(
            "conductor: warning: {}, seed {}: the limits do not hold at the lowest speed, {}: see --low",
            report.cluster, report.seed, range.low
        );
    }
    let by_cluster = found.chunks(args.seeds as usize);
    if args.world.json {
        let capacity: Vec<Value> = by_cluster.map(as_json).collect();
        let limits = conditions.iter().map(said).collect::<Vec<_>>();
        return Ok(render::print_json(
            &json!({ "limits": limits, "capacity": capacity }),
        )?);
    }
    let header = [
        "cluster",
        "machines",
        "speed",
        "requests/s",
        "a machine",
        "fails at",
        "tries",
    ];
    render::print(render::table(&header, by_cluster.map(row)))?;
    let limits = conditions.iter().map(said).collect::<Vec<_>>().join(", ");
    Ok(render::print(format_args!(
        "{}, policy {}: largest speed at which {limits}; to {:.1} %.",
        jobs[0].workload.name,
        jobs[0].policy.name,
        range.tolerance * 100.0
    ))?)
}

fn search(job: &Job, range: &Range, conditions: &[Condition]) -> Result<Found, Failure> {
    let at = |speed: f64| {
        let mut job = job.clone();
        job.workload.speed *= speed;
        let done = execute(&job, Observer::default()).map_err(Failure::from)?;
        Ok::<_, Failure>((done.report.clone(), done))
    };
    let (answer, done) = largest(range, conditions, at)?;
    let arrivals = done.result.records.iter().map(|record| record.arrival);
    let span = arrivals.max().map_or(0.0, |last| last.as_secs_f64());
    let holds = answer.value > 0.0 && span > 0.0;
    let rps = if holds {
        done.report.requests as f64 / span
    } else {
        0.0
    };
    Ok(Found { answer, rps, done })
}

fn conditions(args: &CapacityArgs) -> Result<Vec<Condition>, Failure> {
    let own = args.ttft_p90.is_some() || args.tbt_p90.is_some();
    let effective = if own {
        args.effective
    } else {
        args.effective.or(Some(0.9))
    };
    let wanted = [
        (
            "--ttft-p90",
            "ttft_s.p90",
            args.ttft_p90,
            Bound::AtMost,
            f64::INFINITY,
        ),
        (
            "--tbt-p90",
            "tbt_s.p90",
            args.tbt_p90,
            Bound::AtMost,
            f64::INFINITY,
        ),
        (
            "--effective",
            "effective_ratio",
            effective,
            Bound::AtLeast,
            1.0,
        ),
        (
            "--completed",
            "eventual_ratio",
            Some(args.completed),
            Bound::AtLeast,
            1.0,
        ),
    ];
    let mut conditions = Vec::new();
    for (option, metric, limit, bound, most) in wanted {
        let Some(limit) = limit else { continue };
        if !(limit > 0.0 && limit <= most && limit.is_finite()) {
            let expected = if most > 1.0 {
                "seconds above 0"
            } else {
                "a share above 0, at most 1"
            };
            return Err(Failure::Input(format!(
                "{option}: expected {expected}, found {limit}"
            )));
        }
        let metric = Metric::of_runs(metric).map_err(Failure::Input)?;
        conditions.push(Condition {
            metric,
            limit,
            bound,
        });
    }
    Ok(conditions)
}

fn range(args: &CapacityArgs) -> Result<Range, Failure> {
    let wrong = |option: &str, expected: &str, found: f64| {
        Failure::Input(format!("{option}: expected {expected}, found {found}"))
    };
    let (low, high, tolerance) = (args.low, args.high, args.tolerance);
    if !(1e-3..=1e3).contains(&low) {
        return Err(wrong("--low", "a speed from 0.001 to 1000", low));
    }
    if !(high >= low && high <= 1e4) {
        return Err(wrong("--high", "a speed from --low to 10000", high));
    }
    if !(1e-3..=0.5).contains(&tolerance) {
        return Err(wrong("--tolerance", "a share from 0.001 to 0.5", tolerance));
    }
    Ok(Range {
        low,
        high,
        tolerance,
        grid: vec![low],
    })
}

/// A condition in words.
fn said(condition: &Condition) -> String {
    let side = match condition.bound {
        Bound::AtMost => "at most",
        Bound::AtLeast => "at least",
    };
    format!("{} is {side} {}", condition.metric, condition.limit)
}

fn estimate(found: &[Found], value: impl Fn(&Found) -> f64) -> Estimate {
    Estimate::of(&found.iter().map(value).collect::<Vec<_>>())
}

/// Machines of the cluster, of all roles.
fn machines(found: &[Found]) -> usize {
    let report = &found[0].done.report;
    report.nodes_prefill + report.nodes_decode + report.nodes_coupled
}

fn row(found: &[Found]) -> Vec<String> {
    let with_ci = |estimate: Estimate| match estimate.ci95 {
        Some(ci) => format!("{:.3} ± {ci:.3}", estimate.mean),
        None => format!("{:.3}", estimate.mean),
    };
    let rps = estimate(found, |found| found.rps);
    let fails = estimate(found, |found| found.answer.fails);
    let tries: usize = found.iter().map(|found| found.answer.tries.len()).sum();
    vec![
        found[0].done.report.cluster.clone(),
        machines(found).to_string(),
        with_ci(estimate(found, |found| found.answer.value)),
        with_ci(rps),
        format!("{:.4}", rps.mean / machines(found).max(1) as f64),
        match fails.mean > 0.0 {
            true => format!("{:.3}", fails.mean),
            false => "-".to_string(),
        },
        tries.to_string(),
    ]
}

fn as_json(found: &[Found]) -> Value {
    let (speed, rps) = (
        estimate(found, |found| found.answer.value),
        estimate(found, |found| found.rps),
    );
    json!({
        "cluster": found[0].done.report.cluster,
        "policy": found[0].done.report.policy,
        "machines": machines(found),
        "speed": { "mean": speed.mean, "ci95": speed.ci95 },
        "requests_per_s": { "mean": rps.mean, "ci95": rps.ci95 },
        "searches": found.iter().map(|found| json!({
            "seed": found.done.report.seed,
            "requests_per_s": found.rps,
            "answer": found.answer,
        })).collect::<Vec<_>>(),
    })
}
