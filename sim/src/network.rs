//! The network: flows share links max-min fairly.
//!
//! A flow crosses one or more links (a sender's NICs, a receiver's NICs, a host-to-device bus) and may have a
//! limit of
//! its own (KV is streamed as fast as it is computed). Rates are the max-min fair ones: no flow can get more without
//! taking from one that has less. When a flow comes, goes or changes its limit, only flows are looked at that are
//! connected to it through links of which more is wanted than they carry: the rates of others do not depend on it.
//!
//! Integers throughout: rates in bytes a second, what is left in 2^-10 bytes; a flow ends at the first nanosecond at
//! which nothing is left.
//!
//! Links may become slower, be cut and heal ([`Network::set_capacity`]). A flow over a cut link does not flow, takes
//! nothing from others, and goes on from where it was when all its links are there.

mod capacity;
mod fair;

use crate::heap::IndexedHeap;
use conductor_core::units::{Bytes, Nanos};
use fair::FairShare;

/// A link's place in the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkId(pub u32);

/// A flow's place in the network, valid until it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FlowId(pub u32);

/// The most links that a flow crosses.
pub const PATH_MAX: usize = 2;

/// Links of a flow; unused places repeat the first.
pub type Path = [LinkId; PATH_MAX];

const FRACTION_BITS: u32 = 10;

#[derive(Clone, Copy, Debug)]
struct Flow {
    path: Path,
    /// Own limit, bytes a second.
    limit: u64,
    rate: u64,
    /// In 2^-10 bytes, as of `settled`.
    left: u64,
    settled: Nanos,
    active: bool,
    /// A link of it is cut: it is on none of its links' lists.
    parked: bool,
}

/// Links and the flows on them.
#[derive(Clone, Debug)]
pub struct Network {
    /// Bytes a second, by link; 0 if it is cut.
    capacity: Vec<u64>,
    /// Flows on each link.
    flows_on: Vec<Vec<u32>>,
    /// What these would take together if nothing but their own limits stopped them.
    wanted: Vec<u128>,
    flows: Vec<Flow>,
    free: Vec<u32>,
    /// Flows over cut links.
    parked: Vec<u32>,
    ends: IndexedHeap<Nanos>,
    fair: FairShare,
}

/// A path over one link.
#[must_use]
pub const fn over(link: LinkId) -> Path {
    [link; PATH_MAX]
}

impl Network {
    /// A network of links with these capacities in bytes a second, each at least 1.
    #[must_use]
    pub fn new(capacity: Vec<u64>) -> Self {
        assert!(
            capacity.iter().all(|&capacity| capacity > 0),
            "a link carries something"
        );
        let links = capacity.len();
        Self {
            capacity,
            flows_on: vec![Vec::new(); links],
            wanted: vec![0; links],
            flows: Vec::new(),
            free: Vec::new(),
            parked: Vec::new(),
            ends: IndexedHeap::default(),
            fair: FairShare::new(links),
        }
    }

    /// When the next flow ends, and which.
    #[must_use]
    pub fn next_end(&self) -> Option<(Nanos, FlowId)> {
        self.ends.peek().map(|(at, flow)| (at, FlowId(flow)))
    }

    /// How many flows cross a link.
    #[must_use]
    pub fn flows_on(&self, link: LinkId) -> usize {
        self.flows_on[link.0 as usize].len()
    }

    /// A flow's present rate in bytes a second.
    #[must_use]
    pub fn rate(&self, flow: FlowId) -> u64 {
        self.flows[flow.0 as usize].rate
    }

    /// Starts a flow of `size` over `path`, of at most `limit` bytes a second if there is one.
    pub fn start(&mut self, now: Nanos, path: Path, size: Bytes, limit: Option<u64>) -> FlowId {
        let flow = Flow {
            path,
            limit: limit.unwrap_or(u64::MAX).max(1),
            rate: 0,
            left: size.0 << FRACTION_BITS,
            settled: now,
            active: true,
            parked: self.is_cut(path),
        };
        let parked = flow.parked;
        let slot = match self.free.pop() {
            Some(slot) => {
                self.flows[slot as usize] = flow;
                slot
            }
            None => {
                self.flows.push(flow);
                self.flows.len() as u32 - 1
            }
        };
        if parked {
            self.parked.push(slot);
            return FlowId(slot);
        }
        self.put_on(slot);
        if self.is_ample(path) {
            self.set_rate(now, slot, flow.limit);
        } else {
            self.share(now, path);
        }
        FlowId(slot)
    }

