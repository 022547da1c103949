//! A node's process: an agent, an engine on a thread of its own, the blocks, the messenger, and what is answered over
//! gRPC.
//!
//! | file | what |
//! |---|---|
//! | `config` | the configuration file |
//! | `body` | the one loop that owns all state; its parts are `carry`, `step`, `land`, `lend` |
//! | `kv` | the book of blocks |
//! | `compute` | the engine's thread |
//! | `peers`, `send`, `fetch` | what is asked of other nodes, and KV to and from them |
//! | `server` | what is answered |
//! | `standing` | how a node stands, asked from outside |
//!
//! A node that loses its gateway gives up its work and keeps its cache. One whose engine dies ends: beginning again
//! must work anyway.
//!
//! Not here: decisions (the core's), where nodes are (the gateway says so).

mod body;
mod carry;
mod compute;
mod config;
mod fetch;
#[cfg(feature = "cuda")]
mod gpu;
mod kv;
mod land;
mod lend;
mod peers;
mod rdma;
mod send;
mod server;
mod standing;
mod step;

pub use body::NodeStatus;
#[cfg(feature = "cuda")]
pub use config::ProductsConfig;
pub use config::{EngineConfig, GIVE_UP, NodeConfig, NodeLimits, NodeParts, PartsError};
pub use rdma::{CompletionKind, RdmaConfig};
pub use standing::{NoStanding, standing};

use crate::discovery::WITHOUT_ETCD;
use crate::wire::{NodeServer, PeerServer, innermost};
use body::{Body, INBOX_MAX, Inbox, Parts};
use compute::{CostOf, Memory, Waker};
use conductor_core::config::{ClusterConfig, Role};
use conductor_core::ids::NodeId;
use conductor_engine::kv::{KvRegion, KvShape};
use conductor_engine::model::{Model, tiny};
use conductor_engine::{CpuEngine, Engine, SleepEngine};
use conductor_messenger::{Address, NoCalls, Notices, Options, Pages, Region, Shm, Tcp, Transport};
use peers::Peers;
use server::{Server, Shared};
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tonic::transport::server::TcpIncoming;

/// Why a node cannot run.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// What its configuration refers to.
    #[error(transparent)]
    Parts(#[from] PartsError),
    /// Its configuration.
    #[error("{key}: {why}")]
    Config {
        /// The key.
        key: &'static str,
        /// What is wrong, and what is expected.
        why: String,
    },
    /// An address that cannot be had.
    #[error("listen: {address}: {why}")]
    Listen {
        /// Which.
        address: String,
        /// What was seen.
        why: std::io::Error,
    },
    /// The messenger cannot listen.
    #[error("transfer: {0}")]
    Transfer(#[from] conductor_messenger::Error),
    /// Memory or threads cannot be had.
    #[error("{what}: {why}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What was seen.
        why: std::io::Error,
    },
    /// The engine cannot start.
    #[error("engine: {0}")]
    Engine(String),
    /// The engine's thread has died, and the node with it.
    #[error("the engine has died")]
    EngineDied,
}

fn wrong(key: &'static str, why: impl Into<String>) -> NodeError {
    let why = why.into();
    NodeError::Config { key, why }
}

fn not_an_address(key: &'static str, found: &str) -> NodeError {
    let why =
        format!("\"{found}\", expected tcp://ADDRESS:PORT, shm:///PATH or verbs://ADDRESS:PORT");
    wrong(key, why)
}

/// A node that runs.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    inbox: mpsc::Sender<Inbox>,
    body: JoinHandle<bool>,
    server: JoinHandle<()>,
    stop_server: Option<oneshot::Sender<()>>,
    transport: TransportHandle,
    #[cfg(feature = "etcd")]
    announced: Option<crate::discovery::etcd::Announcement>,
}

/// So that it can be shut down.
struct TransportHandle(Arc<dyn Transport>);

impl std::fmt::Debug for TransportHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.address())
    }
}

/// Runs a node until `shutdown`.
///
/// # Errors
/// If it cannot start, or its engine dies.
pub async fn run(
    config: NodeConfig,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), NodeError> {
    let parts = NodeParts::read(&config)?;
    until(start(config, parts).await?, shutdown).await
}

