//! Which nodes there are and where: a list that is given, a file that is read again when it changes, or etcd.
//!
//! All give the same thing, a list that may change. A list that cannot be read leaves the last one in force and is said
//! on stderr: nodes do not go away because a file was half written.
//!
//! Not here: connections to nodes; whether they answer.

#[cfg(feature = "etcd")]
pub mod etcd;

use conductor_core::ids::NodeId;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A file larger than this is no list of nodes.
const FILE_MAX: u64 = 16 << 20;

/// Addresses by node: `HOST:PORT` of its control plane.
pub type NodeList = BTreeMap<NodeId, String>;

/// Where in etcd: each node's address under `PREFIX/NODE`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EtcdConfig {
    /// Such as `http://127.0.0.1:2379`.
    pub endpoints: Vec<String>,
    /// Of the keys; one for each cluster.
    #[serde(default = "EtcdConfig::default_prefix")]
    pub prefix: String,
    /// Seconds until a node that says nothing more is gone.
    #[serde(default = "EtcdConfig::default_lease_s")]
    pub lease_s: u32,
}

impl EtcdConfig {
    fn default_prefix() -> String {
        "/conductor/nodes".into()
    }

    const fn default_lease_s() -> u32 {
        5
    }
}

/// Of a program that cannot do what its file says.
pub(crate) const WITHOUT_ETCD: &str =
    "etcd: this conductord is built without it, expected one built with `--features etcd`";

/// The list, as one sees it who follows it; cheap to clone.
#[derive(Clone, Debug)]
pub struct Nodes(watch::Receiver<Arc<NodeList>>);

impl From<watch::Receiver<Arc<NodeList>>> for Nodes {
    fn from(list: watch::Receiver<Arc<NodeList>>) -> Self {
        Self(list)
    }
}

impl Nodes {
    /// A list that never changes: addresses of nodes 0, 1, 2 and so on.
    #[must_use]
    pub fn fixed(addresses: impl IntoIterator<Item = String>) -> Self {
        let numbers = (0..).map(NodeId);
        let list = numbers.zip(addresses).collect();
        Self(watch::channel(Arc::new(list)).1)
    }

    /// Where a node is now, if it is in the list.
    #[must_use]
    pub fn listed(&self, node: NodeId) -> Option<String> {
        self.0.borrow().get(&node).cloned()
    }

    /// The addresses of nodes 0 to `count` - 1; empty ones of those that are not in the list.
    #[must_use]
    pub fn addresses(&self, count: usize) -> Vec<String> {
        let list = self.0.borrow();
        let numbers = (0..count as u16).map(NodeId);
        numbers
            .map(|node| list.get(&node).cloned().unwrap_or_default())
            .collect()
    }

    /// Waits until the list has changed since this last returned; for ever if nobody changes it any more.
    pub async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending().await
        }
    }

    /// Waits until the list says another thing of a node than `from`, and says what.
    pub async fn moved(&mut self, node: NodeId, from: Option<&str>) -> Option<String> {
        let elsewhere = |list: &Arc<NodeList>| list.get(&node).map(String::as_str) != from;
        if let Ok(list) = self.0.wait_for(elsewhere).await {
            return list.get(&node).cloned();
        }
        std::future::pending().await
    }
}

/// Why there is no list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiscoveryError(String);

