//! A node's configuration file.

use super::rdma::RdmaConfig;
use crate::discovery::EtcdConfig;
use crate::files::{self, FileError};
use crate::wire::{MESSAGE_BYTES_MAX, Secret, SecretError, Tls, TlsError, TlsFiles};
use conductor_core::config::{ClusterConfig, PolicyConfig};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// `conductord node --config FILE`, as TOML.
///
/// ```
/// # use conductor_runtime::node::NodeConfig;
/// let config: NodeConfig = toml::from_str(
///     r#"
///     node = 0
///     listen = "127.0.0.1:7100"
///     transfer = "tcp://127.0.0.1:7200"
///     cluster = "2p2d"
///     secret_file = "/etc/conductor/secret"
///
///     [engine]
///     kind = "cpu"
///     model = "tiny"
///     "#,
/// )?;
/// assert_eq!(config.node, 0);
/// # Ok::<(), toml::de::Error>(())
/// ```
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeConfig {
    /// Its place in the cluster's list of nodes, from 0; its role is the one that it has there.
    pub node: u16,
    /// Where the gateway and other nodes reach it. Port 0: any.
    pub listen: SocketAddr,
    /// Where KV is moved: `tcp://ADDRESS:PORT`, `shm:///PATH` for nodes on one machine, or `verbs://ADDRESS:PORT`,
    /// where queue pairs are agreed on for RDMA.
    pub transfer: String,
    /// Where other nodes find `transfer`, if that is another address than the one it listens on.
    pub advertise_transfer: Option<String>,
    /// A built-in cluster's name or a file, the same one as the gateway's.
    pub cluster: String,
    /// A built-in policy's name or a file, the same one as the gateway's.
    #[serde(default = "default_policy")]
    pub policy: String,
    /// Holds the cluster's secret.
    pub secret_file: PathBuf,
    /// Encrypts the control plane; all of a cluster have it, or none.
    pub tls: Option<TlsFiles>,
    /// Where the node announces itself; without it a list names it.
    pub etcd: Option<EtcdConfig>,
    /// The address that it announces, `HOST:PORT`; by default the one that it listens on.
    pub advertise: Option<String>,
    /// What computes.
    pub engine: EngineConfig,
    /// Bounds.
    #[serde(default)]
    pub limits: NodeLimits,
    /// RDMA, if KV moves over it.
    #[serde(default)]
    pub rdma: RdmaConfig,
}

/// What computes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "kind")]
pub enum EngineConfig {
    /// A small Llama on the processor.
    Cpu {
        /// `tiny`, or a folder or file with a model.
        model: String,
        /// Threads; by default one.
        #[serde(default = "one")]
        threads: std::num::NonZeroUsize,
    },
    /// The same on a GPU; KV is in its memory and in the host's, from where it goes to other nodes.
    #[cfg(feature = "cuda")]
    Cuda {
        /// `tiny`, or a folder or file with a model.
        model: String,
        /// Which device, from 0.
        #[serde(default)]
        device: u32,
        /// `exact` (the default: tokens are those of the CPU, whatever the batch) or `cublas`.
        #[serde(default)]
        products: ProductsConfig,
    },
    /// Takes the time that the cluster's profile says and makes tokens up.
    Sleep {
        /// It goes through its times so often as fast; at 1000000 it takes no time.
        #[serde(default = "default_speed")]
        speed: f64,
        /// Layers of its KV.
        #[serde(default = "default_layers")]
        layers: u32,
        /// Numbers of 4 bytes in a token's keys of one layer, and in its values.
        #[serde(default = "default_width")]
        width: u32,
        /// Longest sequence.
        #[serde(default = "default_positions")]
        positions: u32,
    },
}

/// Who multiplies on a GPU.
#[cfg(feature = "cuda")]
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProductsConfig {
    /// Kernels that add up in one order.
    #[default]
    Exact,
    /// cuBLAS.
    Cublas,
}

