//! Moves KV blocks between nodes: one-sided reads and writes, over TCP, shared memory and RDMA.
//!
//! A node has one [`Region`], which holds its blocks, and a [`Transport`]. It opens parts of the region to peers by
//! [`Grant`]s, which travel over the control plane. A peer connects a [`Link`] and submits [`Op`]s: from any spans of
//! its region to any spans of ours, with a completion that means *visible*, and a [`Notice`] for our application if
//! it asks for one. Above that: [`Stream`] (layer by layer, while prefill runs), and [`fetch`] (a prefix from a peer,
//! by hash: also how hot blocks are replicated).
//!
//! | module | what |
//! |---|---|
//! | `region` | memory, spans; unsafe code is in `region/raw.rs` (and `verbs/device.rs`) alone |
//! | `transport`, `op`, `error` | the seam; what it promises is in `transport.rs` |
//! | `keys`, `guard` | rights, and how they are taken back |
//! | `wire` | frames, pure |
//! | `secret`, `net` | connections: greeting, serving, asking |
//! | `tcp`, `shm`, `verbs` | the transports; the last with the feature `rdma` |
//! | `gate`, `convoy` | bounded depth; several operations at a time, repeated when their failure may pass |
//! | `stream`, `blocks` | what the node agent uses |
//!
//! Not here: which block goes where (the core decides), what a block is (the engine knows), where peers are
//! (discovery).
//!
//! ```
//! use conductor_core::ids::NodeId;
//! use conductor_messenger::{Access, NoCalls, Op, Options, Pages, Region, Rights, Secret, Span, Tcp, Transport};
//! use std::sync::Arc;
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
//! # runtime.block_on(async {
//! let secret = Secret::new(b"a long random secret of the cluster");
//! let any = "127.0.0.1:0".parse()?;
//! let options = |node| Options::new(NodeId(node), secret.clone());
//! let (decode, mut notices) = Tcp::bind(any, options(1), Arc::new(NoCalls)).await?;
//! let (prefill, _) = Tcp::bind(any, options(0), Arc::new(NoCalls)).await?;
//!
//! // The decode node opens two blocks to node 0, for writing.
//! let theirs = Region::allocate(1 << 20, Pages::default())?;
//! let access = Access { window: Span::new(0, 8192), rights: Rights::WRITE, node: Some(NodeId(0)) };
//! let grant = decode.register(&theirs, access)?;
//!
//! // The prefill node writes a block there and says so.
//! let ours = Region::allocate(1 << 20, Pages::default())?;
//! ours.write(4096, &[7; 4096]);
//! let link = prefill.connect(decode.address()).await?;
//! let op = Op::write(&ours, [Span::new(4096, 4096)], grant, [Span::new(0, 4096)])?;
//! link.submit(op.with_immediate(42)).await?.await?;
//!
//! let notice = notices.next().await.expect("the transport lives");
//! assert_eq!((notice.node, notice.immediate), (NodeId(0), 42));
//! assert_eq!(theirs.to_vec(Span::new(0, 4096)), [7; 4096]);
//! decode.revoke(grant.key).await?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod blocks;
mod checksum;
mod convoy;
mod error;
mod gate;
mod guard;
mod keys;
mod net;
mod op;
mod region;
mod secret;
mod shm;
mod stream;
mod tcp;
mod transport;
pub mod verbs;
pub mod wire;

pub use blocks::{Blocks, Fetched, Lender, fetch};
pub use convoy::Care;
pub use error::Error;
pub use op::{Access, Direction, Grant, Key, Notice, Op, Rights, Ticket};
pub use region::{Pages, Region, Span};
pub use secret::Secret;
pub use shm::Shm;
pub use stream::{Layout, Sent, Stream};
pub use tcp::Tcp;
pub use transport::{Address, Handler, Later, Link, NoCalls, Notices, Options, Transport};
#[cfg(feature = "rdma")]
pub use verbs::Verbs;
