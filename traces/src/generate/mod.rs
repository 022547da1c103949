//! Workloads made, not read: a specification in TOML, any number of requests at any rate from one seed.
//!
//! [`Workload`] is the specification, [`Workload::generate`] the stream, [`fit()`] the way from a trace to a
//! specification. The built-in `kimi-conversation` is what [`fit()`] makes of Mooncake's conversation trace; no row
//! of the trace is in it. `kimi-toolagent` is a synthetic stand-in for a trace that is not at hand, made from what is
//! published of it: a mixture of chats, agents and tools.
//!
//! What a generated trace must have in common with the real one, and does (the tests hold it to numbers): the
//! distributions of lengths, the hit ratio over cache capacity, the popularity of blocks, the stamps' grid.

mod calibrate;
mod check;
mod diurnal;
mod fit;
mod lineage;
mod load;
mod measure;
mod population;
mod run;
mod session;
mod spec;
mod strata;
mod stream;
mod surge;
mod table;

pub use diurnal::Diurnal;
pub use fit::{FitError, fit};
pub use load::builtin_names;
pub use population::Population;
pub use run::{GenerateOptions, Generator};
pub use spec::{
    Arrivals, Kept, Kind, Likeness, Next, Pace, Process, Start, StartClass, Surge, Template, Turn,
    Turns, Workload, WorkloadError,
};
pub use table::Table;
