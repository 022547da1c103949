//! One file a command: what was typed, to calls, to output.

pub(crate) mod audit;
pub(crate) mod calibrate;
pub(crate) mod capacity;
pub(crate) mod cost;
pub(crate) mod experiment;
pub(crate) mod replay;
pub(crate) mod trace;
pub(crate) mod tune;
