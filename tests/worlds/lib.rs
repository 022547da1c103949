//! Nothing but tests: see `worlds.rs`.