    /// Removes the flow's own limit.
    pub fn lift_limit(&mut self, now: Nanos, flow: FlowId) {
        let flow = &mut self.flows[flow.0 as usize];
        let (path, more) = (flow.path, u64::MAX - flow.limit);
        flow.limit = u64::MAX;
        if !flow.parked {
            for link in distinct(path) {
                self.wanted[link.0 as usize] += u128::from(more);
            }
            self.share(now, path);
        }
    }

    /// Ends a flow, whether it is complete or not.
    pub fn end(&mut self, now: Nanos, flow: FlowId) {
        let slot = flow.0;
        let path = self.flows[slot as usize].path;
        assert!(self.flows[slot as usize].active, "a flow ends once");
        self.flows[slot as usize].active = false;
        if self.flows[slot as usize].parked {
            self.parked.retain(|&other| other != slot);
            self.free.push(slot);
            return;
        }
        // Who had all that it wanted took nothing from others.
        let was_ample = self.is_ample(path);
        self.take_off(slot);
        self.free.push(slot);
        if !was_ample {
            self.share(now, path);
        }
    }

    /// Puts a flow on the lists of its links.
    fn put_on(&mut self, slot: u32) {
        let flow = &self.flows[slot as usize];
        for link in distinct(flow.path) {
            self.flows_on[link.0 as usize].push(slot);
            self.wanted[link.0 as usize] += u128::from(flow.limit);
        }
    }

    /// Takes a flow off the lists of its links.
    fn take_off(&mut self, slot: u32) {
        let limit = u128::from(self.flows[slot as usize].limit);
        for link in distinct(self.flows[slot as usize].path) {
            self.wanted[link.0 as usize] -= limit;
            let flows = &mut self.flows_on[link.0 as usize];
            let place = flows
                .iter()
                .position(|&other| other == slot)
                .expect("an active flow is on its links");
            flows.swap_remove(place);
        }
        self.ends.remove(slot);
    }

    /// True if the links of the path carry all that is wanted of them. Such a link stops nobody: whoever crosses no
    /// other has what it wants, and whether others come or go makes no difference to it.
    fn is_ample(&self, path: Path) -> bool {
        distinct(path).all(|link| carries_all(&self.capacity, &self.wanted, link))
    }

    /// Shares the links of `path` anew, and those that are connected to them through links that do not carry all that
    /// is wanted of them.
    fn share(&mut self, now: Nanos, path: Path) {
        let (capacity, wanted) = (&self.capacity, &self.wanted);
        self.fair.collect(
            path,
            &self.flows_on,
            |flow| self.flows[flow as usize].path,
            |link| !carries_all(capacity, wanted, link),
        );
        self.fair.solve(&self.capacity, |flow| {
            (
                self.flows[flow as usize].path,
                self.flows[flow as usize].limit,
            )
        });
        for i in 0..self.fair.rates().len() {
            let (slot, rate) = self.fair.rates()[i];
            self.set_rate(now, slot, rate);
        }
    }

    fn set_rate(&mut self, now: Nanos, slot: u32, rate: u64) {
        let flow = &mut self.flows[slot as usize];
        if flow.rate == rate {
            return;
        }
        if flow.rate != 0 {
            let moved = moved(flow.rate, now - flow.settled);
            flow.left = flow.left.saturating_sub(moved);
        }
        flow.settled = now;
        flow.rate = rate;
        self.ends.set(slot, now + time_for(flow.left, rate));
    }
}

fn carries_all(capacity: &[u64], wanted: &[u128], link: LinkId) -> bool {
    wanted[link.0 as usize] <= u128::from(capacity[link.0 as usize])
}

/// The different links of a path.
fn distinct(path: Path) -> impl Iterator<Item = LinkId> {
    let second = (path[1] != path[0]).then_some(path[1]);
    core::iter::once(path[0]).chain(second)
}

/// What a rate moves in a time, in 2^-10 bytes, rounded down.
fn moved(rate: u64, time: Nanos) -> u64 {
    (((u128::from(rate) * u128::from(time.0)) << FRACTION_BITS) / 1_000_000_000) as u64
}

