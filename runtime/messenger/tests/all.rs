//! The messenger's tests, over loopback and Unix sockets: two nodes in one process, and two processes.

mod blocks;
mod common;
mod faults;
mod garbage;
mod notices;
mod pressure;
mod process;
mod proxy;
#[cfg(feature = "rdma")]
mod rdma;
mod rights;
mod scatter;
mod stream;
mod wire;
