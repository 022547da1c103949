//! The seam: what every way to move blocks offers, with the meaning that RDMA gives to it.
//!
//! | here | TCP | shared memory | verbs |
//! |---|---|---|---|
//! | [`Transport::register`] | a key in a table | the same | the same; at first use a memory region per NIC |
//! | [`Grant`] | told over the control plane | the same | the same: rkeys are asked for at the key's first use |
//! | [`Link`] | a few connections, when used | one Unix socket, the peer's file mapped | TCP and queue pairs |
//! | write | frame, bytes, ack | a copy by the initiator | `RDMA_WRITE`, one per remote span |
//! | read | frame, then the bytes | a copy by the initiator | `RDMA_READ` |
//! | immediate | in the write's frame | a frame behind the copy | `WRITE_WITH_IMM` below 2^32, else a frame behind |
//! | call | a frame | a frame | a frame, over TCP |
//! | revoke | no further byte is received | a shared word is closed | the region is deregistered |
//!
//! **What holds for all of them.**
//! - A ticket that resolves to `Ok` means visible: for a write, a reader at the target sees the bytes.
//! - A notice comes after the bytes of its own operation are visible. Operations have no order among themselves but
//!   that which the initiator makes by waiting for tickets.
//! - A notice may come twice if its operation was repeated after a lost connection: immediates name what they announce.
//! - Every operation ends: by success, error or deadline. Nothing of an ended operation touches local memory, and
//!   nothing of it touches remote memory once the link has accepted another operation: a lane that failed is taken
//!   over first, and the target ends the old one before it lets the new one in.
//! - A failed write may have changed its range in part; rights, bounds and keys are checked before the first byte is.
//! - What is under way is bounded ([`Options::ops_max`], [`Options::bytes_max`]): a submission waits for room, and a
//!   target whose application does not take its notices stops reading.

use crate::error::Error;
use crate::op::{Access, Grant, Key, Notice, Op, Ticket};
use crate::region::Region;
use crate::secret::Secret;
use conductor_core::ids::NodeId;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// An answer that comes later. Boxed, so that transports can be chosen at run time; operations are large.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where a node's transport listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// `tcp://192.0.2.1:7000`
    Tcp(SocketAddr),
    /// `shm:///run/conductor/n0.sock`: a Unix socket on this machine.
    Shm(PathBuf),
    /// `verbs://192.0.2.1:7000`: where queue pairs are agreed on; bytes go from NIC to NIC (feature `rdma`).
    Verbs(SocketAddr),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Shm(path) => write!(f, "shm://{}", path.display()),
            Self::Verbs(address) => write!(f, "verbs://{address}"),
        }
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::Address(text.into());
        if let Some(address) = text.strip_prefix("tcp://") {
            return address.parse().map(Self::Tcp).map_err(|_| wrong());
        }
        if let Some(address) = text.strip_prefix("verbs://") {
            return address.parse().map(Self::Verbs).map_err(|_| wrong());
        }
        let path = text.strip_prefix("shm://").ok_or_else(wrong)?;
        match path.starts_with('/') {
            true => Ok(Self::Shm(path.into())),
            false => Err(wrong()),
        }
    }
}

/// What a node tells its transport.
#[derive(Clone, Debug)]
pub struct Options {
    /// This node.
    pub node: NodeId,
    /// The cluster's secret.
    pub secret: Secret,
    /// Connections per link.
    pub lanes: u16,
    /// Operations under way per link; a further one waits.
    pub ops_max: u32,
    /// Bytes under way per link; a further operation waits.
    pub bytes_max: u64,
    /// Bytes of one operation: more is an error.
    pub op_bytes_max: u64,
    /// How long an operation may take, from its submission to its completion, if it does not say so itself.
    pub deadline: Duration,
    /// How long connecting and greeting may take.
    pub connect: Duration,
    /// An idle connection is tried this often; one that does not answer for as long again is lost.
    pub heartbeat: Duration,
    /// A connection from which nothing has come for so long is closed. Several heartbeats of the *peers*.
    pub idle: Duration,
    /// Connections that are taken in.
    pub connections_max: u32,
    /// Notices that wait for the application.
    pub notices_max: usize,
    /// Send a CRC-32C with every operation and check it. Shared memory has no way on which bytes could change.
    pub checksum: bool,
}

