//! The gateway: OpenAI's HTTP interface in front of the driver.
//!
//! It turns bodies into prompts and tokens into text, and keeps clients within limits. Whether and where a request runs
//! it does not decide: all that it knows of the cluster is its [`DriverHandle`], and the Conductor's word for a request
//! is passed on as it is.
//!
//! A client that goes is noticed by its connection: the answer's future is dropped with it, and so is the driver's
//! [`crate::task::Answers`], which cancels the request on every node.
//!
//! Not here: tokenizers and chat templates (the engines'), TLS (a proxy's), decisions.

mod answer;
mod body;
mod config;
mod error;
mod generation;
mod log;
mod metrics;
mod once;
mod prepare;
mod request;
mod routes;
mod server;
mod snapshot;
mod stall;
mod text;

pub use conductor_events::names::{CacheSpace, block_hashes};
pub use config::{GatewayConfig, GatewayConfigError};
pub use error::ApiError;
pub use prepare::{INLINE_MAX, Prepared, prepare};
pub use request::{Api, Input, Wish};
pub use text::{Decode, Text, text_of};

use crate::task::DriverHandle;
use conductor_core::config::{ClusterConfig, PolicyConfig, Role};
use conductor_core::units::Tokens;
use log::Log;
use metrics::Metrics;
use once::Kept;
use prepare::Turns;
use snapshot::Snapshot;
use std::future::Future;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// What a gateway is told of its surroundings.
#[derive(Clone, Debug)]
pub struct Front {
    /// Its limits.
    pub config: GatewayConfig,
    /// Tokens in a KV block.
    pub block: Tokens,
    /// What each node does, by number.
    pub roles: Vec<Role>,
    /// Names of the policy's classes, in its order.
    pub classes: Vec<String>,
}

impl Front {
    /// Of a cluster and a policy: those of the driver.
    #[must_use]
    pub fn new(config: GatewayConfig, cluster: &ClusterConfig, policy: &PolicyConfig) -> Self {
        let classes = policy.classes.iter();
        Self {
            config,
            block: cluster.block,
            roles: cluster.nodes.iter().map(|node| node.role).collect(),
            classes: classes.map(|class| class.name.clone()).collect(),
        }
    }

    /// True if nodes that are up can serve a request.
    #[must_use]
    pub fn can_serve(&self, up: &[bool]) -> bool {
        let roles = self.roles.iter().zip(up).filter(|&(_, &up)| up);
        let up = |wanted: Role| roles.clone().any(|(&role, _)| role == wanted);
        up(Role::Coupled) || up(Role::Prefill) && up(Role::Decode)
    }
}

/// What all requests share.
struct Gateway {
    front: Arc<Front>,
    text: Arc<dyn Text>,
    driver: DriverHandle,
    /// Room for requests: as many permits as there may be.
    room: Arc<Semaphore>,
    turns: Turns,
    kept: Arc<Kept>,
    metrics: Arc<Metrics>,
    log: Arc<Log>,
    snapshot: Snapshot,
    keys: Option<Vec<String>>,
    draining: AtomicBool,
    /// Unix seconds.
    started: u64,
    /// Nobody outside knows it, so nobody can say which numbers come next.
    secret: RandomState,
    made: AtomicU64,
}

impl Gateway {
    /// A number that has not been made before, as far as anybody can tell.
    fn number(&self) -> u64 {
        let mut hasher = self.secret.build_hasher();
        hasher.write_u64(self.made.fetch_add(1, Ordering::Relaxed));
        hasher.finish()
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// Requests that have room taken.
    fn under_way(&self) -> usize {
        let most = self.front.config.concurrent_max;
        most.saturating_sub(self.room.available_permits())
    }
}

/// Seconds since 1970, for clients.
fn unix_seconds() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Serves clients on `listener` until `shutdown` comes; then refuses new requests, finishes those under way as long as
/// they may take, and ends the driver.
///
/// # Errors
/// If the configuration cannot be, its file of keys cannot be read, or no thread can be started for the log.
pub async fn serve(
    front: Front,
    driver: DriverHandle,
    text: Arc<dyn Text>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
    front.config.check().map_err(invalid)?;
    let config = &front.config;
    let gateway = Arc::new(Gateway {
        room: Arc::new(Semaphore::new(config.concurrent_max)),
        turns: Turns::new(config.tokenizers),
        kept: Arc::new(Kept::new(config)),
        metrics: Arc::new(Metrics::new()),
        log: Arc::new(Log::start(config.log_requests)?),
        snapshot: Snapshot::default(),
        keys: routes::read_keys(config.api_key_file.as_deref())?,
        front: Arc::new(front),
        text,
        driver,
        draining: AtomicBool::new(false),
        started: unix_seconds(),
        secret: RandomState::new(),
        made: AtomicU64::new(0),
    });
    server::run(&gateway, listener, shutdown).await;
    gateway.driver.end().await;
    Ok(())
}
