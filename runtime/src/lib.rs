//! The second world: the same core in front of real nodes.
//!
//! A [`driver`] owns the Conductor and speaks [`protocol`] with the [`agent`]s of nodes; both are synchronous and have
//! no clock. A process runs them in real time ([`task`]) over connections, engines and a messenger; [`loopback`] runs
//! them on a virtual clock, where a run must equal the simulator's step for step.
//!
//! Not here: decisions (the core's), and the simulator, which this package does not know.

pub mod agent;
pub mod clock;
pub mod daemon;
pub mod discovery;
pub mod driver;
pub mod engines;
pub mod files;
pub mod gateway;
pub mod indexer;
pub mod journal;
pub mod links;
pub mod load;
pub mod loopback;
pub mod measure;
pub mod node;
pub mod protocol;
pub mod task;
pub mod wire;
