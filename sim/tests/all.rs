//! The simulator as a whole: jumping equals stepping, what every run must obey, and journals of runs.

mod closed_loop;
mod clusters;
mod faults;
mod invariants;
mod links;
mod memory;
mod modes;
mod parts;
mod queueing;
mod retries;
mod roles;
mod swarm;
