//! `conductord local`: gateway and nodes on this machine, each a process of its own, from one command.
//!
//! It writes the files that one would write by hand into a temporary folder and starts the commands that one would
//! start: what it shows is what a real cluster does.

use super::gateway::shutdown;
use super::{Failure, runtime};
use clap::{Args, ValueEnum};
use conductor_core::config::Role;
use conductor_runtime::files;
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

/// The profile of the built-in model on the processor that it was timed on, and its data.
const PROFILE: &str = include_str!("../../profiles/cpu-tiny.toml");

/// How long a process may take to be there.
const START: Duration = Duration::from_secs(30);

/// How long a process may take to end before it is killed.
const END: Duration = Duration::from_secs(8);

/// Starts nodes and a gateway on this machine; needs no file and no network.
///
/// Prints `ready http://ADDR:PORT` when it serves. Example:
///   conductord local &
///   curl http://127.0.0.1:8080/v1/completions -d '{"model":"tiny","prompt":"Hello","max_tokens":20}'
#[derive(Args)]
pub(crate) struct LocalArgs {
    /// Prefill and decode nodes (2p2d), or coupled ones (2); or a cluster file
    #[arg(long, value_name = "NpMd|N|FILE", default_value = "2p2d")]
    nodes: String,
    /// Where clients come; port 0: any
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// A built-in policy or a file
    #[arg(long, value_name = "NAME|FILE", default_value = "kvcache-centric")]
    policy: String,
    /// Write every decision to this file
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// What computes
    #[arg(long, value_enum, default_value_t = EngineKind::Cpu)]
    engine: EngineKind,
    /// The model: tiny, or a folder or GGUF file
    #[arg(long, value_name = "NAME|PATH", default_value = "tiny")]
    model: String,
    /// How KV moves between the nodes
    #[arg(long, value_enum, default_value_t = TransferKind::Shm)]
    transfer: TransferKind,
    /// Requests that may be under way at once
    #[arg(long, value_name = "N", default_value_t = 256)]
    concurrency: usize,
    /// Say nothing of each request
    #[arg(long)]
    quiet: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum EngineKind {
    /// Compute, on the processor
    Cpu,
    /// Compute, all nodes on CUDA device 0
    #[cfg(feature = "cuda")]
    Cuda,
    /// Sleep for the times of the cluster's profile
    Sleep,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TransferKind {
    /// Shared memory
    Shm,
    /// TCP over the loopback
    Tcp,
    /// RDMA, over all devices of this machine (a build with the feature `rdma`)
    Verbs,
}

/// A process that was started here; killed with this.
struct Process {
    name: String,
    child: Child,
    /// While it is open the process goes on. Waiting for a child closes what it still has of its input.
    stdin: Option<ChildStdin>,
}

impl Process {
    /// Starts `conductord` with a configuration and waits until it says that it is ready; returns what it says.
    async fn start(name: String, command: &str, config: &Path) -> Result<(Self, String), Failure> {
        let run = |error: std::io::Error| Failure::Run(format!("{name}: {error}"));
        let program = std::env::current_exe().map_err(run)?;
        let mut child = Command::new(program)
            .arg(command)
            .arg("--config")
            .arg(config)
            .arg("--with-parent")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(run)?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let mut process = Self { name, child, stdin };
        let line = async {
            let mut line = String::new();
            if let Some(stdout) = stdout {
                let _ = BufReader::new(stdout).read_line(&mut line).await;
            }
            line
        };
        let line = tokio::time::timeout(START, line).await.unwrap_or_default();
        match line.trim().strip_prefix("ready ") {
            Some(address) => Ok((process, address.to_string())),
            None => {
                let name = process.name.clone();
                process.end().await;
                Err(Failure::Run(format!("{name} did not start")))
            }
        }
    }

    /// Asks it to end by closing its standard input; kills it if it does not.
    async fn end(&mut self) {
        drop(self.stdin.take());
        if tokio::time::timeout(END, self.child.wait()).await.is_err() {
            let _ = self.child.kill().await;
        }
    }
}

pub(crate) fn run(args: &LocalArgs) -> Result<(), Failure> {
    let folder = Folder::create()?;
    let runtime = runtime()?;
    let done = runtime.block_on(serve(args, &folder.0));
    runtime.shutdown_background();
    done
}

async fn serve(args: &LocalArgs, folder: &Path) -> Result<(), Failure> {
    let cluster = cluster_file(args, folder)?;
    let roles = files::cluster(&cluster).map_err(|error| Failure::Input(error.to_string()))?;
    let policy = match Path::new(&args.policy).is_file() {
        true => absolute(Path::new(&args.policy))?,
        false => args.policy.clone(),
    };
    files::policy(&policy).map_err(|error| Failure::Input(error.to_string()))?;
    let common = format!(
        "cluster = {cluster:?}\npolicy = {policy:?}\nsecret_file = {:?}\n",
        folder.join("secret").display().to_string()
    );
    let mut processes = Vec::new();
    let mut addresses = Vec::new();
    for (id, spec) in roles.nodes.iter().enumerate() {
        let role = match spec.role {
            Role::Prefill => "prefill",
            Role::Decode => "decode",
            Role::Coupled => "coupled",
        };
        let config = folder.join(format!("node-{id}.toml"));
        write(&config, &node_file(args, folder, &common, id)?)?;
        let name = format!("node {id} ({role})");
        let (process, address) = Process::start(name, "node", &config).await?;
        processes.push(process);
        addresses.push(address);
    }
    let config = folder.join("gateway.toml");
    write(&config, &gateway_file(args, &common, &addresses)?)?;
    let (gateway, address) = Process::start("gateway".into(), "gateway", &config).await?;
    super::gateway::say_ready(&address);
    // The gateway first: it finishes what it has, as long as its nodes are there.
    processes.insert(0, gateway);
    let died = wait(&mut processes, shutdown(false)).await;
    let mut rest = processes.drain(..);
    if let Some(mut gateway) = rest.next() {
        gateway.end().await;
    }
    for mut node in rest {
        node.end().await;
    }
    match died {
        None => Ok(()),
        Some(name) => Err(Failure::Run(format!("{name} has ended by itself"))),
    }
}

/// Until the gateway ends by itself (its name then) or it is enough. A node that ends is the gateway's to live with.
async fn wait(processes: &mut [Process], enough: impl Future<Output = ()>) -> Option<String> {
    let gateway = processes.first_mut()?;
    tokio::select! {
        () = enough => None,
        _ = gateway.child.wait() => Some(gateway.name.clone()),
    }
}

/// The cluster's file: the one that is named, or one of nodes with the built-in model.
fn cluster_file(args: &LocalArgs, folder: &Path) -> Result<String, Failure> {
    let given = Path::new(&args.nodes);
    if given.is_file() {
        return absolute(given);
    }
    let expected = || {
        Failure::Input(format!(
            "--nodes: expected NpMd such as 2p2d, a count of coupled nodes, or a file, found {:?}",
            args.nodes
        ))
    };
    let count = |text: &str| {
        text.parse::<u16>()
            .ok()
            .filter(|&count| (1..=64).contains(&count))
    };
    let groups = match args
        .nodes
        .strip_suffix('d')
        .and_then(|counts| counts.split_once('p'))
    {
        Some((prefill, decode)) => vec![
            ("prefill", count(prefill).ok_or_else(expected)?),
            ("decode", count(decode).ok_or_else(expected)?),
        ],
        None => vec![("coupled", count(&args.nodes).ok_or_else(expected)?)],
    };
    let mut text = "name = \"local\"\nprofile = \"cpu-tiny\"\nblock_tokens = 16\n".to_string();
    for (role, count) in groups {
        text += &format!("\n[[nodes]]\ncount = {count}\nrole = \"{role}\"\n");
    }
    text += "\n[coupled]\nschedule = \"chunked\"\nprefix_caching = true\n";
    write(&folder.join("cpu-tiny.toml"), PROFILE)?;
    let path = folder.join("cluster.toml");
    write(&path, &text)?;
    Ok(path.display().to_string())
}

fn node_file(args: &LocalArgs, folder: &Path, common: &str, id: usize) -> Result<String, Failure> {
    let transfer = match args.transfer {
        TransferKind::Shm => format!("shm://{}", folder.join(format!("kv-{id}")).display()),
        TransferKind::Tcp => "tcp://127.0.0.1:0".into(),
        TransferKind::Verbs => "verbs://127.0.0.1:0".into(),
    };
    let kind = match args.engine {
        EngineKind::Cpu => "cpu",
        #[cfg(feature = "cuda")]
        EngineKind::Cuda => "cuda",
        EngineKind::Sleep => "sleep",
    };
    let mut engine = format!("kind = {kind:?}");
    if args.engine != EngineKind::Sleep {
        let model = match args.model.as_str() {
            "tiny" => "tiny".to_string(),
            path => absolute(Path::new(path))?,
        };
        engine.push_str(&format!("\nmodel = {model:?}"));
    }
    Ok(format!(
        "node = {id}\nlisten = \"127.0.0.1:0\"\ntransfer = {transfer:?}\n{common}\n[engine]\n{engine}\n"
    ))
}

fn gateway_file(args: &LocalArgs, common: &str, addresses: &[String]) -> Result<String, Failure> {
    let text = match args.model.as_str() {
        "tiny" => "tiny".to_string(),
        path => absolute(Path::new(path))?,
    };
    let journal = match &args.journal {
        Some(path) => {
            let path = absolute_new(path)?;
            format!("\n[journal]\npath = {path:?}\n")
        }
        None => String::new(),
    };
    let model = match args.model.as_str() {
        "tiny" => "tiny",
        path => Path::new(path)
            .file_stem()
            .and_then(|name| name.to_str())
            .unwrap_or("model"),
    };
    Ok(format!(
        "listen = \"{}\"\ntext = {text:?}\n{common}\n[nodes]\nlist = {addresses:?}\n{journal}\n[gateway]\nmodel = {model:?}\nconcurrent_max = {}\nlog_requests = {}\ndrain_s = 5\n",
        args.listen, args.concurrency, !args.quiet
    ))
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| Failure::Run(format!("{}: {error}", path.display())))
}

fn absolute(path: &Path) -> Result<String, Failure> {
    let path = path.canonicalize();
    match path {
        Ok(path) => Ok(path.display().to_string()),
        Err(error) => Err(Failure::Input(error.to_string())),
    }
}

/// The absolute path of a file that need not be there.
fn absolute_new(path: &Path) -> Result<String, Failure> {
    let path = std::path::absolute(path)?;
    Ok(path.display().to_string())
}

/// A temporary folder that only this user can read: the cluster's secret is in it. Removed with this.
struct Folder(PathBuf);

impl Folder {
    fn create() -> Result<Self, Failure> {
        use std::os::unix::fs::DirBuilderExt;
        let mut secret = [0; 32];
        std::fs::File::open("/dev/urandom")?.read_exact(&mut secret)?;
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        let path = std::env::temp_dir().join(format!("conductord-{}", &hex[..16]));
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        let folder = Self(path);
        write(&folder.0.join("secret"), &hex[16..])?;
        Ok(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
