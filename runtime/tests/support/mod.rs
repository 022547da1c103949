//! What tests of the runtime share.

pub(crate) mod audit;
pub(crate) mod fake;
pub(crate) mod http;
