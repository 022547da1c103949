//! Engines that are not ours, as nodes: over HTTP and KV events, against one that this test plays.

#[path = "../../events/tests/support/publisher.rs"]
mod publisher;
#[path = "../../events/tests/support/writer.rs"]
mod writer;

mod bench;
mod book;
mod serving;
