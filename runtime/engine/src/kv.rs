//! The paged KV pool: its shape, its bytes, and its blocks.
//!
//! Three things that are often one, apart because different parties own them. [`KvShape`] says where a token's KV lies
//! in a region; both ends of a transfer must agree on it. [`KvRegion`] is the bytes, which may be memory that a network
//! card or another process writes to. [`BlockPool`] is the book of blocks: which are free, whose they are, and which one
//! holds what content. The book is one thread's (the node agent's), the bytes are shared.
//!
//! # Who may touch what, when
//!
//! | state of a block | who writes | who reads | ends with |
//! |---|---|---|---|
//! | free | nobody | nobody | [`BlockPool::take`] |
//! | private, computed here | the engine, during a step whose piece has the block in its table | the engine; the messenger may read a (block, layer) slice once `on_layer` has told of the layer | [`BlockPool::share`] or [`BlockPool::release`] |
//! | private, filled from elsewhere | the remote node, alone | **nobody**, until the messenger has said that the transfer is complete and visible | [`BlockPool::share`], or it goes on as a private block of this node's sequence |
//! | shared (published under a hash) | **nobody** | anybody who holds it ([`BlockPool::pin`]) | [`BlockPool::evict`] and the last release |
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
