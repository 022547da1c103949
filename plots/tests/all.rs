//! All integration tests of the crate, in one binary.

mod odd_input;
mod page;
mod pictures;
mod tables;
mod xml;
