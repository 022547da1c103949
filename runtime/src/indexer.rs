//! Mooncake's indexer interface over the KV events of engines: which engine has how much of a prompt.
//!
//! Routers made for Mooncake's Conductor register engines here and ask before they route. The interface is the
//! published one (`/register`, `/unregister`, `/query`, `/query_by_hash`); what is behind it is the index of this
//! project's core, fed by [`conductor_events`]. Blocks are named by the standard's rolling hashes, so that clients who
//! compute them need not send tokens.
//!
//! A registered publisher takes four places of the index: one for each of its tiers, and one for all of them together,
//! because a prefix that lies partly in one tier and partly in another is a whole prefix of the engine.
//!
//! Not here: routing, admission, and sockets of engines (the events' package).

mod api;
mod routes;
mod serve;
mod state;

pub use serve::serve;
pub use state::{IndexerConfig, IndexerError};
