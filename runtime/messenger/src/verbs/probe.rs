//! What RDMA this machine has, in lines for people: `conductord check` prints them.

use super::topology::{self, Gid, GidKind, Nic};
use std::path::Path;

/// A line for each port of each device below `root` (`/sys`), and one that says whether this build can use them.
#[must_use]
pub fn probe(root: &Path) -> Vec<String> {
    let nics = topology::nics(root);
    let mut lines: Vec<String> = nics.iter().map(line).collect();
    lines.push(verdict(&nics));
    lines
}

fn line(nic: &Nic) -> String {
    let state = if nic.active { "active" } else { "not active" };
    let wire = if nic.ethernet { "RoCE" } else { "InfiniBand" };
    let numa = match nic.numa {
        Some(node) => format!("NUMA node {node}"),
        None => "NUMA node not known".into(),
    };
    let gid = match nic.gid(None) {
        Some(Gid {
            index,
            address,
            kind,
        }) => {
            let kind = match kind {
                GidKind::RoceV2 => "RoCE v2",
                GidKind::Ib => "IB or RoCE v1",
            };
            format!("GID {index} of {}: {address} ({kind})", nic.gids.len())
        }
        None => "no usable GID".into(),
    };
    format!(
        "RDMA: {} port {}: {state}, {wire}, {numa}, {gid}",
        nic.name, nic.port
    )
}

#[cfg(not(feature = "rdma"))]
fn verdict(nics: &[Nic]) -> String {
    match nics.is_empty() {
        true => "RDMA: no device; KV goes over shared memory or TCP".into(),
        false => {
            "RDMA: not used: this build has no feature `rdma`; KV goes over shared memory or TCP"
                .into()
        }
    }
}

#[cfg(feature = "rdma")]
fn verdict(nics: &[Nic]) -> String {
    match super::device::library() {
        Err(why) => format!("RDMA: cannot be used: {why}; KV goes over shared memory or TCP"),
        Ok(_) if nics.is_empty() => "RDMA: no device; KV goes over shared memory or TCP".into(),
        Ok(names) => format!(
            "RDMA: libibverbs knows {}; KV can go over verbs://ADDRESS:PORT",
            names.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_port_has_a_line_and_the_last_one_says_what_follows() {
        let folder = tempfile::tempdir().expect("a folder");
        let lines = probe(folder.path());
        assert_eq!(lines.len(), 1);
        assert!(
            lines[0].contains("KV goes over shared memory or TCP"),
            "{lines:?}"
        );
        let port = folder.path().join("class/infiniband/mlx5_0/ports/1");
        std::fs::create_dir_all(port.join("gids")).expect("made");
        std::fs::write(port.join("state"), "4: ACTIVE\n").expect("written");
        std::fs::write(port.join("link_layer"), "InfiniBand\n").expect("written");
        let gid = "fe80:0000:0000:0000:0002:c903:0000:0001\n";
        std::fs::write(port.join("gids/0"), gid).expect("written");
        let says = "RDMA: mlx5_0 port 1: active, InfiniBand, NUMA node not known, \
                    GID 0 of 1: fe80::2:c903:0:1 (IB or RoCE v1)";
        assert_eq!(probe(folder.path())[0], says);
    }
}
