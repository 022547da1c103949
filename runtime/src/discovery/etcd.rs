//! Nodes in etcd: each announces itself under a lease that it keeps alive, the gateway watches.
//!
//! Keys are `PREFIX/NODE`, values are addresses. A node that dies stops renewing and is gone when its lease ends; one
//! that shuts down revokes it. When etcd itself cannot be reached the last list stays in force, and both sides try
//! again.

use super::{DiscoveryError, EtcdConfig, NodeList, insert};
use conductor_core::ids::NodeId;
use etcd_client::{Client, GetOptions, PutOptions, WatchOptions};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long until the next try.
const RETRY: Duration = Duration::from_millis(500);

impl EtcdConfig {
    async fn connect(&self) -> Result<Client, etcd_client::Error> {
        Client::connect(&self.endpoints, None).await
    }

    fn key(&self, node: NodeId) -> String {
        format!("{}/{}", self.prefix, node.0)
    }
}

/// A node that is announced, until this is dropped or [`Self::withdraw`]n.
#[derive(Debug)]
pub struct Announcement {
    task: JoinHandle<()>,
    stop: watch::Sender<bool>,
}

impl Announcement {
    /// Takes the node's key back at once.
    pub async fn withdraw(mut self) {
        self.stop.send_replace(true);
        let _ = (&mut self.task).await;
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        // Without its renewals the lease ends by itself.
        self.task.abort();
    }
}

/// Announces a node at `address` for as long as it lives.
#[must_use]
pub fn announce(config: EtcdConfig, node: NodeId, address: String) -> Announcement {
    let (stop, mut stopped) = watch::channel(false);
    let task = tokio::spawn(async move {
        let mut complained = false;
        loop {
            match hold(&config, node, &address, &mut stopped).await {
                Ok(()) => return,
                Err(error) => {
                    if !std::mem::replace(&mut complained, true) {
                        eprintln!("conductord: etcd: {error}; trying again");
                    }
                }
            }
            tokio::select! {
                _ = stopped.changed() => return,
                () = tokio::time::sleep(RETRY) => {}
            }
        }
    });
    Announcement { task, stop }
}

/// Puts the key under a lease and renews it until it is lost or not wanted any more.
async fn hold(
    config: &EtcdConfig,
    node: NodeId,
    address: &str,
    stopped: &mut watch::Receiver<bool>,
) -> Result<(), etcd_client::Error> {
    let mut client = config.connect().await?;
    let lease = client.lease_grant(i64::from(config.lease_s), None).await?;
    let id = lease.id();
    let options = PutOptions::new().with_lease(id);
    client.put(config.key(node), address, Some(options)).await?;
    let (mut keeper, mut answers) = client.lease_keep_alive(id).await?;
    let third = Duration::from_secs(u64::from(config.lease_s)) / 3;
    loop {
        tokio::select! {
            _ = stopped.changed() => {
                client.lease_revoke(id).await?;
                return Ok(());
            }
            () = tokio::time::sleep(third) => {}
        }
        keeper.keep_alive().await?;
        let answer = tokio::time::timeout(third, answers.message()).await;
        match answer {
            Ok(Ok(Some(answer))) if answer.ttl() > 0 => {}
            Ok(Err(error)) => return Err(error),
            Ok(Ok(_)) | Err(_) => {
                return Err(etcd_client::Error::LeaseKeepAliveError(
                    "the lease is lost".into(),
                ));
            }
        }
    }
}

/// The list of all announced nodes, now and whenever it changes. Ends when the receiver is dropped.
///
/// # Errors
/// If etcd cannot be reached now; later that is said and changes nothing.
pub async fn watch_nodes(
    config: EtcdConfig,
    nodes: usize,
) -> Result<watch::Receiver<Arc<NodeList>>, DiscoveryError> {
    let (list, _) = list(&config, nodes).await.map_err(|error| {
        DiscoveryError(format!("etcd {}: {error}", config.endpoints.join(", ")))
    })?;
    let (sender, receiver) = watch::channel(Arc::new(list));
    tokio::spawn(async move {
        let mut complained = false;
        loop {
            tokio::select! {
                () = sender.closed() => return,
                followed = follow(&config, nodes, &sender) => if let Err(error) = followed
                    && !std::mem::replace(&mut complained, true)
                {
                    eprintln!("conductord: etcd: {error}; the last list stays in force");
                }
            }
            tokio::time::sleep(RETRY).await;
        }
    });
    Ok(receiver)
}

/// All nodes, and the revision as of which.
async fn list(config: &EtcdConfig, nodes: usize) -> Result<(NodeList, i64), etcd_client::Error> {
    let mut client = config.connect().await?;
    let prefix = format!("{}/", config.prefix);
    let answer = client
        .get(prefix.clone(), Some(GetOptions::new().with_prefix()))
        .await?;
    let mut list = NodeList::new();
    for pair in answer.kvs() {
        let id = pair.key_str()?.strip_prefix(&prefix).map(str::parse);
        let address = pair.value_str()?.to_string();
        let taken = match id {
            Some(Ok(id)) => insert(&mut list, NodeId(id), address, nodes),
            _ => Err(DiscoveryError("expected a node's number as key".into())),
        };
        if let Err(error) = taken {
            eprintln!("conductord: etcd: {}: {error}", pair.key_str()?);
        }
    }
    let revision = answer
        .header()
        .map_or(0, etcd_client::ResponseHeader::revision);
    Ok((list, revision))
}

/// Follows changes until the connection breaks: each makes the list be read anew.
async fn follow(
    config: &EtcdConfig,
    nodes: usize,
    sender: &watch::Sender<Arc<NodeList>>,
) -> Result<(), etcd_client::Error> {
    let send = |list: NodeList| {
        sender.send_if_modified(|present| {
            let changed = **present != list;
            *present = Arc::new(list);
            changed
        });
    };
    let (now, revision) = list(config, nodes).await?;
    send(now);
    let mut client = config.connect().await?;
    let options = WatchOptions::new()
        .with_prefix()
        .with_start_revision(revision + 1);
    let mut changes = client
        .watch(format!("{}/", config.prefix), Some(options))
        .await?;
    while let Some(change) = changes.message().await? {
        if !change.events().is_empty() {
            send(list(config, nodes).await?.0);
        }
    }
    Ok(())
}
