//! Blocks over RDMA: NICs read and write the regions of both nodes, and no processor touches a byte.
//!
//! A TCP connection beside it carries what queue pairs cannot: the greeting, the numbers of pairs and packets, rkeys,
//! calls,
//! and immediates of more than 32 bits. It speaks the protocol of `net`, its end is how the death of a peer is seen,
//! and
//! its takeover ends all pairs of a link that was given up. Read it from here:
//!
//! | file | what | needs a device |
//! |---|---|---|
//! | `settings` | what an operator may say; defaults | no |
//! | `topology` | NICs, addresses and nearness from sysfs | no |
//! | `slices` | an operation as work requests | no |
//! | `paths` | which slice goes where, and what follows a failure: the state machine | no |
//! | `sieve`, `endpoints` | how many queue pairs, and which has to go | no |
//! | `message` | what both ends say about pairs and keys | no |
//! | `device` | the one file that knows the verbs library; unsafe | yes |
//! | `nics` | the devices of a transport | yes |
//! | `pump`, `windows`, `link` | the active side: a task for each link | yes |
//! | `guests` | the passive side: pairs and registered windows | yes |
//! | `probe` | what `conductord check` prints | no |
//!
//! Not here: checksums (`Op::checked`): each packet has the wire's own, and NICs check it.

#[cfg(feature = "rdma")]
mod device;
#[cfg(feature = "rdma")]
mod endpoints;
#[cfg(feature = "rdma")]
mod guests;
#[cfg(feature = "rdma")]
mod link;
#[cfg(any(test, feature = "rdma"))]
mod message;
#[cfg(feature = "rdma")]
mod nics;
#[cfg(any(test, feature = "rdma"))]
#[cfg_attr(
    not(feature = "rdma"),
    expect(dead_code, reason = "the pump uses the rest")
)]
mod paths;
mod probe;
#[cfg(feature = "rdma")]
mod pump;
mod settings;
#[cfg(any(test, feature = "rdma"))]
mod sieve;
#[cfg(any(test, feature = "rdma"))]
mod slices;
pub mod topology;
#[cfg(feature = "rdma")]
mod transport;
#[cfg(feature = "rdma")]
mod windows;

pub use probe::probe;
pub use settings::{Completion, Settings};
#[cfg(feature = "rdma")]
pub use transport::Verbs;
