//! What a transport keeps for each connection that it serves, and answers there beside the common frames.
//!
//! TCP and shared memory have nothing of the kind; verbs has queue pairs, which end with their connection.

use super::endpoint::Endpoint;
use crate::transport::Later;
use crate::wire::Status;
use conductor_core::ids::NodeId;

/// Begins sessions.
pub(crate) trait Sessions: Send + Sync {
    /// A node has connected and proven itself.
    fn begin(&self, endpoint: &Endpoint, node: NodeId) -> Box<dyn Session>;
}

/// One connection's. Dropped with it, at any time: from then on the peer reaches nothing through it.
pub(crate) trait Session: Send + Sync {
    /// Answers a question of the peer's transport.
    fn exchange<'a>(
        &'a mut self,
        endpoint: &'a Endpoint,
        message: Vec<u8>,
    ) -> Later<'a, Result<Vec<u8>, Status>>;
}
