//! The devices of a transport, in order of preference, and the local memory that is registered with them.

use super::device::{Device, Memory};
use super::endpoints::Endpoints;
use super::message::{NICS_MAX, Port};
use super::settings::Settings;
use super::topology::{self, Near, Nic};
use crate::error::Error;
use crate::region::Region;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// Regions that are registered as a source or target of own operations. A node has one; more are for tests and tools.
const REGIONS_MAX: usize = 16;

/// One region's registrations, in the order of the devices.
pub(crate) type Registered = Arc<Vec<Memory>>;

pub(crate) struct Nics {
    pub(crate) devices: Vec<Device>,
    /// So many of them, from the first, are preferred.
    pub(crate) preferred: usize,
    pub(crate) settings: Settings,
    pub(crate) endpoints: Endpoints,
    /// By the regions' numbers; the last used is last.
    local: Mutex<Vec<(u64, Registered)>>,
}

impl Nics {
    /// Opens those that the settings name, or all that are active.
    pub(crate) fn open(settings: &Settings) -> Result<Self, Error> {
        settings.check()?;
        let root = Path::new("/sys");
        let (found, preferred) = select(topology::nics(root), settings, |node| {
            topology::distances(root, node)
        })?;
        let devices = found.iter().map(|nic| Device::open(nic, settings));
        Ok(Self {
            devices: devices.collect::<Result<_, _>>()?,
            preferred,
            settings: settings.clone(),
            endpoints: Endpoints::new(settings.endpoints_max),
            local: Mutex::default(),
        })
    }

    /// What peers are told.
    pub(crate) fn ports(&self) -> Vec<Port> {
        self.devices.iter().map(|device| device.port).collect()
    }

    /// A region's registrations, if they are there.
    pub(crate) fn known(&self, region: &Region) -> Option<Registered> {
        let mut local = self.local.lock().expect("no panic inside");
        let place = local.iter().position(|(id, _)| *id == region.id())?;
        let entry = local.remove(place);
        let registered = entry.1.clone();
        local.push(entry);
        Some(registered)
    }

    /// Registers a region with every device. It pins all of its pages, so it takes a while and blocks.
    pub(crate) fn register(&self, region: &Region) -> Result<Registered, Error> {
        if let Some(registered) = self.known(region) {
            return Ok(registered);
        }
        let whole = region.whole();
        let each = self.devices.iter();
        let registered = each.map(|device| device.register(region, whole, None));
        let registered = Arc::new(registered.collect::<Result<Vec<_>, _>>()?);
        let mut local = self.local.lock().expect("no panic inside");
        if local.len() == REGIONS_MAX {
            // Operations that use it have it too: it is deregistered behind the last of them.
            local.remove(0);
        }
        local.push((region.id(), registered.clone()));
        Ok(registered)
    }
}

/// Which of the NICs that were found are used, the preferred ones first, and how many those are.
fn select(
    found: Vec<Nic>,
    settings: &Settings,
    distances: impl Fn(u32) -> Vec<u32>,
) -> Result<(Vec<Nic>, usize), Error> {
    let wrong = |why: String| Err(Error::system("RDMA", why));
    let all = names(&found);
    let mut nics: Vec<Nic> = found
        .into_iter()
        .filter(|nic| nic.port == settings.port)
        .collect();
    if settings.devices.is_empty() {
        nics.retain(|nic| nic.active && nic.gid(settings.gid_index).is_some());
        nics.truncate(NICS_MAX);
    } else {
        let mut named = Vec::new();
        for name in &settings.devices {
            let Some(nic) = nics.iter().find(|nic| nic.name == *name) else {
                let port = settings.port;
                return wrong(format!(
                    "no device {name} with a port {port}; there are: {all}"
                ));
            };
            named.push(nic.clone());
        }
        if named.len() > NICS_MAX {
            return wrong(format!(
                "{} devices, expected {NICS_MAX} at most",
                named.len()
            ));
        }
        nics = named;
    }
    if nics.is_empty() {
        let port = settings.port;
        return wrong(format!(
            "no device whose port {port} is active; there are: {all}"
        ));
    }
    let near = match settings.numa {
        Some(node) => Near::Node(node, distances(node)),
        None => Near::Anywhere,
    };
    let choice = topology::choose(&nics, &near);
    let order = choice.preferred.iter().chain(&choice.secondary);
    let sorted = order.map(|&place| nics[place].clone()).collect();
    Ok((sorted, choice.preferred.len()))
}

fn names(nics: &[Nic]) -> String {
    let state = |nic: &Nic| if nic.active { "active" } else { "not active" };
    let each = nics
        .iter()
        .map(|nic| format!("{} port {} ({})", nic.name, nic.port, state(nic)));
    let names: Vec<String> = each.collect();
    match names.is_empty() {
        true => "none".into(),
        false => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::super::topology::{Gid, GidKind};
    use super::*;

    fn nic(name: &str, active: bool, numa: Option<u32>) -> Nic {
        Nic {
            name: name.into(),
            port: 1,
            active,
            ethernet: true,
            gids: vec![Gid {
                index: 1,
                address: "::ffff:10.0.0.1".parse().expect("an address"),
                kind: GidKind::RoceV2,
            }],
            numa,
            place: None,
        }
    }

    #[test]
    fn active_ones_are_taken_near_ones_first_and_what_is_missing_is_named() {
        let found = || {
            vec![
                nic("a", true, Some(1)),
                nic("b", false, Some(0)),
                nic("c", true, Some(0)),
            ]
        };
        let distances = |_| vec![10, 21];
        let near = Settings {
            numa: Some(0),
            ..Settings::default()
        };
        let (taken, preferred) = select(found(), &near, distances).expect("two");
        assert_eq!(
            (taken[0].name.as_str(), taken[1].name.as_str(), preferred),
            ("c", "a", 1)
        );
        let named = Settings {
            devices: vec!["c".into(), "d".into()],
            ..Settings::default()
        };
        let why = select(found(), &named, distances)
            .expect_err("no d")
            .to_string();
        assert!(
            why.contains("no device d with a port 1; there are: a port 1 (active), b"),
            "{why}"
        );
        let why = select(Vec::new(), &near, distances)
            .expect_err("none")
            .to_string();
        assert!(why.ends_with("there are: none"), "{why}");
    }
}
