//! `conductord gateway`: its file, and everything that it starts: the driver with its journal, links to the nodes, and
//! the door for clients.

use crate::clock::MonotonicClock;
use crate::discovery::{self, DiscoveryError, EtcdConfig, Nodes};
use crate::engines::{self, EngineFile, EngineNews};
use crate::files::{self, FileError};
use crate::gateway::{self, Front, GatewayConfig};
use crate::journal::{FileJournal, Journal, JournalConfig, NoJournal, SyncPolicy};
use crate::links::{self, LinkNews, LinksConfig};
use crate::node::{NoStanding, NodeStatus, standing};
use crate::wire::{Secret, SecretError, Tls, TlsError, TlsFiles};
use conductor_core::config::{ClusterConfig, PolicyConfig};
use conductor_core::ids::NodeId;
use serde::Deserialize;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// `conductord gateway --config FILE`, as TOML.
///
/// ```
/// # use conductor_runtime::daemon::GatewayFile;
/// let file: GatewayFile = toml::from_str(
///     r#"
///     listen = "127.0.0.1:8080"
///     cluster = "cluster.toml"
///     policy = "kvcache-centric+early-predicted"
///     secret_file = "/etc/conductor/secret"
///     text = "tiny"
///
///     [nodes]
///     file = "nodes.toml"
///
///     [journal]
///     path = "/var/lib/conductor/journal.jsonl"
///
///     [gateway]
///     concurrent_max = 256
///     "#,
/// )?;
/// assert_eq!(file.seed, 1);
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayFile {
    /// Where clients come. Port 0: any.
    pub listen: SocketAddr,
    /// A built-in cluster's name or a file, the same one as the nodes'.
    pub cluster: String,
    /// A built-in policy's name or a file, the same one as the nodes'.
    #[serde(default = "default_policy")]
    pub policy: String,
    /// Of policies that draw.
    #[serde(default = "default_seed")]
    pub seed: u64,
    /// Holds the cluster's secret; engines need none.
    pub secret_file: Option<PathBuf>,
    /// Encrypts what is said to nodes; they have it, too.
    pub tls: Option<TlsFiles>,
    /// Whose tokenizer: `tiny`, or a model's folder or file.
    #[serde(default = "default_text")]
    pub text: String,
    /// Where nodes are.
    pub nodes: Option<NodesFile>,
    /// Engines in place of nodes, in the cluster's order; see [`crate::engines`].
    #[serde(default)]
    pub engine: Vec<EngineFile>,
    /// How nodes are watched.
    #[serde(default)]
    pub links: LinksFile,
    /// Where decisions are written down; without it they are not.
    pub journal: Option<JournalFile>,
    /// Limits towards clients.
    #[serde(default)]
    pub gateway: GatewayConfig,
}

/// `[nodes]`: one of them. A node of the cluster that a file or etcd does not have is down until they do.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub enum NodesFile {
    /// Addresses by node number: of all nodes, for good.
    List(Vec<String>),
    /// A list of nodes that is read again when it changes, see [`crate::discovery`].
    File(PathBuf),
    /// Nodes announce themselves there.
    Etcd(EtcdConfig),
}

impl NodesFile {
    /// Whether it can be, of a cluster of `count` nodes.
    fn check(&self, count: usize) -> Result<(), DaemonError> {
        match self {
            Self::List(list) if list.len() != count => Err(DaemonError::Setting(format!(
                "nodes.list: {} addresses, expected one for each of the cluster's {count} nodes",
                list.len()
            ))),
            Self::List(_) => Ok(()),
            Self::File(path) => Ok(discovery::read(path, count).map(|_| ())?),
            Self::Etcd(_) if cfg!(feature = "etcd") => Ok(()),
            Self::Etcd(_) => Err(DaemonError::Setting(discovery::WITHOUT_ETCD.into())),
        }
    }

    async fn follow(&self, count: usize) -> Result<Nodes, DaemonError> {
        Ok(match self {
            Self::List(list) => Nodes::fixed(list.iter().cloned()),
            Self::File(path) => discovery::watch_file(path, count)?.into(),
            #[cfg(feature = "etcd")]
            Self::Etcd(config) => discovery::etcd::watch_nodes(config.clone(), count)
                .await?
                .into(),
            #[cfg(not(feature = "etcd"))]
            Self::Etcd(_) => return Err(DaemonError::Setting(discovery::WITHOUT_ETCD.into())),
        })
    }
}

/// `[links]`
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinksFile {
    /// Between two pings, in milliseconds.
    pub ping_ms: u64,
    /// A node that has said nothing for so long is gone, in milliseconds.
    pub silent_ms: u64,
}

