//! The engine's tests: one binary, so that there is one link step.
//!
//! `plain` is the definition of what a model computes; `equal` compares the engine with it, to the bit, under whatever
//! a scheduler may do; `reference` compares the definition with candle's own operations, to rounding.

mod equal;
mod files;
mod invariance;
mod node;
mod plain;
mod pool;
mod reference;
mod schedule;
mod sleep;
mod steps;
mod text;
