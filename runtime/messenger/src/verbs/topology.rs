//! Which NICs there are, where they sit, and which of them are near: all read from sysfs, so that it works without
//! libibverbs and can be tested on a folder.
//!
//! As in Mooncake's Transfer Engine (FAST'25, 3.2.3), each place of memory has *preferred* NICs, those that it reaches
//! without crossing between processors, and *secondary* ones, which are used when no preferred one works. Near is the
//! same NUMA node, and for a device's memory the shortest way over PCIe: as many bridges in common as possible.

use std::fs;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

/// What an entry of a port's table of addresses is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GidKind {
    /// InfiniBand, or RoCE v1, which routers do not know.
    Ib,
    /// RoCE v2: an IP address, over UDP.
    RoceV2,
}

/// An address of a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gid {
    /// Its place in the table.
    pub index: u8,
    /// The address, in the form of IPv6; an IPv4 address is mapped.
    pub address: Ipv6Addr,
    /// What it is for.
    pub kind: GidKind,
}

/// A port of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nic {
    /// The device.
    pub name: String,
    /// The port, from 1.
    pub port: u8,
    /// Whether the port can be used now.
    pub active: bool,
    /// Whether its wire is Ethernet (RoCE), not InfiniBand.
    pub ethernet: bool,
    /// Addresses that are set, in the order of the table.
    pub gids: Vec<Gid>,
    /// The NUMA node that it sits at; `None` if it is not said, as for software devices.
    pub numa: Option<u32>,
    /// Its place in the tree of devices; `None` for software devices.
    pub place: Option<PathBuf>,
}

impl Nic {
    /// The address to use: the one at `index`, or of RoCE v2 an IPv4 one before a global before a link-local one; on
    /// InfiniBand the first.
    #[must_use]
    pub fn gid(&self, index: Option<u8>) -> Option<Gid> {
        if let Some(index) = index {
            return self.gids.iter().find(|gid| gid.index == index).copied();
        }
        let rank = |gid: &&Gid| match (gid.kind, gid.address) {
            (GidKind::RoceV2, address) if address.to_ipv4_mapped().is_some() => 0,
            (GidKind::RoceV2, address) if !address.is_unicast_link_local() => 1,
            (GidKind::RoceV2, _) => 2,
            (GidKind::Ib, _) => 3,
        };
        // On Ethernet an address that routers do not know is only taken if it is asked for.
        let usable = |gid: &&Gid| !self.ethernet || gid.kind == GidKind::RoceV2;
        let first = self.gids.iter().filter(usable).min_by_key(rank);
        first.copied()
    }
}

/// All ports of all devices below `root` (`/sys` but in tests), by name. Empty where the kernel has no RDMA.
#[must_use]
pub fn nics(root: &Path) -> Vec<Nic> {
    let devices = names(&root.join("class/infiniband"));
    let of_device = |name: String| {
        let device = root.join("class/infiniband").join(&name);
        let ports = names(&device.join("ports"));
        let numbers = ports.into_iter().filter_map(|port| port.parse().ok());
        let nics = numbers.map(|port| nic(&device, name.clone(), port));
        nics.collect::<Vec<_>>()
    };
    devices.into_iter().flat_map(of_device).collect()
}

fn nic(device: &Path, name: String, port: u8) -> Nic {
    let folder = device.join("ports").join(port.to_string());
    let said = |file: &str| text(&folder.join(file));
    let mut gids = Vec::new();
    for index in 0..=u8::MAX {
        let Some(address) = said(&format!("gids/{index}")) else {
            break;
        };
        let Ok(address) = address.parse::<Ipv6Addr>() else {
            continue;
        };
        if address.is_unspecified() {
            continue;
        }
        let kind = match said(&format!("gid_attrs/types/{index}")).as_deref() {
            Some("RoCE v2") => GidKind::RoceV2,
            _ => GidKind::Ib,
        };
        gids.push(Gid {
            index,
            address,
            kind,
        });
    }
    let numa = text(&device.join("device/numa_node"));
    Nic {
        active: said("state").is_some_and(|state| state.starts_with("4:")),
        ethernet: said("link_layer").as_deref() == Some("Ethernet"),
        gids,
        // Minus one: nobody has told the kernel.
        numa: numa.and_then(|node| node.parse().ok()),
        place: fs::canonicalize(device.join("device")).ok(),
        name,
        port,
    }
}