/// Bounds of a node, each with a default that is safe.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodeLimits {
    /// Blocks besides those that the cluster's file gives to the cache or to HBM: for the prompt that is computed, for
    /// KV that is still being sent, and for KV that comes. By default as many as the largest node's HBM: the largest
    /// request that is taken in has room.
    pub scratch_blocks: Option<u32>,
    /// A larger message ends the session.
    pub message_bytes_max: usize,
    /// Requests whose KV waits for room here at most.
    pub reservations_max: usize,
    /// How long KV waits for room here, in milliseconds.
    pub reserve_ms: u64,
    /// How long a prompt's KV waits for a broken way to its decode node, in milliseconds; then the attempt fails.
    pub patience_ms: u64,
    /// How long other nodes may keep blocks of this one's cache, in milliseconds.
    pub lease_ms: u64,
    /// Chains of blocks that other nodes keep at most.
    pub pins_max: usize,
    /// A gateway that has said nothing for so long is gone, in milliseconds.
    pub silent_ms: u64,
    /// How long work for peers may take to end when the node ends, in milliseconds.
    pub end_ms: u64,
}

/// How long after it knows that its gateway has gone a node may still hold blocks for it. All work is given up at once;
/// what is left is the chunk or step that the engine is in, and transfers that are told to end. It knows when the
/// connection breaks, or after [`NodeLimits::silent_ms`] without a word.
pub const GIVE_UP: Duration = Duration::from_secs(2);

impl Default for NodeLimits {
    fn default() -> Self {
        Self {
            scratch_blocks: None,
            message_bytes_max: MESSAGE_BYTES_MAX,
            reservations_max: 4096,
            reserve_ms: 30_000,
            // The simulator's: an attempt that fails at once would use up all that a request has within one short cut.
            patience_ms: 5_000,
            lease_ms: 10_000,
            pins_max: 256,
            silent_ms: 10_000,
            end_ms: 5_000,
        }
    }
}

impl NodeLimits {
    pub(super) const fn reserve(&self) -> Duration {
        Duration::from_millis(self.reserve_ms)
    }

    pub(super) const fn patience(&self) -> Duration {
        Duration::from_millis(self.patience_ms)
    }

    pub(super) const fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }

    pub(super) const fn silent(&self) -> Duration {
        Duration::from_millis(self.silent_ms)
    }

    pub(super) const fn end(&self) -> Duration {
        Duration::from_millis(self.end_ms)
    }
}

fn default_policy() -> String {
    "kvcache-centric".into()
}

fn one() -> std::num::NonZeroUsize {
    std::num::NonZeroUsize::MIN
}

const fn default_speed() -> f64 {
    1.0
}

const fn default_layers() -> u32 {
    4
}

const fn default_width() -> u32 {
    2
}

const fn default_positions() -> u32 {
    1 << 20
}

/// What a node's configuration refers to.
#[derive(Clone, Debug)]
pub struct NodeParts {
    /// The cluster.
    pub cluster: ClusterConfig,
    /// The policy.
    pub policy: PolicyConfig,
    /// The secret.
    pub secret: Secret,
    /// Certificates.
    pub tls: Option<Tls>,
}

/// What a configuration refers to cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum PartsError {
    /// A file or a name.
    #[error(transparent)]
    File(#[from] FileError),
    /// The secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Certificates.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl NodeParts {
    /// Reads what `config` names.
    ///
    /// # Errors
    /// If a file is not there or not as expected.
    pub fn read(config: &NodeConfig) -> Result<Self, PartsError> {
        Ok(Self {
            cluster: files::cluster(&config.cluster)?,
            policy: files::policy(&config.policy)?,
            secret: Secret::read(&config.secret_file)?,
            tls: config.tls.as_ref().map(Tls::read).transpose()?,
        })
    }
}

impl EngineConfig {
    /// For reports.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Cpu { model, threads } => format!("{model} on {threads} threads"),
            #[cfg(feature = "cuda")]
            Self::Cuda { model, device, .. } => format!("{model} on CUDA device {device}"),
            Self::Sleep { speed, .. } => format!("asleep at speed {speed}"),
        }
    }
}
