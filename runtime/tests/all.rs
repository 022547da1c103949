//! Nodes and links over real connections on this machine, in one binary.

#[path = "support/audit.rs"]
mod audit;

mod nodes;
