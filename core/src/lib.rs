//! The Conductor: Mooncake's global scheduler as a pure state machine.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod ids;
pub mod units;
pub mod workload;
