//! What other engines say of their KV caches, made into what the Conductor knows: names of blocks that come and go.
//!
//! vLLM and SGLang publish an event for each block that they store or give up, over ZeroMQ and in MessagePack, in forms
//! that differ from version to version, with block hashes that only they can compute. Here is everything between that
//! wire and the Conductor's index, from outside in:
//!
//! | module | what |
//! |---|---|
//! | [`source`] | the sockets of one engine; the only file that has any |
//! | [`frames`] | messages into sequence numbers and payloads |
//! | [`follower`] | gaps, restarts, replays: which payload is believed, and when all must be forgotten |
//! | [`decode`], [`msgpack`] | payloads into [`event`]s |
//! | [`tree`] | engine hashes into own names, by tokens and parents |
//! | [`feed`] | the last three as one machine |
//! | [`names`] | how blocks are named, here and by the gateway |
//! | [`recording`] | messages in a file, for tests |
//!
//! Everything but [`source`] is synchronous and has no clock and no socket.
//!
//! Not here: who has what over all engines (the core's index), which engine gets a request (the core's policies).

pub mod decode;
pub mod event;
pub mod feed;
pub mod follower;
pub mod frames;
pub mod msgpack;
pub mod names;
pub mod recording;
pub mod source;
pub mod tree;