impl Default for LinksFile {
    fn default() -> Self {
        Self {
            ping_ms: 250,
            silent_ms: 2_000,
        }
    }
}

/// `[journal]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JournalFile {
    /// The first file.
    pub path: PathBuf,
    /// A file that has this many bytes is full.
    #[serde(default = "default_file_bytes")]
    pub file_bytes_max: u64,
    /// Lines that wait for the disk at most.
    #[serde(default = "default_queue")]
    pub queue_lines: usize,
    /// When the disk is told to keep what was written.
    #[serde(default = "default_sync")]
    pub sync: SyncPolicy,
}

fn default_policy() -> String {
    "kvcache-centric".into()
}

const fn default_seed() -> u64 {
    1
}

fn default_text() -> String {
    "tiny".into()
}

const fn default_file_bytes() -> u64 {
    256 << 20
}

const fn default_queue() -> usize {
    1 << 16
}

const fn default_sync() -> SyncPolicy {
    SyncPolicy::EverySecond
}

/// Why the gateway does not run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// What its file names.
    #[error(transparent)]
    File(#[from] FileError),
    /// The secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The list of nodes.
    #[error(transparent)]
    Nodes(#[from] DiscoveryError),
    /// A setting.
    #[error("{0}")]
    Setting(String),
    /// The system.
    #[error("{what}: {why}")]
    System {
        /// What was tried.
        what: String,
        /// What was seen.
        why: io::Error,
    },
}

impl DaemonError {
    /// True if the user's input is wrong, not the system.
    #[must_use]
    pub const fn is_input(&self) -> bool {
        !matches!(self, Self::System { .. })
    }
}

/// A gateway's file with all that it names.
#[derive(Debug)]
pub struct GatewayParts {
    file: GatewayFile,
    cluster: ClusterConfig,
    policy: PolicyConfig,
    reached: Reached,
}

/// Who the cluster's nodes are.
#[derive(Debug)]
enum Reached {
    /// Nodes of this project.
    Nodes {
        secret: Secret,
        tls: Option<Box<Tls>>,
        list: NodesFile,
    },
    /// Engines of others.
    Engines(Vec<EngineFile>),
}

impl GatewayParts {
    /// Reads everything, starts nothing.
    ///
    /// # Errors
    /// If something is missing or wrong.
    pub fn read(path: &Path) -> Result<Self, DaemonError> {
        let file: GatewayFile = files::parse(path)?;
        let cluster = files::cluster(&file.cluster)?;
        let policy = files::policy(&file.policy)?;
        let setting = |error: String| DaemonError::Setting(format!("{}: {error}", path.display()));
        file.gateway
            .check()
            .map_err(|error| setting(error.to_string()))?;
        let reached = match (&file.nodes, &file.engine[..]) {
            (None, []) => return Err(setting("expected nodes or engines".into())),
            (Some(_), [_, ..]) => return Err(setting("expected either nodes or engines".into())),
            (None, _) if file.tls.is_some() => {
                let expected = "tls: expected nodes; engines are reached as their `url` says";
                return Err(setting(expected.into()));
            }
            (None, engines) => {
                EngineFile::check(engines, &cluster).map_err(|error| setting(error.to_string()))?;
                Reached::Engines(engines.to_vec())
            }
            (Some(nodes), []) => {
                let Some(secret_file) = &file.secret_file else {
                    let expected = "secret_file: expected the file with the cluster's secret";
                    return Err(setting(expected.into()));
                };
                nodes
                    .check(cluster.nodes.len())
                    .map_err(|error| match error {
                        DaemonError::Setting(error) => setting(error),
                        other => other,
                    })?;
                Reached::Nodes {
                    secret: Secret::read(secret_file)?,
                    tls: file.tls.as_ref().map(Tls::read).transpose()?.map(Box::new),
                    list: nodes.clone(),
                }
            }
        };
        Ok(Self {
            file,
            cluster,
            policy,
            reached,
        })
    }

    /// The cluster.
    #[must_use]
    pub const fn cluster(&self) -> &ClusterConfig {
        &self.cluster
    }

    /// How each node of the list stands, by its own word.
    ///
    /// # Errors
    /// If there is no list.
    pub async fn standings(
        &self,
    ) -> Result<Vec<(NodeId, Result<NodeStatus, NoStanding>)>, DaemonError> {
        let count = self.cluster.nodes.len();
        let Reached::Nodes { secret, tls, list } = &self.reached else {
            let error = "its nodes are engines of others, which do not say how they stand";
            return Err(DaemonError::Setting(error.into()));
        };
        let nodes = list.follow(count).await?;
        let ask = async |id: NodeId| {
            let address = nodes.listed(id).unwrap_or_default();
            (id, standing(&address, secret, tls.as_deref()).await)
        };
        let ids = (0..count as u16).map(NodeId);
        Ok(futures_util::future::join_all(ids.map(ask)).await)
    }

    fn journal(&self) -> Result<Box<dyn Journal>, DaemonError> {
        let Some(file) = &self.file.journal else {
            return Ok(Box::new(NoJournal));
        };
        let config = JournalConfig {
            path: file.path.clone(),
            file_bytes_max: file.file_bytes_max,
            queue_lines: file.queue_lines,
            sync: file.sync,
        };
        let journal = FileJournal::create(config).map_err(|why| DaemonError::System {
            what: format!("journal {}", file.path.display()),
            why,
        })?;
        Ok(Box::new(journal))
    }
}

/// Connections that end when this is dropped.
enum Kept {
    Links(#[expect(dead_code, reason = "it is kept")] links::Links),
    Engines(#[expect(dead_code, reason = "it is kept")] engines::Engines),
}

/// Runs a gateway until `shutdown`. `ready` hears of the address when clients can come and nodes that can serve are up.
///
/// # Errors
/// If it cannot start.
pub async fn run(
    parts: GatewayParts,
    ready: impl FnOnce(SocketAddr) + Send + 'static,
    shutdown: impl Future<Output = ()>,
) -> Result<(), DaemonError> {
    let GatewayParts {
        file,
        cluster,
        policy,
        reached,
    } = &parts;
    let system = |what: String| move |why| DaemonError::System { what, why };
    let text = gateway::text_of(&file.text).map_err(DaemonError::Setting)?;
    let listener = TcpListener::bind(file.listen).await;
    let listener = listener.map_err(system(format!("listen {}", file.listen)))?;
    let address = listener.local_addr().map_err(system("listen".into()))?;
    let clock = MonotonicClock::start();
    let (driver, _task) = crate::task::spawn(cluster, policy, file.seed, parts.journal()?, clock);
    let _kept: Kept = match reached {
        Reached::Nodes { secret, tls, list } => {
            let links = LinksConfig {
                tls: tls.as_deref().cloned(),
                ping: Duration::from_millis(file.links.ping_ms),
                silent: Duration::from_millis(file.links.silent_ms),
                ..LinksConfig::new(secret.clone())
            };
            let report: links::Report = Arc::new(|node, news: &LinkNews| match news {
                LinkNews::Up { .. } => eprintln!("conductord: {node} is up"),
                LinkNews::Down(error) => eprintln!("conductord: {node} is gone: {error}"),
                LinkNews::Unreachable(error) => eprintln!("conductord: {node}: {error}"),
            });
            let nodes = list.follow(cluster.nodes.len()).await?;
            Kept::Links(links::spawn(
                links,
                nodes,
                cluster,
                policy,
                driver.clone(),
                report,
            ))
        }
        Reached::Engines(list) => {
            let report: engines::Report = Arc::new(|node, news: &EngineNews| match news {
                EngineNews::Up { tokens_max: None } => eprintln!("conductord: {node} is up"),
                EngineNews::Up {
                    tokens_max: Some(most),
                } => eprintln!(
                    "conductord: {node} is up; it takes {most} tokens of prompt and answer, and refuses what is longer"
                ),
                EngineNews::Down(why, counts) => eprintln!(
                    "conductord: {node} is gone: {why}; {} requests, of {} compared {} had as much cached as expected",
                    counts.sent, counts.compared, counts.agreed
                ),
                EngineNews::Unusable(why) => eprintln!("conductord: {node}: {why}"),
            });
            let setting = engines::Setting {
                block: cluster.block,
                model: file.gateway.model.clone(),
                text: Arc::clone(&text),
                driver: driver.clone(),
                report,
            };
            Kept::Engines(engines::spawn(list, &setting).map_err(DaemonError::Setting)?)
        }
    };
    let front = Front::new(file.gateway.clone(), cluster, policy);
    let (waiting, asks) = (
        driver.clone(),
        Front::new(file.gateway.clone(), cluster, policy),
    );
    tokio::spawn(async move {
        while let Ok(status) = waiting.status().await {
            if asks.can_serve(&status.up) {
                return ready(address);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    gateway::serve(front, driver, text, listener, shutdown)
        .await
        .map_err(system("gateway".into()))
}
