//! How a node stands, asked from outside its process.

use super::NodeStatus;
use crate::wire::messages::{Nothing, Standing};
use crate::wire::{NodeClient, Secret, Tls, endpoint, innermost};
use std::time::Duration;

/// How long a node may take to answer.
const ANSWER: Duration = Duration::from_secs(2);

/// A node does not say how it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{address}: {why}")]
pub struct NoStanding {
    /// Which node.
    pub address: String,
    /// What was seen.
    pub why: String,
}

/// Asks the node that listens at `address` (`HOST:PORT`).
///
/// # Errors
/// If it does not answer within 2 s, or does not let us in.
pub async fn standing(
    address: &str,
    secret: &Secret,
    tls: Option<&Tls>,
) -> Result<NodeStatus, NoStanding> {
    let failed = |why: String| NoStanding {
        address: address.into(),
        why,
    };
    let endpoint = endpoint(address, tls).map_err(|error| failed(innermost(&error)))?;
    let endpoint = endpoint.connect_timeout(ANSWER).timeout(ANSWER);
    let channel = endpoint.connect().await;
    let channel = channel.map_err(|error| failed(innermost(&error)))?;
    let mut client = NodeClient::new(channel);
    let answer = client.standing(secret.shown(Nothing {})).await;
    let standing = answer.map_err(|status| failed(status.message().into()))?;
    Ok(standing.into_inner().into())
}

impl From<NodeStatus> for Standing {
    fn from(status: NodeStatus) -> Self {
        Self {
            idle: status.idle,
            computing: status.computing,
            in_session: status.in_session,
            blocks_used: status.blocks_used as u64,
            blocks_cached: status.blocks_cached as u64,
            tables_held: status.tables_held as u64,
            blocks_missing: status.blocks_missing,
            sent: status.sent,
            unsent: status.unsent,
            fetched: status.fetched,
            chunked: status.chunked,
            failed: status.failed,
            facts_lost: status.facts_lost,
        }
    }
}

impl From<Standing> for NodeStatus {
    fn from(standing: Standing) -> Self {
        Self {
            idle: standing.idle,
            computing: standing.computing,
            in_session: standing.in_session,
            blocks_used: standing.blocks_used as usize,
            blocks_cached: standing.blocks_cached as usize,
            tables_held: standing.tables_held as usize,
            blocks_missing: standing.blocks_missing,
            sent: standing.sent,
            unsent: standing.unsent,
            fetched: standing.fetched,
            chunked: standing.chunked,
            failed: standing.failed,
            facts_lost: standing.facts_lost,
        }
    }
}
