//! Engines that are not ours, as coupled nodes of the cluster: to the core they are nodes like its own.
//!
//! | file | what |
//! |---|---|
//! | `config` | `[[engine]]` of the gateway's file |
//! | `book` | orders and what comes of them into facts; no clock, no IO |
//! | `wire` | what is asked of an engine, and its stream of events |
//! | `http` | the connections |
//! | `probe` | whether it is there, and is what it should be |
//! | `session` | the loop of one engine |
//!
//! An engine speaks HTTP and publishes KV events, so what a node of ours says of itself is learned in other ways:
//!
//! | fact | from |
//! |---|---|
//! | a prompt has been begun | prompts are taken in the order in which they came: the first without a token |
//! | its first token, a token | the stream, in token ids |
//! | the answer's end | `finish_reason`, or the client's word, at which the stream is dropped |
//! | the cache | KV events ([`conductor_events`]) |
//! | the node is there, is gone | `/health`, and then all of its streams are dropped |
//!
//! Requests under way are counted here, not scraped.
//!
//! vLLM's interface only, and coupled engines only: prefill and decode on two engines need their connectors' hand-offs.

mod book;
mod config;
mod http;
mod probe;
mod session;
mod wire;

pub use book::{Book, BookCounts, Output};
pub use config::{EngineFile, EngineFileError};
pub use session::{EngineNews, Engines, Report, Setting, spawn};
pub use wire::{Events, Piece, request_body};
