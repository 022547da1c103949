//! A request as a workload describes it, before anybody has served it.
//!
//! This is the one record that trace readers and generators make and that the simulator replays. It carries the
//! true answer length, which the Conductor must not see: its events have no field for it.

use crate::ids::{BlockHash, ClassId, WorkflowId};
use crate::units::{Nanos, Tokens};
use alloc::vec::Vec;

/// One row of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadRequest {
    /// When the request arrives, since the workload's start.
    pub arrival: Nanos,
    /// Prompt length; at least one token.
    pub input: Tokens,
    /// True answer length; at least one token.
    pub output: Tokens,
    /// One hash for each block of the prompt, the last of which may be partial: `input.blocks(block_tokens)` of
    /// them, or none where the workload knows nothing of prefixes.
    pub blocks: Vec<BlockHash>,
    /// What kind of request it is; the policy's first class where nothing says otherwise.
    pub class: ClassId,
    /// The session that it belongs to, where the workload knows. To a policy whose class has a limit for workflows it
    /// is a step of one.
    pub workflow: Option<WorkflowId>,
}
