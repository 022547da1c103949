//! `requests.csv`, `timeline.csv` and `roles.csv`.

use crate::run::{RunConfig, RunResult};
use crate::timeline::NodeSample;
use conductor_core::config::Role;
use conductor_core::units::Nanos;
use std::io::Write;

/// Writes one row a request. Times in seconds; empty where there is none. With several tries, nodes, hit tokens and
/// outcome are the last one's, and times are from the first one's arrival.
///
/// # Errors
/// If `out` fails.
pub fn write_requests(result: &RunResult, out: impl Write) -> Result<(), csv::Error> {
    let mut rows = csv::Writer::from_writer(out);
    rows.write_record([
        "id",
        "arrival_s",
        "input",
        "output",
        "prefill_node",
        "decode_node",
        "hit_tokens",
        "ttft_s",
        "tbt_s",
        "e2e_s",
        "outcome",
        "tries",
    ])?;
    let seconds = |time: Option<Nanos>| {
        time.map_or_else(String::new, |time| format!("{:.9}", time.as_secs_f64()))
    };
    for record in &result.records {
        let (prefill, decode) = record
            .placed
            .map_or_else(Default::default, |(prefill, decode)| {
                (prefill.0.to_string(), decode.0.to_string())
            });
        rows.write_record([
            record.id.0.to_string(),
            seconds(Some(record.arrival)),
            record.input.0.to_string(),
            record.output.0.to_string(),
            prefill,
            decode,
            record.hit.0.to_string(),
            seconds(record.ttft),
            seconds(record.tbt),
            seconds(record.e2e()),
            record.outcome.name().to_string(),
            record.tries.to_string(),
        ])?;
    }
    rows.flush()?;
    Ok(())
}

/// Writes one row a sample: the pools, then for each node its load, queue, batch and share of cache or HBM in use.
/// `hit_ratio` is that of the prefills that started in the minute before.
///
/// # Errors
/// If `out` fails.
pub fn write_timeline(
    config: &RunConfig,
    result: &RunResult,
    out: impl Write,
) -> Result<(), csv::Error> {
    let mut rows = csv::Writer::from_writer(out);
    let nodes = &config.cluster.nodes;
    let mut header: Vec<String> = [
        "time_s",
        "prefill_load",
        "decode_load",
        "live_requests",
        "hit_ratio",
    ]
    .map(String::from)
    .into();
    let with_nodes = !result.timeline.nodes.is_empty();
    if with_nodes {
        for (i, node) in nodes.iter().enumerate() {
            let role = role_name(node.role);
            header.extend(
                ["load", "queue", "batch", "cache_use"]
                    .map(|column| format!("{role}_{i}_{column}")),
            );
        }
    }
    rows.write_record(&header)?;
    let pools = &result.timeline.pools;
    for (i, pool) in pools.iter().enumerate() {
        let before = pools[i.saturating_sub(60)];
        let (hit, input) = (
            pool.hit_tokens - before.hit_tokens,
            pool.input_tokens - before.input_tokens,
        );
        let hit_ratio = if input > 0 {
            format!("{:.6}", hit as f64 / input as f64)
        } else {
            String::new()
        };
        let mut row = vec![
            format!("{:.3}", pool.at.as_secs_f64()),
            format!("{:.6}", pool.prefill_load),
            format!("{:.6}", pool.decode_load),
            pool.live.to_string(),
            hit_ratio,
        ];
        if with_nodes {
            for NodeSample {
                load,
                queued,
                batch,
                used,
            } in &result.timeline.nodes[i * nodes.len()..][..nodes.len()]
            {
                row.extend([
                    format!("{load:.6}"),
                    queued.to_string(),
                    batch.to_string(),
                    format!("{used:.6}"),
                ]);
            }
        }
        rows.write_record(&row)?;
    }
    rows.flush()?;
    Ok(())
}

/// Writes one row for each node that changed its role: when, which, and what it does from then on. What `timeline.csv`
/// says of a node is then of its new role, in columns that keep the name of the old one.
///
/// # Errors
/// If `out` fails.
pub fn write_roles(result: &RunResult, out: impl Write) -> Result<(), csv::Error> {
    let mut rows = csv::Writer::from_writer(out);
    rows.write_record(["time_s", "node", "role"])?;
    for change in &result.role_changes {
        rows.write_record([
            format!("{:.9}", change.at.as_secs_f64()),
            change.node.0.to_string(),
            role_name(change.role).to_string(),
        ])?;
    }
    rows.flush()?;
    Ok(())
}

const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Prefill => "prefill",
        Role::Decode => "decode",
        Role::Coupled => "coupled",
    }
}
