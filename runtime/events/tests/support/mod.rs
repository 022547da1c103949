//! What stands in for an engine.

pub(crate) mod past;
pub(crate) mod publisher;
pub(crate) mod writer;
