//! RDMA.

#[cfg(any(test, feature = "rdma"))]
mod message;
#[cfg(any(test, feature = "rdma"))]
mod paths;
mod settings;
#[cfg(any(test, feature = "rdma"))]
mod sieve;
#[cfg(any(test, feature = "rdma"))]
mod slices;
pub mod topology;

pub use settings::{Completion, Settings};
