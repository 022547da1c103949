//! `conductor trace …`: look at traces, make them, convert them.

use crate::args::{
    TraceCacheArgs, TraceCommand, TraceConvertArgs, TraceFileArgs, TraceFitArgs, TraceGenerateArgs,
    TraceStatsArgs, UnitArg,
};
use crate::failure::Failure;
use crate::{output, progress, render};
use conductor_core::units::Tokens;
use conductor_core::workload::WorkloadRequest;
use conductor_experiments::inputs::{Source, WorkloadInput};
use conductor_traces::cache::{CacheStudy, Capacity, Policy, SubBlock, Unit};
use conductor_traces::formats::TraceWriter;
use conductor_traces::generate;
use conductor_traces::stats::{Stats, StatsBuilder};
use serde_json::json;
use std::path::Path;

pub(crate) fn run(command: &TraceCommand) -> Result<(), Failure> {
    match command {
        TraceCommand::Stats(args) => stats(args),
        TraceCommand::Cache(args) => cache(args),
        TraceCommand::Generate(args) => generate(args),
        TraceCommand::Fit(args) => fit(args),
        TraceCommand::Convert(args) => convert(args),
    }
}

fn input(args: &TraceFileArgs) -> Result<WorkloadInput, Failure> {
    let mut input = WorkloadInput::trace(&args.file, Path::new("."))?;
    (input.ids, input.block) = (Tokens(args.block_tokens), Tokens(args.block_tokens));
    input.sort = args.sort;
    Ok(input)
}

/// All rows, for what needs them at once.
fn rows(args: &TraceFileArgs) -> Result<Vec<WorkloadRequest>, Failure> {
    input(args)?
        .open()?
        .collect::<Result<_, _>>()
        .map_err(Failure::input)
}

