//! Real processes: a gateway and nodes as `conductord` starts them, the real model, and what clients see when processes
//! die or stand still, connections break, disks are full.
//!
//! Only processes that were started here are ended, by their numbers.

#[path = "../support/audit.rs"]
mod audit;

mod client;
mod cluster;
mod cut;
mod disk;
mod faults;
mod gateway;
mod proxy;
mod split;
