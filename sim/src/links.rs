//! The links of a cluster: NICs, the bus from DRAM to HBM, the SSD.
//!
//! A transfer between nodes crosses a sending and a receiving link; which ones, if a node has several NICs and
//! transfers
//! are not striped over them, is decided here when it begins: those that carry the fewest flows, of equals the first.

use crate::network::{LinkId, Network, Path, over};
use conductor_core::config::ClusterConfig;
use conductor_core::ids::NodeId;

/// Where each node's links are in the network: `nics` that send, `nics` that receive, the bus, the SSD.
#[derive(Clone, Copy, Debug)]
pub struct Links {
    nics: u32,
}

impl Links {
    /// The links of `cluster` and the network that they make.
    #[must_use]
    pub fn new(cluster: &ClusterConfig) -> (Self, Network) {
        let nics = cluster.nics;
        let mut capacity = Vec::new();
        for (i, spec) in cluster.nodes.iter().enumerate() {
            let node = NodeId(i as u16);
            let profile = cluster.profile_of(node);
            let nic = cluster.transfer_bytes_per_s(node).max(1);
            capacity.extend((0..2 * nics).map(|_| nic));
            // A pipeline has the links of all its machines.
            capacity.push(profile.load_bytes_per_s * u64::from(spec.stages));
            // Without an SSD nothing is sent there.
            capacity.push(cluster.ssd_bytes_per_s[i].max(1));
        }
        (Self { nics }, Network::new(capacity))
    }

    fn first(self, node: NodeId) -> u32 {
        u32::from(node.0) * (2 * self.nics + 2)
    }

    /// From one node's memory to another's.
    #[must_use]
    pub fn between(self, network: &Network, from: NodeId, to: NodeId) -> Path {
        let least = |first: u32| {
            let links = (first..first + self.nics).map(LinkId);
            links
                .min_by_key(|&link| (network.flows_on(link), link))
                .expect("a node has a NIC")
        };
        [least(self.first(from)), least(self.first(to) + self.nics)]
    }

    /// The links of a node's NICs.
    pub fn nics(self, node: NodeId) -> impl Iterator<Item = LinkId> {
        let first = self.first(node);
        (first..first + 2 * self.nics).map(LinkId)
    }

    /// From a node's DRAM to its HBM.
    #[must_use]
    pub fn load(self, node: NodeId) -> Path {
        over(LinkId(self.first(node) + 2 * self.nics))
    }

    /// To and from a node's SSD.
    #[must_use]
    pub fn ssd(self, node: NodeId) -> Path {
        over(LinkId(self.first(node) + 2 * self.nics + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use conductor_core::units::{Bytes, Nanos};

    #[test]
    fn a_transfer_takes_the_nics_that_carry_the_fewest() {
        let plain = ClusterConfig::built_in("2p2d").expect("built in");
        let text = plain.to_toml() + "[network]\nnics = 4\nstriped = false\n";
        let cluster = ClusterConfig::parse(&text, &[]).expect("valid");
        let (links, mut network) = Links::new(&cluster);
        let (a, b, c) = (NodeId(0), NodeId(2), NodeId(3));
        let mut start = |from, to| {
            let path = links.between(&network, from, to);
            let flow = network.start(Nanos(0), path, Bytes(1 << 30), None);
            (path, network.rate(flow))
        };
        // Node i has the links 10 i ..: four that send, four that receive, the bus, the SSD.
        let quarter = 87_000_000_000 / 4;
        assert_eq!(start(a, b), ([LinkId(0), LinkId(24)], quarter));
        assert_eq!(start(a, c), ([LinkId(1), LinkId(34)], quarter));
        assert_eq!(start(a, b), ([LinkId(2), LinkId(25)], quarter));
        assert_eq!(links.ssd(b), over(LinkId(29)));
        // Striped, all NICs of a node are one link.
        let striped = text.replace("striped = false", "striped = true");
        let cluster = ClusterConfig::parse(&striped, &[]).expect("valid");
        let (links, network) = Links::new(&cluster);
        assert_eq!(links.between(&network, a, b), [LinkId(0), LinkId(9)]);
    }
}