impl fmt::Display for DiscoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DiscoveryError {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListText {
    #[serde(default)]
    node: Vec<EntryText>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryText {
    id: u16,
    address: String,
}

/// Reads a list:
///
/// ```
/// let text = r#"
/// [[node]]
/// id = 0
/// address = "10.0.0.5:7000"
/// "#;
/// let list = conductor_runtime::discovery::parse(text, 4)?;
/// assert_eq!(list.len(), 1);
/// # Ok::<(), conductor_runtime::discovery::DiscoveryError>(())
/// ```
///
/// # Errors
/// If it is no such list, a node is named twice, is none of the cluster's `nodes`, or an address has no port.
pub fn parse(text: &str, nodes: usize) -> Result<NodeList, DiscoveryError> {
    let list: ListText = toml::from_str(text)
        .map_err(|error| DiscoveryError(error.to_string().trim_end().replace('\n', " ")))?;
    let mut found = NodeList::new();
    for EntryText { id, address } in list.node {
        insert(&mut found, NodeId(id), address, nodes)?;
    }
    Ok(found)
}

/// Takes a node into a list, if it is one of the cluster's.
fn insert(
    list: &mut NodeList,
    node: NodeId,
    address: String,
    nodes: usize,
) -> Result<(), DiscoveryError> {
    if node.index() >= nodes {
        return Err(DiscoveryError(format!(
            "{node}: expected a node of the cluster, 0 to {}",
            nodes.saturating_sub(1)
        )));
    }
    let port = address
        .rsplit_once(':')
        .map(|(_, port)| port.parse::<u16>());
    if !matches!(port, Some(Ok(_))) {
        return Err(DiscoveryError(format!(
            "{node}: expected an address such as 10.0.0.5:7000, found {address:?}"
        )));
    }
    match list.insert(node, address) {
        None => Ok(()),
        Some(_) => Err(DiscoveryError(format!("{node} is there twice"))),
    }
}

/// Reads a file's list.
///
/// # Errors
/// If the file is not there, too large or wrong.
pub fn read(path: &Path, nodes: usize) -> Result<NodeList, DiscoveryError> {
    let of_file = |error: &dyn fmt::Display| DiscoveryError(format!("{}: {error}", path.display()));
    let size = std::fs::metadata(path)
        .map_err(|error| of_file(&error))?
        .len();
    if size > FILE_MAX {
        return Err(of_file(&format_args!(
            "expected at most {FILE_MAX} bytes, found {size}"
        )));
    }
    let text = std::fs::read_to_string(path).map_err(|error| of_file(&error))?;
    parse(&text, nodes).map_err(|error| of_file(&error))
}

/// The list of a file, now and whenever it changes. Ends when the receiver is dropped.
///
/// # Errors
/// If the file is not there or wrong now; later that is said and changes nothing.
pub fn watch_file(
    path: impl Into<PathBuf>,
    nodes: usize,
) -> Result<watch::Receiver<Arc<NodeList>>, DiscoveryError> {
    let path = path.into();
    let mut present = read(&path, nodes)?;
    let (sender, receiver) = watch::channel(Arc::new(present.clone()));
    tokio::spawn(async move {
        let mut complaint = None;
        loop {
            tokio::select! {
                () = sender.closed() => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            match read(&path, nodes) {
                Ok(list) => {
                    complaint = None;
                    if list != present {
                        present = list;
                        sender.send_replace(Arc::new(present.clone()));
                    }
                }
                Err(error) => {
                    if complaint.as_ref() != Some(&error) {
                        eprintln!("conductord: {error}; the last list stays in force");
                        complaint = Some(error);
                    }
                }
            }
        }
    });
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_list_is_said() {
        for (text, expected) in [
            (
                "[[node]]\nid = 9\naddress = \"a:1\"",
                "node 9: expected a node of the cluster, 0 to 3",
            ),
            (
                "[[node]]\nid = 1\naddress = \"a\"",
                "expected an address such as",
            ),
            (
                "[[node]]\nid = 1\naddress = \"a:99999\"",
                "expected an address such as",
            ),
            (
                "[[node]]\nid = 1\nadress = \"a:1\"",
                "unknown field `adress`",
            ),
            ("[[node]]\nid = -1\naddress = \"a:1\"", "invalid value"),
            (
                "[[node]]\nid = 1\naddress = \"a:1\"\n[[node]]\nid = 1\naddress = \"b:1\"",
                "node 1 is there twice",
            ),
        ] {
            let error = parse(text, 4).expect_err(text).to_string();
            assert!(error.contains(expected), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
        assert_eq!(parse("", 4), Ok(NodeList::new()));
    }

    #[tokio::test]
    async fn a_file_that_changes_is_read_again_and_one_that_breaks_is_not_believed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("nodes.toml");
        let write = |text: &str| std::fs::write(&path, text).expect("writes");
        let entry = |id, port| format!("[[node]]\nid = {id}\naddress = \"127.0.0.1:{port}\"\n");
        write(&entry(0, 1));
        let mut list = watch_file(&path, 4).expect("a list");
        assert_eq!(list.borrow().len(), 1);
        write("[[node]]\nid = ");
        tokio::time::sleep(LOOK_EVERY * 2).await;
        assert!(!list.has_changed().expect("it is watched"));
        write(&(entry(0, 1) + &entry(3, 2)));
        list.changed().await.expect("it is watched");
        assert_eq!(list.borrow_and_update()[&NodeId(3)], "127.0.0.1:2");
        assert!(watch_file(folder.path().join("none"), 4).is_err());
    }
}
