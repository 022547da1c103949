//! The gateway's connections to its nodes: dials each, keeps one session with it, and says when it is gone.
//!
//! A node that has said nothing for [`LinksConfig::silent`] is gone, whatever its connection looks like: it may be
//! stopped, or its machine unreachable. Pings go through the node's own loop, so that a node that is stuck is silent,
//! too. A node that comes back begins with what it has cached, so a gateway that was restarted knows all caches after
//! one round.
//!
//! Not here: what is said ([`crate::protocol`]), and what follows from a node's going (the core's).

mod session;

use crate::task::{DriverHandle, SessionId};
use crate::wire::{MESSAGE_BYTES_MAX, Secret};
use conductor_core::config::{ClusterConfig, PolicyConfig, Role};
use conductor_core::ids::NodeId;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How nodes are reached.
#[derive(Clone, Debug)]
pub struct LinksConfig {
    /// Where each node of the cluster listens, by number: `HOST:PORT`.
    pub nodes: Vec<String>,
    /// Shown to every node.
    pub secret: Secret,
    /// Between two pings.
    pub ping: Duration,
    /// After so long without a word a node is gone.
    pub silent: Duration,
    /// How long connecting and greeting may take together.
    pub connect: Duration,
    /// Before the first new try; it doubles with each further one.
    pub pause_min: Duration,
    /// Between two tries at most.
    pub pause_max: Duration,
    /// A larger message ends the session.
    pub message_bytes_max: usize,
}

impl LinksConfig {
    /// Pings four times a second; 2 s of silence; new tries after 50 ms to 1 s.
    #[must_use]
    pub const fn new(nodes: Vec<String>, secret: Secret) -> Self {
        Self {
            nodes,
            secret,
            ping: Duration::from_millis(250),
            silent: Duration::from_secs(2),
            connect: Duration::from_secs(2),
            pause_min: Duration::from_millis(50),
            pause_max: Duration::from_secs(1),
            message_bytes_max: MESSAGE_BYTES_MAX,
        }
    }
}

/// What happens to a node's connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkNews {
    /// The node is there.
    Up {
        /// Another one than before is another process.
        instance: u64,
    },
    /// It was there, and is gone.
    Down(LinkError),
    /// It could not be reached. Said once for each reason, not for each try.
    Unreachable(LinkError),
}

/// Why there is no session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The list of nodes.
    #[error("node address \"{0}\", expected HOST:PORT")]
    Address(String),
    /// Nobody is there.
    #[error("{address}: cannot connect: {why}")]
    Connect {
        /// Where.
        address: String,
        /// What was seen.
        why: String,
    },
    /// It does not let us in, or ended the session.
    #[error("{address}: {why}")]
    Refused {
        /// Where.
        address: String,
        /// Its words.
        why: String,
    },
    /// Somebody else is there.
    #[error("{address}: {what} is {found}, expected {expected}")]
    Other {
        /// Where.
        address: String,
        /// In what it differs.
        what: &'static str,
        /// What it has.
        found: String,
        /// What it should have.
        expected: String,
    },
    /// It says what cannot be understood.
    #[error("{address}: {why}")]
    Malformed {
        /// Where.
        address: String,
        /// What.
        why: String,
    },
    /// Nothing was heard.
    #[error("{address}: silent for {} ms", .after.as_millis())]
    Silent {
        /// Where.
        address: String,
        /// For how long.
        after: Duration,
    },
    /// It does not take its orders.
    #[error("{address}: too many orders wait for it")]
    Stuck {
        /// Where.
        address: String,
    },
    /// It ended the session without a word.
    #[error("{address}: the connection is closed")]
    Closed {
        /// Where.
        address: String,
    },
    /// This side is ending.
    #[error("the driver has ended")]
    Ended,
}

/// Who hears of it: called on the link's task, so it must not block.
pub type Report = Arc<dyn Fn(NodeId, &LinkNews) + Send + Sync>;

/// The list of nodes and the cluster's differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found} node addresses, expected one for each of the cluster's {expected} nodes")]
pub struct WrongCount {
    /// Addresses that were given.
    pub found: usize,
    /// Nodes that there are.
    pub expected: usize,
}

/// Connections to all nodes. Dropping it closes them.
pub struct Links(JoinSet<()>);

impl fmt::Debug for Links {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Links({})", self.0.len())
    }
}

/// What all links share.
struct Shared {
    config: LinksConfig,
    digest: String,
    /// Tells attempts of this gateway from those of the one before it.
    epoch: u64,
    driver: DriverHandle,
    report: Report,
}

/// Begins to dial; goes on until it is dropped or the driver ends.
///
/// # Errors
/// If the list of nodes does not fit the cluster.
pub fn spawn(
    config: LinksConfig,
    cluster: &ClusterConfig,
    policy: &PolicyConfig,
    driver: DriverHandle,
    report: Report,
) -> Result<Links, WrongCount> {
    if config.nodes.len() != cluster.nodes.len() {
        return Err(WrongCount {
            found: config.nodes.len(),
            expected: cluster.nodes.len(),
        });
    }
    let shared = Arc::new(Shared {
        digest: crate::wire::digest(cluster, policy),
        config,
        epoch: crate::wire::random(),
        driver,
        report,
    });
    let mut tasks = JoinSet::new();
    for (number, spec) in cluster.nodes.iter().enumerate() {
        let link = Link {
            shared: Arc::clone(&shared),
            node: NodeId(number as u16),
            role: spec.role,
        };
        tasks.spawn(link.keep());
    }
    Ok(Links(tasks))
}

/// The connection to one node.
struct Link {
    shared: Arc<Shared>,
    node: NodeId,
    role: Role,
}

impl Link {
    /// Session after session.
    async fn keep(self) {
        let Shared { config, report, .. } = &*self.shared;
        let mut pause = config.pause_min;
        let mut said = None;
        for session in 1.. {
            let (was_up, error) = self.session(SessionId(session)).await;
            if error == LinkError::Ended {
                return;
            }
            if was_up {
                report(self.node, &LinkNews::Down(error));
                (pause, said) = (config.pause_min, None);
            } else if said.as_ref() != Some(&error) {
                report(self.node, &LinkNews::Unreachable(error.clone()));
                said = Some(error);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(config.pause_max);
        }
    }
}
