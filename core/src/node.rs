//! The node machine: what one node does with the requests it is given.
//!
//! Pure, like the Conductor, and run by both worlds: a driver asks what to do next, does it (a simulator looks up how
//! long it takes, a runtime lets an engine run), and says when it is done. A prefill node is a [`PrefillQueue`]
//! over a
//! [`crate::cache::TieredCache`]; a decode node is a [`DecodeBatch`]; a coupled node, which does both, a
//! [`CoupledBatch`].
//!
//! Not here: how long a step takes, moving KV between nodes, and which node a request goes to.

mod batch;
mod coupled;
mod decode;
mod prefill;
mod room;

pub use crate::cache::CacheChanges;
pub use coupled::{CoupledBatch, CoupledNews, CoupledRun, PlaceId, Started};
pub use decode::{DecodeBatch, DecodeRun, Ended, Sequence, SequenceId};
pub use prefill::{JobId, PrefillQueue, PrefillRun};
pub use room::Room;