fn text(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned())
}

/// Names in a folder, in order.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let mut names: Vec<String> = entries.map(name).collect();
    names.sort();
    names
}

/// How far NUMA nodes are from one, by number, as the firmware says: 10 is the node itself.
#[must_use]
pub fn distances(root: &Path, node: u32) -> Vec<u32> {
    let file = root.join(format!("devices/system/node/node{node}/distance"));
    let text = text(&file).unwrap_or_default();
    let numbers = text
        .split_whitespace()
        .map(|word| word.parse().unwrap_or(u32::MAX));
    numbers.collect()
}

/// Where memory is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Near {
    /// It is not known, or everywhere: all NICs are alike.
    Anywhere,
    /// On a NUMA node, with the distances of all nodes from it.
    Node(u32, Vec<u32>),
    /// In a device, at this place in the tree of devices, which hangs on a NUMA node.
    Device(PathBuf, Option<u32>),
}

/// NICs by their places in a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Used in the first place, side by side.
    pub preferred: Vec<usize>,
    /// Used when no preferred one works, the nearest first.
    pub secondary: Vec<usize>,
}

/// Sorts NICs by their nearness. Equally near ones keep the order of the list.
#[must_use]
pub fn choose(nics: &[Nic], near: &Near) -> Choice {
    let far = |nic: &Nic| -> (u32, usize) {
        match near {
            Near::Anywhere => (0, 0),
            Near::Node(node, distances) => (across(nic, *node, distances), 0),
            Near::Device(place, node) => {
                let steps = nic.place.as_ref().map_or(usize::MAX, |at| steps(at, place));
                let same = node.is_none() || nic.numa.is_none() || nic.numa == *node;
                (u32::from(!same), steps)
            }
        }
    };
    let mut order: Vec<usize> = (0..nics.len()).collect();
    order.sort_by_key(|&place| far(&nics[place]));
    let Some(nearest) = order.first().map(|&place| far(&nics[place])) else {
        return Choice::default();
    };
    let (preferred, secondary) = order
        .into_iter()
        .partition(|&place| far(&nics[place]) == nearest);
    Choice {
        preferred,
        secondary,
    }
}

/// A NIC whose node is not known is taken for far: it is wrong at worst by a slower way.
fn across(nic: &Nic, node: u32, distances: &[u32]) -> u32 {
    let of = |numa: u32| match distances.get(numa as usize) {
        Some(&distance) => distance,
        None if numa == node => 10,
        None => u32::MAX - 1,
    };
    nic.numa.map_or(u32::MAX, of)
}

