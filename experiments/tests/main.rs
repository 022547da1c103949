//! Tests of experiments, in one binary. None needs a real trace.

mod fitting;
mod running;
mod specs;
