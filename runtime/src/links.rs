//! The gateway's connections to its nodes: dials each, keeps one session with it, and says when it is gone.
//!
//! A node that has said nothing for [`LinksConfig::silent`] is gone, whatever its connection looks like: it may be
//! stopped, or its machine unreachable. Pings go through the node's own loop, so that a node that is stuck is silent,
//! too. A node that comes back begins with what it has cached, so a gateway that was restarted knows all caches after
//! one round.
//!
//! The list of nodes may change at any time ([`crate::discovery`]): one that moves is dialled where it is now, one that
//! is taken from the list is gone at once, and the nodes hear where their peers are.
//!
//! Not here: what is said ([`crate::protocol`]), and what follows from a node's going (the core's).

mod session;

use crate::discovery::Nodes;
use crate::task::{DriverHandle, SessionId};
use crate::wire::{MESSAGE_BYTES_MAX, Secret, Tls};
use conductor_core::config::{ClusterConfig, PolicyConfig, Role};
use conductor_core::ids::NodeId;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How nodes are reached.
#[derive(Clone, Debug)]
pub struct LinksConfig {
    /// Shown to every node.
    pub secret: Secret,
    /// With it connections are encrypted, and both sides show certificates.
    pub tls: Option<Tls>,
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
    pub const fn new(secret: Secret) -> Self {
        Self {
            secret,
            tls: None,
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
    /// The list of nodes does not have it.
    #[error("the list of nodes does not have it")]
    Unlisted,
    /// The list of nodes has it elsewhere.
    #[error("{from}: it is now at {to}")]
    Moved {
        /// Where it was.
        from: String,
        /// Where it is.
        to: String,
    },
    /// This side is ending.
    #[error("the driver has ended")]
    Ended,
}

/// Who hears of it: called on the link's task, so it must not block.
pub type Report = Arc<dyn Fn(NodeId, &LinkNews) + Send + Sync>;

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
    /// Nodes of the cluster.
    count: usize,
    digest: String,
    /// Tells attempts of this gateway from those of the one before it.
    epoch: u64,
    driver: DriverHandle,
    report: Report,
}

/// Begins to dial the cluster's nodes where `nodes` says that they are; goes on until it is dropped or the driver ends.
pub fn spawn(
    config: LinksConfig,
    nodes: Nodes,
    cluster: &ClusterConfig,
    policy: &PolicyConfig,
    driver: DriverHandle,
    report: Report,
) -> Links {
    let shared = Arc::new(Shared {
        digest: crate::wire::digest(cluster, policy),
        config,
        count: cluster.nodes.len(),
        epoch: crate::wire::random(),
        driver,
        report,
    });
    let mut tasks = JoinSet::new();
    for (number, spec) in cluster.nodes.iter().enumerate() {
        let link = Link {
            shared: Arc::clone(&shared),
            nodes: nodes.clone(),
            node: NodeId(number as u16),
            role: spec.role,
        };
        tasks.spawn(link.keep());
    }
    Links(tasks)
}

/// The connection to one node.
struct Link {
    shared: Arc<Shared>,
    nodes: Nodes,
    node: NodeId,
    role: Role,
}

impl Link {
    /// Session after session.
    async fn keep(mut self) {
        let shared = Arc::clone(&self.shared);
        let Shared { config, report, .. } = &*shared;
        let mut pause = config.pause_min;
        let mut said = None;
        for session in 1.. {
            let listed = self.nodes.listed(self.node);
            let (was_up, error) = match &listed {
                Some(address) => self.session(SessionId(session), address).await,
                None => (false, LinkError::Unlisted),
            };
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
            let again = async {
                match listed {
                    Some(_) => tokio::time::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = again => pause = (pause * 2).min(config.pause_max),
                _ = self.nodes.moved(self.node, listed.as_deref()) => pause = config.pause_min,
            }
        }
    }
}