impl Options {
    /// Usable values: two lanes, 256 operations and 256 MiB under way, 5 s for an operation.
    #[must_use]
    pub const fn new(node: NodeId, secret: Secret) -> Self {
        Self {
            node,
            secret,
            lanes: 2,
            ops_max: 256,
            bytes_max: 256 << 20,
            op_bytes_max: 256 << 20,
            deadline: Duration::from_secs(5),
            connect: Duration::from_secs(2),
            heartbeat: Duration::from_secs(2),
            idle: Duration::from_secs(20),
            connections_max: 1024,
            notices_max: 1024,
            checksum: false,
        }
    }
}

/// Answers the calls of peers: small questions, such as which blocks are here.
///
/// It is asked on the task that serves the connection, so it answers at once and does not block.
pub trait Handler: Send + Sync {
    /// The answer, of at most [`MESSAGE_MAX`](crate::wire::MESSAGE_MAX) bytes; `None`: not understood.
    fn call(&self, from: NodeId, message: &[u8]) -> Option<Vec<u8>>;
}

/// Answers no calls.
#[derive(Clone, Copy, Debug)]
pub struct NoCalls;

impl Handler for NoCalls {
    fn call(&self, _: NodeId, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

/// The notices that peers' writes leave, in order of their visibility. Not to take them stops the peers.
#[derive(Debug)]
pub struct Notices(pub(crate) mpsc::Receiver<Notice>);

impl Notices {
    /// The next one; `None` when the transport is gone.
    pub async fn next(&mut self) -> Option<Notice> {
        self.0.recv().await
    }

    /// The next one, if it is there.
    pub fn take(&mut self) -> Option<Notice> {
        self.0.try_recv().ok()
    }
}

/// One way to move blocks: the passive side (registered memory that peers reach) and the way to links.
pub trait Transport: Send + Sync {
    /// Where peers connect to.
    fn address(&self) -> &Address;

    /// Opens a part of a region to a peer.
    ///
    /// # Errors
    /// If the window is not within the region.
    fn register(&self, region: &Region, access: Access) -> Result<Grant, Error>;

    /// Takes a key back. When it resolves to `Ok`, no peer touches the memory any more by this key.
    ///
    /// # Errors
    /// [`Error::StillInside`] if a peer on this machine is stopped in the middle of a copy; try again later.
    fn revoke(&self, key: Key) -> Later<'_, Result<(), Error>>;

    /// A node has left: its connections are closed and the keys that only it had are revoked.
    ///
    /// # Errors
    /// [`Error::StillInside`], as for [`Transport::revoke`].
    fn leave(&self, node: NodeId) -> Later<'_, Result<(), Error>>;

    /// A link to a peer, greeted on one lane; the others follow when they are used.
    ///
    /// # Errors
    /// If nobody is there, or it does not let this node in.
    fn connect<'a>(&'a self, to: &'a Address) -> Later<'a, Result<Arc<dyn Link>, Error>>;

    /// Takes no further connection, tells the peers, lets what is under way end for at most `within`, and closes.
    fn shutdown(&self, within: Duration) -> Later<'_, ()>;
}

/// The active side of a connection to one peer. Lost connections are opened again by the next operation.
pub trait Link: Send + Sync {
    /// The peer.
    fn node(&self) -> NodeId;

    /// Takes an operation in, after waiting for room and, where needed, for a connection.
    ///
    /// # Errors
    /// If it cannot be taken in within its time. The operation has then touched nothing.
    fn submit(&self, op: Op) -> Later<'_, Result<Ticket, Error>>;

    /// Asks the peer's [`Handler`].
    ///
    /// # Errors
    /// If there is no answer in time, or none at all.
    fn call(&self, message: Vec<u8>) -> Later<'_, Result<Vec<u8>, Error>>;

    /// Takes nothing further in, waits for what is under way, says goodbye.
    fn close(&self) -> Later<'_, ()>;
}
