//! Nodes in front of a driver: each node in a tokio runtime of its own, so that it can be killed with all that it has.

mod cluster;
mod faults;
mod greeting;
mod reference;
mod roles;
mod roster;
mod serving;
mod tls;
mod tokens;