fn stats(args: &TraceStatsArgs) -> Result<(), Failure> {
    let mut builder = StatsBuilder::new(Tokens(args.trace.block_tokens));
    let bar = progress::requests(None, "trace stats");
    for row in input(&args.trace)?.open()? {
        builder.add(&row.map_err(Failure::input)?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let stats = builder.finish();
    if args.json {
        let document = serde_json::to_value(&stats).expect("statistics are numbers");
        return Ok(render::print_json(&document)?);
    }
    Ok(render::print(stats_table(&args.trace.file, &stats))?)
}

fn stats_table(name: &str, stats: &Stats) -> String {
    let Stats { input, output, .. } = stats;
    let whole = |value: f64| format!("{value:.1}");
    let mut facts = vec![
        ("requests", stats.requests.to_string()),
        ("duration, s", whole(stats.duration_s)),
        (
            "requests a second",
            format!(
                "{:.3}",
                stats.requests as f64 / stats.duration_s.max(f64::MIN_POSITIVE)
            ),
        ),
        ("prompt tokens: mean", whole(stats.input_mean)),
        (
            "  p50 / p90 / p99 / max",
            format!(
                "{} / {} / {} / {}",
                input.p50, input.p90, input.p99, input.max
            ),
        ),
        ("answer tokens: mean", whole(stats.output_mean)),
        (
            "  p50 / p90 / p99 / max",
            format!(
                "{} / {} / {} / {}",
                output.p50, output.p90, output.p99, output.max
            ),
        ),
        (
            "blocks",
            format!("{} of {} tokens", stats.blocks_total, stats.block_tokens),
        ),
        ("  distinct", stats.blocks_unique.to_string()),
        (
            "  reusable with an infinite cache",
            format!(
                "{} ({:.2} %)",
                stats.blocks_hit_ideal,
                stats.hit_ratio_blocks_ideal * 100.0
            ),
        ),
        (
            "  in tokens",
            format!("{:.2} %", stats.hit_ratio_tokens_ideal * 100.0),
        ),
        ("most used block, uses", stats.access_max.to_string()),
    ];
    let points = stats
        .access_cdf
        .iter()
        .map(|point| format!("{}: {:.2} %", point.accesses, point.share * 100.0));
    facts.push((
        "blocks used at most n times",
        points.collect::<Vec<_>>().join(", "),
    ));
    let rows = facts
        .into_iter()
        .map(|(name, value)| vec![name.to_string(), value]);
    render::table(&[name, ""], rows).to_string()
}

fn cache(args: &TraceCacheArgs) -> Result<(), Failure> {
    let policies = args
        .policy
        .iter()
        .map(|name| name.parse::<Policy>().map_err(Failure::input));
    let policies = policies.collect::<Result<Vec<_>, _>>()?;
    let capacities = args
        .capacity
        .iter()
        .map(|name| name.parse::<Capacity>().map_err(Failure::input));
    let capacities = capacities.collect::<Result<Vec<_>, _>>()?;
    let unit = match args.unit {
        UnitArg::Blocks => Unit::Blocks,
        UnitArg::Tokens => Unit::Tokens,
    };
    let sub_block = args.sub_block.then_some(SubBlock::FAST25);
    let study = CacheStudy::new(&rows(&args.trace)?, Tokens(args.trace.block_tokens));
    let bar = progress::runs((policies.len() * capacities.len()) as u64, "trace cache");
    let mut results = Vec::new();
    for &policy in &policies {
        for &capacity in &capacities {
            results.push(study.run_with(policy, capacity, unit, sub_block));
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    if args.json {
        return Ok(render::print_json(&json!({ "rows": results }))?);
    }
    let header: Vec<&str> = std::iter::once("policy")
        .chain(args.capacity.iter().map(String::as_str))
        .collect();
    let table = results
        .chunks(capacities.len())
        .zip(&args.policy)
        .map(|(row, name)| {
            let cells = row.iter().map(|result| match args.sub_block {
                true => format!("{:.4}", result.hit_ratio_tokens),
                false => format!("{:.3}", result.hit_ratio_blocks),
            });
            std::iter::once(name.clone()).chain(cells).collect()
        });
    let counted = if unit == Unit::Blocks {
        "blocks"
    } else {
        "tokens"
    };
    render::print(format_args!(
        "Share of prompt {} that one cache hits, by capacity in {counted}:",
        if args.sub_block { "tokens" } else { "blocks" }
    ))?;
    Ok(render::print(render::table(&header, table))?)
}

fn generate(args: &TraceGenerateArgs) -> Result<(), Failure> {
    let mut input = WorkloadInput::workload(&args.workload)?;
    (input.requests, input.rate, input.seed) = (args.requests, args.rate, args.seed);
    input.grid_s = args.grid;
    input.check()?;
    let Source::Generated(workload) = &input.source else {
        unreachable!("a workload is generated")
    };
    let total = args.requests.unwrap_or(workload.requests);
    let block = Tokens(workload.block_tokens);
    write(&input, Some(total), block, &args.output)
}

fn convert(args: &TraceConvertArgs) -> Result<(), Failure> {
    if let Source::Trace(path) = &input(&args.trace)?.source {
        output::not_the_same(path, &args.output)?;
    }
    if args.output.to_string_lossy().contains(".csv") {
        eprintln!(
            "conductor: warning: Azure CSV has no place for hash_ids: what prompts share is lost"
        );
    }
    write(
        &input(&args.trace)?,
        None,
        Tokens(args.trace.block_tokens),
        &args.output,
    )
}

/// Writes all requests of `input` to `output`.
fn write(
    input: &WorkloadInput,
    total: Option<u64>,
    block: Tokens,
    output: &Path,
) -> Result<(), Failure> {
    let requests = input.open()?;
    let bar = progress::requests(total, "writing");
    let mut writer = TraceWriter::create(output, block).map_err(Failure::input)?;
    let mut count = 0_u64;
    for row in requests {
        writer
            .write(&row.map_err(Failure::input)?)
            .map_err(|error| Failure::Run(error.to_string()))?;
        count += 1;
        bar.set_position(count);
    }
    writer
        .finish()
        .map_err(|error| Failure::Run(error.to_string()))?;
    bar.finish_and_clear();
    Ok(render::print(format_args!(
        "{count} requests in {}",
        output.display()
    ))?)
}

fn fit(args: &TraceFitArgs) -> Result<(), Failure> {
    let name = args.output.file_stem().map_or_else(
        || "fitted".into(),
        |stem| stem.to_string_lossy().into_owned(),
    );
    let workload = generate::fit(&name, rows(&args.trace)?, Tokens(args.trace.block_tokens))
        .map_err(Failure::input)?;
    std::fs::write(&args.output, workload.to_toml()).map_err(|error| {
        Failure::Input(format!(
            "{}: cannot be written: {error}",
            args.output.display()
        ))
    })?;
    Ok(render::print(format_args!(
        "{} describes {}",
        args.output.display(),
        args.trace.file
    ))?)
}
