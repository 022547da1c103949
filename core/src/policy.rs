//! Policies: each decision is a small trait, chosen and parameterised by the policy file.
//!
//! A policy sees the books, the matches and the estimates through a context and returns a choice; it changes nothing
//! itself, except its own state (a turn, a count of draws). Ties are decided by rule, and the rule stands at each
//! policy.
//!
//! Not here: carrying decisions out (`conductor`), eviction (`cache`, where the blocks are).

pub mod admission;
pub mod decode;
pub mod predict;
pub mod prefill;
pub mod roles;

pub use admission::AdmissionPolicy;
pub use decode::DecodePolicy;
pub use predict::LoadPredictor;
pub use prefill::{Placement, PrefillContext, PrefillPolicy};
