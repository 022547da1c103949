//! The engine on a GPU, on the stand-in of CUDA: `tests/cuda/run.sh` of the repository builds it and says where it is.
//!
//! Host code runs as it is; kernels run from their own source on the processor. What this cannot show is what only a
//! device has: machine code, races, write ordering towards network cards, and speed (README.md has the table).

#[path = "../node.rs"]
mod node;
#[path = "../plain.rs"]
mod plain;
#[path = "../schedule.rs"]
mod schedule;

mod bench;
mod engine;
mod errors;
mod kernels;
