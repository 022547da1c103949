//! Connections: one protocol over TCP and Unix sockets.
//!
//! The caller's side of a connection is a [`lane`](lane::Lane), which only asks; the listener's side is
//! [`serve`](serve::serve), which only answers, one frame after the other. So a connection's answers come in the
//! order of its questions, and two nodes that both want to move blocks have two connections.

pub(crate) mod endpoint;
pub(crate) mod greeting;
pub(crate) mod inbox;
pub(crate) mod lane;
pub(crate) mod serve;
pub(crate) mod session;
pub(crate) mod socket;
