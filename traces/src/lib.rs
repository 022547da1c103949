//! Workloads for Conductor: trace formats, statistics, cache studies and generators.
//!
//! A workload is an iterator of [`WorkloadRequest`](conductor_core::workload::WorkloadRequest): read from a file
//! ([`formats`]) or made from a specification ([`generate`]). [`stats`] says what is in one, [`cache`] what a
//! cache could make of it, [`compare`] how alike two are.
//!
//! Not here: replaying (`conductor-sim`) and drawing (`conductor-plots`).

pub mod cache;
pub mod compare;
pub mod formats;
pub mod generate;
mod intern;
pub mod stats;
