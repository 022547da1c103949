//! The paged KV pool: its shape, its bytes, and its blocks.
//!
//! Three things that are often one, apart because different parties own them. [`KvShape`] says where a token's KV lies
//! in a region; both ends of a transfer must agree on it. [`KvRegion`] is the bytes, which may be memory that a
//! network card or another process writes to. [`BlockPool`] is the book of blocks: which are free, whose they are, and
//! which one holds what content. The book is one thread's (the node agent's), the bytes are shared.
//!
//! # Who may touch what, when
//!
//! - *Free*: nobody touches it, until [`BlockPool::take`].
//! - *Private, computed here*: the engine writes to it, during a step whose piece has the block in its table. The
//!   engine reads it; so may the messenger, a (block, layer) slice once `on_layer` has told of the layer. It ends with
//!   [`BlockPool::share`] or [`BlockPool::release`].
//! - *Private, filled from elsewhere*: the remote node writes to it, alone. **Nobody reads it** until the messenger
//!   has said that the transfer is complete and visible; then it is shared, or goes on as a private block of a
//!   sequence here.
//! - *Shared* (published under a hash): **nobody writes to it**; whoever holds it ([`BlockPool::pin`]) reads. It is
//!   free again after [`BlockPool::evict`] and the last release.
//!
//! Two rules follow. A block that a remote node may still write to is not released before its transfer has ended or its
//! right to write is gone: else the block's next owner is overwritten. And a piece's [`crate::Piece::stored`] says how
//! many leading tokens have their KV already, so that an engine never writes into a block that others share.

mod pool;
mod region;
mod shape;

pub use pool::{BlockId, BlockPool, Shared};
pub use region::{HeapRegion, KvRegion};
pub use shape::{KvShape, ShapeError};
