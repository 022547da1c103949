//! The gateway on loopback, in front of nodes that answer with the prompt itself.
//!
//! Nothing here waits for a time to pass, but for the gateway's own limits where these are what is tested: steps of
//! engines are let go by the test.

#[path = "../support/mod.rs"]
mod support;

mod bench;
mod bodies;
mod drain;
mod gone;
mod limits;
mod metrics;
mod once;
mod overload;
mod requests;