/// Bridges between two places in a tree: up from the one, down to the other.
fn steps(one: &Path, other: &Path) -> usize {
    let (one, other): (Vec<_>, Vec<_>) = (one.components().collect(), other.components().collect());
    let common = one.iter().zip(&other).take_while(|(a, b)| a == b).count();
    one.len() + other.len() - 2 * common
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake(tempfile::TempDir);

    impl Fake {
        fn new() -> Self {
            Self(tempfile::tempdir().expect("a folder"))
        }

        fn set(&self, path: &str, text: &str) {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, format!("{text}\n")).expect("written");
        }

        /// A device at a place in the tree of devices, on a NUMA node.
        fn nic(&self, name: &str, place: &str, numa: &str, state: &str) {
            let device = format!("devices/pci0000:00/{place}");
            self.set(&format!("{device}/numa_node"), numa);
            let class = format!("class/infiniband/{name}");
            self.set(&format!("{class}/ports/1/state"), state);
            self.set(&format!("{class}/ports/1/link_layer"), "Ethernet");
            let root = self.0.path();
            let link = root.join(&class).join("device");
            std::os::unix::fs::symlink(root.join(&device), link).expect("a link");
        }

        fn gid(&self, name: &str, index: u8, address: &str, kind: &str) {
            let port = format!("class/infiniband/{name}/ports/1");
            self.set(&format!("{port}/gids/{index}"), address);
            self.set(&format!("{port}/gid_attrs/types/{index}"), kind);
        }

        fn nics(&self) -> Vec<Nic> {
            nics(self.0.path())
        }
    }

    #[test]
    fn ports_and_addresses_are_read_and_the_routable_one_is_taken() {
        let fake = Fake::new();
        assert_eq!(fake.nics(), [], "no RDMA in this kernel");
        fake.nic("mlx5_0", "0000:17:00.0", "0", "4: ACTIVE");
        fake.nic("mlx5_1", "0000:98:00.0", "-1", "1: DOWN");
        let local = "fe80:0000:0000:0000:a04d:f0ff:fe83:3543";
        let mapped = "0000:0000:0000:0000:0000:ffff:0a4d:0001";
        fake.gid("mlx5_0", 0, local, "IB/RoCE v1");
        fake.gid("mlx5_0", 1, local, "RoCE v2");
        fake.gid("mlx5_0", 2, mapped, "IB/RoCE v1");
        fake.gid("mlx5_0", 3, mapped, "RoCE v2");
        let nothing = "0000:0000:0000:0000:0000:0000:0000:0000";
        fake.gid("mlx5_0", 4, nothing, "RoCE v2");
        let nics = fake.nics();
        assert_eq!(nics.len(), 2);
        let (first, second) = (&nics[0], &nics[1]);
        assert!(first.active && !second.active && first.ethernet);
        assert_eq!((first.numa, second.numa), (Some(0), None));
        assert_eq!(first.gids.len(), 4, "an entry of zeros is empty");
        let taken = first.gid(None).expect("there is one");
        assert_eq!(taken.index, 3);
        assert_eq!(taken.address.to_string(), "::ffff:10.77.0.1");
        assert_eq!(first.gid(Some(1)).map(|gid| gid.index), Some(1));
        assert_eq!((first.gid(Some(4)), second.gid(None)), (None, None));
    }

    #[test]
    fn memory_prefers_the_nics_of_its_node_and_knows_the_others_by_distance() {
        let fake = Fake::new();
        for (name, place, numa) in [
            ("a", "0000:01:00.0", "2"),
            ("b", "0000:02:00.0", "0"),
            ("c", "0000:03:00.0", "1"),
            ("d", "0000:04:00.0", "0"),
            ("e", "0000:05:00.0", "-1"),
        ] {
            fake.nic(name, place, numa, "4: ACTIVE");
        }
        fake.set("devices/system/node/node0/distance", "10 20 32");
        let nics = fake.nics();
        let near = Near::Node(0, distances(fake.0.path(), 0));
        let choice = choose(&nics, &near);
        assert_eq!(choice.preferred, [1, 3]);
        assert_eq!(choice.secondary, [2, 0, 4]);
        let all = choose(&nics, &Near::Anywhere);
        assert_eq!((all.preferred.len(), all.secondary.len()), (5, 0));
        assert_eq!(choose(&[], &Near::Anywhere), Choice::default());
        // A node without distances of its own: itself before all others.
        let choice = choose(&nics, &Near::Node(1, Vec::new()));
        assert_eq!(choice.preferred, [2]);
    }

    #[test]
    fn a_gpu_prefers_the_nic_under_its_switch() {
        let fake = Fake::new();
        fake.nic("far", "0000:00:05.0/0000:80:00.0", "1", "4: ACTIVE");
        fake.nic("same-root", "0000:00:02.0/0000:30:00.0", "0", "4: ACTIVE");
        fake.nic(
            "same-switch",
            "0000:00:01.0/0000:10:00.0/0000:12:00.0",
            "0",
            "4: ACTIVE",
        );
        let nics = fake.nics();
        let switch = "devices/pci0000:00/0000:00:01.0/0000:10:00.0/0000:11:00.0";
        let gpu = fake.0.path().join(switch);
        fs::create_dir_all(&gpu).expect("made");
        let gpu = fs::canonicalize(gpu).expect("there");
        let choice = choose(&nics, &Near::Device(gpu, Some(0)));
        assert_eq!(choice.preferred, [2]);
        assert_eq!(choice.secondary, [1, 0]);
    }
}
