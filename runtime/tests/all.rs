//! Nodes and links over real connections on this machine, in one binary.

mod nodes;
