//! Tests of experiments, in one binary. None needs a real trace.

mod caching;
mod coverage;
mod figures;
mod fitting;
mod overload;
mod plots;
mod priorities;
mod running;
mod searching;
mod specs;
