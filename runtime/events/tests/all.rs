//! Events of other engines: forms, orders, trees and sockets.

mod decode;
mod follow;
mod sockets;
mod support;
mod tree;