/// Lets a node that runs go on until `shutdown`.
///
/// # Errors
/// If its engine dies.
pub async fn until(
    mut running: Running,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), NodeError> {
    tokio::select! {
        () = shutdown => {
            running.end().await;
            Ok(())
        }
        died = running.died() => died,
    }
}

/// The engine of a configuration, without the rest of the node, to be timed.
///
/// # Errors
/// If it cannot start.
pub fn engine_of(config: &NodeConfig, parts: &NodeParts) -> Result<Box<dyn Engine>, NodeError> {
    let id = NodeId(config.node);
    let (blocks, _) = blocks_of(config, &parts.cluster)?;
    let (engine, _, _) = engine(&config.engine, id, &parts.cluster, blocks)?;
    Ok(engine)
}

/// Blocks of a node's memory, and those among them that are neither cache nor HBM.
fn blocks_of(config: &NodeConfig, cluster: &ClusterConfig) -> Result<(u32, u32), NodeError> {
    let Some(spec) = cluster.nodes.get(usize::from(config.node)) else {
        let nodes = cluster.nodes.len();
        let why = format!(
            "{} of a cluster of {nodes} nodes, expected less",
            config.node
        );
        return Err(wrong("node", why));
    };
    let largest = cluster.nodes.iter().map(|node| node.hbm_blocks).max();
    let scratch = config.limits.scratch_blocks.or(largest).unwrap_or(1).max(1);
    let blocks = spec.cache_blocks.max(spec.hbm_blocks).checked_add(scratch);
    let blocks = blocks.ok_or_else(|| wrong("limits.scratch_blocks", "too many"))?;
    Ok((blocks, scratch))
}

/// Starts a node; it listens when this returns.
///
/// # Errors
/// If it cannot start.
pub async fn start(config: NodeConfig, parts: NodeParts) -> Result<Running, NodeError> {
    let NodeParts {
        cluster,
        policy,
        secret,
        tls,
    } = parts;
    let id = NodeId(config.node);
    if config.etcd.is_some() && cfg!(not(feature = "etcd")) {
        return Err(wrong("etcd", WITHOUT_ETCD));
    }
    let (blocks, scratch) = blocks_of(&config, &cluster)?;
    let spec = cluster.nodes[id.index()];
    if spec.ssd_blocks > 0 || spec.stages > 1 {
        return Err(wrong(
            "cluster",
            "has an SSD or a pipeline, which only the simulator knows",
        ));
    }
    let (engine, memory, ends) = engine(&config.engine, id, &cluster, blocks)?;
    let (shape, engine_limits) = (engine.shape(), engine.limits());

    let listener = TcpListener::bind(config.listen).await;
    let listen = |why| NodeError::Listen {
        address: config.listen.to_string(),
        why,
    };
    let listener = listener.map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    let messenger_secret = conductor_messenger::Secret::new(secret.as_bytes());
    let options = Options::new(id, messenger_secret);
    let (transport, notices) = transport(&config, options).await?;
    let seen_at = match &config.advertise_transfer {
        None => transport.address().to_string(),
        Some(address) => match address.parse::<Address>() {
            Ok(address) => address.to_string(),
            Err(_) => return Err(not_an_address("advertise_transfer", address)),
        },
    };

    let (inbox, messages) = mpsc::channel(INBOX_MAX);
    let work = compute::spawn(engine, inbox.clone()).map_err(|why| NodeError::System {
        what: "engine's thread",
        why,
    })?;
    let server = Server {
        node: id,
        role: spec.role,
        secret: secret.clone(),
        digest: crate::wire::digest(&cluster, &policy),
        instance: crate::wire::random(),
        transfer: seen_at.clone(),
        inbox: inbox.clone(),
        sessions: AtomicU64::new(0),
    };
    let peers = Peers::new(
        id,
        (secret, tls.clone()),
        (Arc::clone(&transport), seen_at),
        &memory,
        shape,
        (config.limits.reserve(), config.limits.patience()),
    );
    let body = Body::new(Parts {
        id,
        cluster: Arc::new(cluster),
        policy: Arc::new(policy),
        limits: config.limits,
        engine_limits,
        ends,
        blocks,
        scratch,
        work,
        peers: Arc::new(peers),
        inbox: inbox.clone(),
    });
    let body = tokio::spawn(body.run(messages));
    tokio::spawn(hear_notices(notices, inbox.clone()));
    let mut server_builder = tonic::transport::Server::builder();
    if let Some(tls) = &tls {
        server_builder = tls
            .serve(server_builder)
            .map_err(|error| wrong("tls", innermost(&error)))?;
    }
    let (stop_server, stopped) = oneshot::channel::<()>();
    let serving = serve(
        server_builder,
        listener,
        Shared(Arc::new(server)),
        config.limits.message_bytes_max,
        stopped,
    );
    #[cfg(feature = "etcd")]
    let announced = config.etcd.map(|etcd| {
        let at = config.advertise.unwrap_or_else(|| address.to_string());
        crate::discovery::etcd::announce(etcd, id, at)
    });
    Ok(Running {
        address,
        inbox,
        body,
        server: tokio::spawn(serving),
        stop_server: Some(stop_server),
        transport: TransportHandle(transport),
        #[cfg(feature = "etcd")]
        announced,
    })
}

