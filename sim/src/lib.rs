//! A discrete-event simulator of a disaggregated LLM cluster, driven by `conductor-core`.
//!
//! The Conductor and the node machines are the core's, unchanged; this crate adds what is true: how long work takes
//! ([`truth`]), a [`network`] whose flows share links fairly, [`clients`] that may try again, [`faults`], and a
//! deterministic loop ([`engine`]). Equal inputs give equal results, bit for bit, on every machine, in debug and in
//! release.
//!
//! Not here: decisions (the core's), trace formats (`conductor-traces`), drawing (`conductor-plots`).

pub mod clients;
pub mod engine;
mod error;
pub mod faults;
pub mod heap;
pub mod links;
mod little;
pub mod network;
pub mod parts;
pub mod queue;
pub mod record;
pub mod replicas;
pub mod report;
pub mod run;
pub mod sketch;
pub mod stats;
pub mod tiers;
pub mod timeline;
pub mod truth;
mod world;

pub use clients::{RetryConfig, RetryError, RetryText};
pub use engine::{RoleChange, run};
pub use error::SimError;
pub use faults::{FaultCounts, FaultError, FaultPlan};
pub use replicas::Replicas;
pub use report::{RunReport, Tally};
pub use run::{Mode, Observer, Progress, RunConfig, RunResult, Transfers};