/// The time in which `left` (2^-10 bytes) is moved, rounded up.
fn time_for(left: u64, rate: u64) -> Nanos {
    let nanos = (u128::from(left) * 1_000_000_000).div_ceil(u128::from(rate) << FRACTION_BITS);
    Nanos(nanos as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GB: u64 = 1_000_000_000;

    #[test]
    fn two_flows_share_and_the_second_speeds_up() {
        let mut network = Network::new(vec![10 * GB, 10 * GB, 10 * GB]);
        let (a, b, c) = (LinkId(0), LinkId(1), LinkId(2));
        let first = network.start(Nanos(0), [a, b], Bytes(10 * GB), None);
        assert_eq!(network.next_end(), Some((Nanos::from_secs(1), first)));
        let second = network.start(Nanos(0), [a, c], Bytes(20 * GB), None);
        assert_eq!(
            (network.rate(first), network.rate(second)),
            (5 * GB, 5 * GB)
        );
        assert_eq!(network.next_end(), Some((Nanos::from_secs(2), first)));
        network.end(Nanos::from_secs(2), first);
        assert_eq!(network.next_end(), Some((Nanos::from_secs(3), second)));
    }

    #[test]
    fn a_limited_flow_leaves_the_rest_to_others() {
        let mut network = Network::new(vec![10 * GB]);
        let limited = network.start(Nanos(0), over(LinkId(0)), Bytes(GB), Some(2 * GB));
        let other = network.start(Nanos(0), over(LinkId(0)), Bytes(8 * GB), None);
        assert_eq!(
            (network.rate(limited), network.rate(other)),
            (2 * GB, 8 * GB)
        );
        network.lift_limit(Nanos::from_millis(250), limited);
        assert_eq!(
            (network.rate(limited), network.rate(other)),
            (5 * GB, 5 * GB)
        );
        assert_eq!(
            network.next_end(),
            Some((Nanos::from_millis(350), limited)),
            "half a gigabyte at 5 a second"
        );
    }

    /// Max-min fairness by its definition, slowly: raise all rates together, freeze who is stopped.
    fn slow_rates(capacity: &[u64], flows: &[(Path, u64)]) -> Vec<f64> {
        let mut rates = vec![0.0; flows.len()];
        let mut frozen = vec![false; flows.len()];
        while frozen.contains(&false) {
            let mut step = f64::INFINITY;
            for (i, &(_, limit)) in flows.iter().enumerate() {
                if !frozen[i] {
                    step = step.min(limit as f64 - rates[i]);
                }
            }
            let room = |link: usize, rates: &[f64]| {
                let used: f64 = flows
                    .iter()
                    .zip(rates)
                    .filter(|(f, _)| distinct(f.0).any(|l| l.0 as usize == link))
                    .map(|x| x.1)
                    .sum();
                capacity[link] as f64 - used
            };
            for link in 0..capacity.len() {
                let on = |i: usize| distinct(flows[i].0).any(|l| l.0 as usize == link);
                let rising = (0..flows.len()).filter(|&i| !frozen[i] && on(i)).count();
                if rising > 0 {
                    step = step.min(room(link, &rates) / rising as f64);
                }
            }
            for (rate, frozen) in rates.iter_mut().zip(&frozen) {
                if !frozen {
                    *rate += step.max(0.0);
                }
            }
            for i in 0..flows.len() {
                let full = distinct(flows[i].0).any(|l| room(l.0 as usize, &rates) <= 1e-3);
                if full || rates[i] >= flows[i].1 as f64 - 1e-3 {
                    frozen[i] = true;
                }
            }
        }
        rates
    }

    proptest! {
        #[test]
        fn rates_equal_the_definition(
            capacity in proptest::collection::vec(1_000_u64..1_000_000, 2..6),
            flows in proptest::collection::vec((0_u32..6, 0_u32..6, proptest::option::of(500_u64..500_000)), 1..12),
            gone in 0_usize..12,
        ) {
            let links = capacity.len() as u32;
            let mut network = Network::new(capacity.clone());
            let mut live = Vec::new();
            for &(a, b, limit) in &flows {
                let path = [LinkId(a % links), LinkId(b % links)];
                let id = network.start(Nanos(0), path, Bytes(GB), limit);
                live.push((id, path, limit.unwrap_or(u64::MAX >> 20)));
            }
            if gone < live.len() {
                let (id, ..) = live.remove(gone);
                network.end(Nanos(0), id);
            }
            let slow = slow_rates(&capacity, &live.iter().map(|&(_, path, limit)| (path, limit)).collect::<Vec<_>>());
            for (&(id, ..), slow) in live.iter().zip(slow) {
                let fast = network.rate(id) as f64;
                prop_assert!((fast - slow).abs() <= 16.0, "{} against {}", fast, slow);
            }
        }
    }
}
