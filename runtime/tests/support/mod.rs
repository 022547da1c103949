//! What tests of the runtime share.

pub mod fake;
pub mod http;
