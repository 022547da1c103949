//! The control plane: gRPC between the gateway and its nodes, and between nodes.
//!
//! The gateway dials each node and opens one `Session`: orders go down, facts come up, pings keep it honest. Both sides
//! must speak the same [`VERSION`], know the same secret, and decide on the same cluster and policy ([`digest`]): a
//! node that thinks that it has other memory than the Conductor believes would be wrong slowly. KV's bytes go another
//! way.
//!
//! Not here: when to dial and when a node is gone ([`crate::links`]), what orders do ([`crate::node`]).

pub mod convert;
pub mod messages;
mod secret;
mod tls;

#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
mod node_service {
    include!(concat!(env!("OUT_DIR"), "/conductor.v1.Node.rs"));
}

#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all)]
mod peer_service {
    include!(concat!(env!("OUT_DIR"), "/conductor.v1.Peer.rs"));
}

pub use node_service::node_client::NodeClient;
pub use node_service::node_server::{Node, NodeServer};
pub use peer_service::peer_client::PeerClient;
pub use peer_service::peer_server::{Peer, PeerServer};
pub use secret::{Secret, SecretError};
pub use tls::{Tls, TlsError, TlsFiles};
pub(crate) use tls::{endpoint, innermost};

use conductor_core::config::{ClusterConfig, PolicyConfig};
use conductor_core::digest::Digest;
use conductor_core::journal::Header;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};

/// Of the protocol: both sides must have the same.
pub const VERSION: u32 = 1;

/// A message is not larger than this if the configuration says nothing else: a prompt of a million tokens with room to
/// spare, and a whole cache of a million blocks.
pub const MESSAGE_BYTES_MAX: usize = 32 << 20;

/// Messages of a session that wait to be sent, on either side.
pub(crate) const FRAMES_MAX: usize = 256;

/// Orders or facts that go as one message at most.
pub(crate) const BATCH_MAX: usize = 512;

/// Digest of what gateway and nodes must agree on, in hexadecimal digits.
#[must_use]
pub fn digest(cluster: &ClusterConfig, policy: &PolicyConfig) -> String {
    let mut digest = Digest::default();
    // All that decisions depend on, as a journal begins with it.
    digest.text(&Header::new("", policy, cluster, 0).encode());
    digest.to_string()
}

/// A number that is another one each time: the seed of a hash table, which the system draws.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
