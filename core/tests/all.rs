//! The core from outside: properties on random events, and machines beside literal slow models of them.

mod classes;
mod coupled_batch;
mod decode_batch;
mod driver;
mod journal;
mod mangled;
mod model;
mod random_events;
