//! `conductord check`: what is wrong with a configuration, and what this machine has. Starts nothing.

use super::Failure;
use clap::Args;
use conductor_core::config::Role;
use conductor_runtime::daemon::GatewayParts;
use conductor_runtime::files;
use conductor_runtime::node::{NodeConfig, NodeError, NodeParts};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Reads a gateway's or a node's configuration with all that it names, and says what hardware is found.
///
/// Exit code 2 and one line if something is wrong.
#[derive(Args)]
pub(crate) struct CheckArgs {
    /// A gateway's or a node's configuration; without it only the machine is looked at
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(crate) fn run(args: &CheckArgs) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    for line in machine() {
        writeln!(out, "{line}")?;
    }
    let Some(path) = &args.config else {
        return Ok(());
    };
    let said = match is_node(path)? {
        true => node(path)?,
        false => gateway(path)?,
    };
    writeln!(out, "{}: {said}", path.display())?;
    Ok(())
}

/// A node's file says which node it is.
fn is_node(path: &Path) -> Result<bool, Failure> {
    let table: toml::Table =
        files::parse(path).map_err(|error| Failure::Input(error.to_string()))?;
    Ok(table.contains_key("node"))
}

fn node(path: &Path) -> Result<String, Failure> {
    let config: NodeConfig =
        files::parse(path).map_err(|error| Failure::Input(error.to_string()))?;
    let parts = NodeParts::read(&config).map_err(NodeError::from)?;
    let rdma = config.rdma.settings();
    rdma.map_err(|error| Failure::Input(format!("{}: {error}", path.display())))?;
    let spec = parts.cluster.nodes.get(usize::from(config.node));
    let Some(spec) = spec else {
        return Err(Failure::Input(format!(
            "{}: node: {} of a cluster of {} nodes, expected less",
            path.display(),
            config.node,
            parts.cluster.nodes.len()
        )));
    };
    Ok(format!(
        "node {}, {}, cluster {}, policy {}, engine {}, KV over {}",
        config.node,
        role(spec.role),
        parts.cluster.name,
        parts.policy.name,
        config.engine.name(),
        config.transfer
    ))
}

fn gateway(path: &Path) -> Result<String, Failure> {
    let parts = GatewayParts::read(path)?;
    let cluster = parts.cluster();
    let count = |role| cluster.count(role);
    Ok(format!(
        "gateway of cluster {}: {} prefill, {} decode, {} coupled nodes",
        cluster.name,
        count(Role::Prefill),
        count(Role::Decode),
        count(Role::Coupled)
    ))
}

const fn role(role: Role) -> &'static str {
    match role {
        Role::Prefill => "prefill",
        Role::Decode => "decode",
        Role::Coupled => "coupled",
    }
}

/// What is found, a line each.
fn machine() -> Vec<String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut lines = vec![format!(
        "processor: {cores} cores; the engine `cpu` runs here"
    )];
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let available = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    if let Some(available) = available {
        lines.push(format!("memory: {} available", available.trim()));
    }
    lines.extend(conductor_messenger::verbs::probe(Path::new("/sys")));
    lines.extend(cuda(!names("/sys/class/infiniband").is_empty()));
    lines
}

/// GPUs and what goes with them.
#[cfg(feature = "cuda")]
fn cuda(card: bool) -> Vec<String> {
    conductor_engine::cuda::probe().lines(card)
}

#[cfg(not(feature = "cuda"))]
fn cuda(_card: bool) -> Vec<String> {
    let gpus: Vec<String> = names("/dev")
        .into_iter()
        .filter(|name| {
            let number = name.strip_prefix("nvidia");
            number.is_some_and(|rest| rest.parse::<u32>().is_ok())
        })
        .collect();
    vec![match gpus.is_empty() {
        true => "CUDA: no device".into(),
        false => format!(
            "CUDA: {}; not used: this build has no CUDA engine",
            gpus.join(", ")
        ),
    }]
}

/// Names in a folder, in order; none if there is no such folder.
fn names(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}
