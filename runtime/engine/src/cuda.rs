//! The engine on a GPU, and what a machine has for it.
//!
//! The same forward pass as the CPU engine's, with the same order of additions ([`kernels`]), so that a token does not
//! depend on which of the two computed it; a step is enqueued whole, and each layer is told of when its KV is in the
//! pool while the GPU computes the next. KV is in a pool of device memory that a network card may be given
//! ([`DevicePool`]).
//!
//! # The map
//!
//! [`probe`]: what is there, without ever failing. `driver`: the one place that calls CUDA's driver, and with `blas`
//! and `compile` the only ones with unsafe code; from there on buffers are owned, sizes are checked, and errors are
//! values. `compile`: kernels into machine code, kept in a folder. [`kernels`]: their launches, with types. `plan`: a
//! step as the arrays that kernels read. `weights`, `products`, `forward`, `engine`: the engine. `pool`, `staging`:
//! KV's memory and the pinned memory beside it; `mirror`: KV in host memory too, for messengers that cannot reach the
//! device. [`direct`]: by which way KV goes from the device to a network card.
//!
//! Not here: several devices for one model, precisions below 32 bits, graphs of launches, registering memory with a
//! network card (the messenger's).

mod blas;
mod compile;
pub mod direct;
mod driver;
mod engine;
mod forward;
pub mod kernels;
mod library;
mod mirror;
mod plan;
mod pool;
mod probe;
mod products;
mod staging;
mod weights;

pub use compile::{Image, Target, target};
pub use driver::{Buffer, CudaError, Device, Event, Pinned, Stream};
pub use engine::{CudaEngine, Settings};
pub use pool::{DevicePool, Exported};
pub use probe::{Found, FoundDevice, Libraries, probe};
pub use products::Products;
pub use staging::StagingSize;
