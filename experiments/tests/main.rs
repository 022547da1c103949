//! Tests of experiments, in one binary. None needs a real trace.

mod fitting;
mod plots;
mod priorities;
mod running;
mod specs;
