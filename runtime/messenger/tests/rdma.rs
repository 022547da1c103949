//! What only RDMA has: devices that go, wires that lose packets, rkeys, queue pairs that are counted. The other files
//! run
//! over verbs too when it is built in.
//!
//! Needs devices. `tests/rdma-vm/` boots a machine with two rails of two, rxe_a - rxe_b and rxe_c - rxe_d, and the
//! cases
//! here take interfaces down and lose packets on purpose: they refuse to run elsewhere.

pub(crate) mod cases;
mod counted;

use conductor_core::ids::NodeId;
use conductor_messenger::verbs::Settings;
use conductor_messenger::{Handler, Notices, Options, Verbs};
use std::process::Command;
use std::sync::Arc;

/// Each node has one end of each cable: even ones the first, odd ones the second.
pub(crate) fn settings(node: NodeId) -> Settings {
    let ends = match node.0 % 2 {
        0 => ["rxe_a", "rxe_c"],
        _ => ["rxe_b", "rxe_d"],
    };
    Settings {
        devices: ends.map(String::from).into(),
        ..Settings::default()
    }
}

pub(crate) async fn bind(
    options: Options,
    settings: &Settings,
    handler: Arc<dyn Handler>,
) -> (Verbs, Notices) {
    let any = "127.0.0.1:0".parse().expect("an address");
    let bound = Verbs::bind(any, options, settings, handler).await;
    bound.unwrap_or_else(|error| panic!("{error}; see tests/rdma-vm/README.md"))
}

/// Changes the machine's network, if it is one to be changed.
fn shell(line: &str) -> String {
    let ours = std::env::var_os("CONDUCTOR_RDMA_VM").is_some();
    assert!(ours, "`{line}` is for the machine of tests/rdma-vm only");
    let done = Command::new("sh").args(["-c", line]).output();
    let done = done.expect("a shell");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{line}: {said}");
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// One of a device's counters.
fn counter(device: &str, name: &str) -> u64 {
    let path = format!("/sys/class/infiniband/{device}/ports/1/hw_counters/{name}");
    let text = std::fs::read_to_string(&path).expect("a counter");
    text.trim().parse().expect("a number")
}