/// Answers until it is told to stop.
async fn serve(
    server: tonic::transport::Server,
    listener: TcpListener,
    shared: Shared,
    message_bytes_max: usize,
    stopped: oneshot::Receiver<()>,
) {
    let node = NodeServer::new(shared.clone())
        .max_decoding_message_size(message_bytes_max)
        .max_encoding_message_size(message_bytes_max);
    let peer = PeerServer::new(shared)
        .max_decoding_message_size(message_bytes_max)
        .max_encoding_message_size(message_bytes_max);
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = server
        .initial_stream_window_size(1 << 20)
        .http2_keepalive_interval(Some(Duration::from_secs(10)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .add_service(node)
        .add_service(peer);
    let until = async {
        let _ = stopped.await;
    };
    // It ends by an error only if the listener does, and then nobody reaches the node: its gateway finds out.
    let _ = server.serve_with_incoming_shutdown(incoming, until).await;
}

async fn hear_notices(mut notices: Notices, inbox: mpsc::Sender<Inbox>) {
    while let Some(notice) = notices.next().await {
        if inbox.send(Inbox::Arrived(notice.immediate)).await.is_err() {
            return;
        }
    }
}

async fn transport(
    config: &NodeConfig,
    options: Options,
) -> Result<(Arc<dyn Transport>, Notices), NodeError> {
    let address = &config.transfer;
    let parsed: Address = address
        .parse()
        .map_err(|_| not_an_address("transfer", address))?;
    Ok(match parsed {
        Address::Tcp(address) => {
            let (tcp, notices) = Tcp::bind(address, options, Arc::new(NoCalls)).await?;
            (Arc::new(tcp), notices)
        }
        Address::Shm(path) => {
            let (shm, notices) = Shm::bind(&path, options, Arc::new(NoCalls))?;
            (Arc::new(shm), notices)
        }
        #[cfg(feature = "rdma")]
        Address::Verbs(address) => {
            let settings = config.rdma.settings()?;
            let handler = Arc::new(NoCalls);
            let bound =
                conductor_messenger::Verbs::bind(address, options, &settings, handler).await;
            let (verbs, notices) = bound?;
            (Arc::new(verbs), notices)
        }
        other => {
            let why = format!("\"{other}\", which this build cannot: it has no feature `rdma`");
            return Err(wrong("transfer", why));
        }
    })
}

/// A model by its name or path.
fn open(model: &str) -> Result<Model, NodeError> {
    match model {
        "tiny" => Ok(tiny::model(0)),
        path => {
            Model::open(Path::new(path)).map_err(|error| wrong("engine.model", error.to_string()))
        }
    }
}

type Built = (Box<dyn Engine>, Memory, Vec<u32>);

/// The engine, its memory, and the tokens that end an answer.
fn engine(
    config: &EngineConfig,
    id: NodeId,
    cluster: &ClusterConfig,
    blocks: u32,
) -> Result<Built, NodeError> {
    let block = u32::try_from(cluster.block.0);
    let block = block.map_err(|_| wrong("cluster", "blocks of too many tokens"))?;
    let memory = |shape: &KvShape| {
        let bytes = shape.region_bytes(blocks) as u64;
        let region = Region::allocate(bytes, Pages::default());
        region.map_err(|why| NodeError::System {
            what: "memory for KV",
            why,
        })
    };
    let failed = |error: conductor_engine::EngineError| NodeError::Engine(error.to_string());
    match config {
        EngineConfig::Sleep {
            speed,
            layers,
            width,
            positions,
        } => {
            if !(1e-3..=1e6).contains(speed) {
                return Err(wrong(
                    "engine.speed",
                    format!("{speed}, expected 0.001 to 1e6"),
                ));
            }
            let shape = KvShape::new(*layers, 1, *width, block);
            let shape = shape.map_err(|error| wrong("engine", error.to_string()))?;
            let region = memory(&shape)?;
            let costs = cluster.truth();
            let speed = *speed;
            let mut waker = Waker::default();
            let sleep = move |time: Duration| waker.sleep(time.div_f64(speed));
            let engine = SleepEngine::new(
                shape,
                *positions as usize,
                Arc::new(Memory(region.clone())) as Arc<dyn KvRegion>,
                Box::new(CostOf { costs, node: id }),
                Box::new(sleep),
            );
            let mut engine = engine.map_err(failed)?;
            if cluster.nodes[id.index()].role != Role::Coupled {
                engine = engine.with_whole_prompts();
            }
            Ok((Box::new(engine), Memory(region), Vec::new()))
        }
        #[cfg(feature = "cuda")]
        EngineConfig::Cuda {
            model,
            device,
            products,
        } => {
            let model = open(model)?;
            let shape = model.config().kv_shape(block);
            let shape = shape.map_err(|error| wrong("cluster", error.to_string()))?;
            let region = memory(&shape)?;
            let engine = gpu::engine(&model, shape, blocks, &region, *device, *products)
                .map_err(|error| NodeError::Engine(error.to_string()))?;
            let ends = model.config().ends.clone();
            Ok((Box::new(engine), Memory(region), ends))
        }
        EngineConfig::Cpu { model, threads } => {
            let model = open(model)?;
            let shape = model.config().kv_shape(block);
            let shape = shape.map_err(|error| wrong("cluster", error.to_string()))?;
            let region = memory(&shape)?;
            let ends = model.config().ends.clone();
            let engine = CpuEngine::new(
                Arc::new(model),
                shape,
                Arc::new(Memory(region.clone())) as Arc<dyn KvRegion>,
                *threads,
            );
            Ok((Box::new(engine.map_err(failed)?), Memory(region), ends))
        }
    }
}

impl Running {
    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its messenger listens.
    #[must_use]
    pub fn transfer(&self) -> String {
        self.transport.0.address().to_string()
    }

    /// How it stands; `None` if it has died.
    pub async fn status(&self) -> Option<NodeStatus> {
        let (answer, status) = oneshot::channel();
        self.inbox.send(Inbox::Status(answer)).await.ok()?;
        status.await.ok()
    }

    /// For tests: it does nothing for so long, as if its process were stopped.
    pub async fn pause(&self, length: Duration) {
        let _ = self.inbox.send(Inbox::Pause(length)).await;
    }

    /// Waits until it ends by itself, which is an error.
    ///
    /// # Errors
    /// Always.
    pub async fn died(&mut self) -> Result<(), NodeError> {
        let _ = (&mut self.body).await;
        Err(NodeError::EngineDied)
    }

    /// Gives its work up, lets transfers end, and stops. Its gateway gives the requests in again elsewhere.
    pub async fn end(mut self) {
        #[cfg(feature = "etcd")]
        if let Some(announced) = self.announced.take() {
            announced.withdraw().await;
        }
        let (done, ended) = oneshot::channel();
        if self.inbox.send(Inbox::End(done)).await.is_ok() {
            let _ = ended.await;
        }
        if let Some(stop) = self.stop_server.take() {
            let _ = stop.send(());
        }
        let _ = (&mut self.body).await;
        self.transport.0.shutdown(Duration::from_secs(1)).await;
        // Peers that keep their connections open do not keep the node.
        self.server.abort();
    }
}
