//! The load books: what is promised to each node, entered at the decision and struck out at every end.
//!
//! Why: the Conductor decides about work that nodes will only see later. Each entry is made when a request is
//! placed and removed exactly once, whatever becomes of the request, so the books of an empty system are zero; the
//! conservation is checked, not hoped for.
//!
//! Columns by node, not objects: a decision reads one column of many nodes.

mod backlog;
mod decode;
mod forecast;
mod prefill;
mod shares;
mod workflows;

pub use backlog::{Backlog, Job};
pub use decode::DecodeBooks;
pub use forecast::{Decoding, Forecast, Question, Staying, Stretch};
pub use prefill::PrefillBooks;
pub use shares::{Allowed, HELD_BACK, PATIENCE, Shares};
pub use workflows::Workflows;
