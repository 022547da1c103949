//! The Conductor: Mooncake's global scheduler for LLM serving, as a pure state machine.
//!
//! # The contract
//!
//! - Time is an argument. [`units::Nanos`] since the run's epoch; whoever owns the core stamps it.
//! - [`event::Event`]s are facts, [`action::Action`]s are orders. [`conductor::Conductor::handle`] is total: it
//!   never fails, never blocks, and allocates nothing in steady state.
//! - A driver calls `handle` for every fact in the order in which it learned them, carries the actions out in
//!   order, and decides nothing itself. Facts of one instant are ordered by the driver: completions and failures,
//!   then arrivals, then samples; among equals by node number (see [`instant`]).
//! - Equal inputs give equal actions, on every machine, in debug and in release: integers only, every tie has a rule,
//!   no hash order, randomness from named streams of one seed. [`journal`] proves it for any run.
//!
//! # The map
//!
//! [`conductor`] decides with [`policy`], which reads the [`index`] of cached blocks, the load [`books`] and the
//! estimated [`cost`]. [`node`] is the other pure machine: what one prefill or decode node does with its queue,
//! batch and [`cache`]. [`config`] turns text into types.
//!
//! What is never here: a clock, a thread, a file, a socket, global randomness. The crate is `no_std`, so most of
//! these do not even exist.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod action;
pub mod books;
pub mod cache;
pub mod conductor;
pub mod config;
pub mod cost;
pub mod digest;
pub mod event;
pub mod ids;
pub mod index;
pub mod instant;
pub mod journal;
mod map;
pub mod node;
pub mod order;
pub mod policy;
pub mod rng;
pub mod slo;
mod sorted;
pub mod steps;
mod table;
pub mod units;
pub mod workload;
