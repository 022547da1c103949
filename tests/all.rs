//! The root package's tests: the library end to end, the command line, and the project's own order.
//!
//! One binary, so that there is one link step. `UPDATE_EXPECT=1 cargo test --test all` rewrites the golden files.

mod audit;
mod bad_input;
mod calibrate;
mod capacity;
mod cli;
mod common;
mod faults;
mod golden;
mod limits;
mod measured_h100;
mod paper;
mod plots;
mod readme;
mod reports;
mod sweeps;
mod tidy;
mod tune;
