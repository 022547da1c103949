//! Links that become slower, are cut, and heal.

use super::{FlowId, LinkId, Network, Path, distinct, moved, over};
use conductor_core::units::{Bytes, Nanos};

impl Network {
    /// The link carries `capacity` bytes a second from now on; 0: it is cut.
    pub fn set_capacity(&mut self, now: Nanos, link: LinkId, capacity: u64) {
        let place = link.0 as usize;
        self.capacity[place] = capacity;
        if capacity == 0 {
            let mut flows = std::mem::take(&mut self.flows_on[place]);
            // Ascending, so that nothing depends on the order in which they came and went.
            flows.sort_unstable();
            self.flows_on[place].clone_from(&flows);
            for &slot in &flows {
                self.take_off(slot);
                let flow = &mut self.flows[slot as usize];
                flow.left = (flow.left).saturating_sub(moved(flow.rate, now - flow.settled));
                (flow.rate, flow.settled, flow.parked) = (0, now, true);
                self.parked.push(slot);
            }
            for slot in flows {
                // What it had of its other link goes to others.
                let path = self.flows[slot as usize].path;
                self.share_what_is_there(now, path);
            }
            return;
        }
        let mut back = Vec::new();
        let (flows, cut) = (&mut self.flows, &self.capacity);
        self.parked.retain(|&slot| {
            let flow = &mut flows[slot as usize];
            flow.parked = distinct(flow.path).any(|link| cut[link.0 as usize] == 0);
            if !flow.parked {
                back.push(slot);
            }
            flow.parked
        });
        for &slot in &back {
            let flow = &mut self.flows[slot as usize];
            flow.settled = now;
            self.put_on(slot);
        }
        self.share(now, over(link));
    }

    /// True if a link of the path is cut.
    #[must_use]
    pub fn is_cut(&self, path: Path) -> bool {
        distinct(path).any(|link| self.capacity[link.0 as usize] == 0)
    }

    /// True if the flow waits for a link that is cut.
    #[must_use]
    pub fn is_parked(&self, flow: FlowId) -> bool {
        self.flows[flow.0 as usize].parked
    }

    /// How many flows there are, those over cut links included.
    #[must_use]
    pub fn active(&self) -> usize {
        self.flows.len() - self.free.len()
    }

    /// Bytes of a flow that are not carried yet at `now`, rounded up.
    #[must_use]
    pub fn left(&self, now: Nanos, flow: FlowId) -> Bytes {
        let flow = &self.flows[flow.0 as usize];
        let left = (flow.left).saturating_sub(moved(flow.rate, now - flow.settled));
        Bytes(left.div_ceil(1 << super::FRACTION_BITS))
    }

    /// Asserts what must always hold. Costs O(flows + links): for checks.
    pub fn check(&self) {
        let mut used = vec![0_u128; self.capacity.len()];
        let mut sharers = vec![0_u128; self.capacity.len()];
        for (slot, flow) in self
            .flows
            .iter()
            .enumerate()
            .filter(|(_, flow)| flow.active)
        {
            assert_eq!(
                flow.parked,
                self.is_cut(flow.path),
                "a flow waits if a link of it is cut, and only then"
            );
            assert_eq!(flow.rate == 0, flow.parked, "who does not wait flows");
            assert!(flow.rate <= flow.limit, "a flow keeps its own limit");
            for link in distinct(flow.path) {
                used[link.0 as usize] += u128::from(flow.rate);
                sharers[link.0 as usize] += 1;
                let on = self.flows_on[link.0 as usize].contains(&(slot as u32));
                assert_eq!(on, !flow.parked, "a flow is on its links' lists");
            }
        }
        for (i, &capacity) in self.capacity.iter().enumerate() {
            // Every flow has at least a byte a second.
            assert!(
                used[i] <= u128::from(capacity) + sharers[i],
                "link {i} carries {} of {capacity}",
                used[i]
            );
        }
    }

    fn share_what_is_there(&mut self, now: Nanos, path: Path) {
        for link in distinct(path) {
            if self.capacity[link.0 as usize] > 0 {
                self.share(now, over(link));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GB: u64 = 1_000_000_000;

    #[test]
    fn a_cut_flow_waits_takes_nothing_and_goes_on_where_it_was() {
        let mut network = Network::new(vec![10 * GB, 10 * GB, 10 * GB]);
        let (a, b, c) = (LinkId(0), LinkId(1), LinkId(2));
        let second = Nanos::SECOND;
        let cut = network.start(Nanos(0), [a, b], Bytes(20 * GB), None);
        let other = network.start(Nanos(0), [a, c], Bytes(20 * GB), None);
        network.set_capacity(second, b, 0);
        network.check();
        assert!(network.is_parked(cut));
        assert_eq!(network.left(second, cut), Bytes(15 * GB));
        assert_eq!((network.rate(cut), network.rate(other)), (0, 10 * GB));
        assert_eq!(network.next_end(), Some((Nanos::from_millis(2_500), other)));
        network.end(Nanos::from_millis(2_500), other);
        assert_eq!(network.next_end(), None);
        network.set_capacity(second * 10, b, 5 * GB);
        assert_eq!(network.next_end(), Some((second * 13, cut)));
        let new = network.start(second * 10, [a, b], Bytes(GB), None);
        network.set_capacity(second * 11, a, 0);
        network.check();
        network.end(second * 12, cut);
        network.end(second * 12, new);
        assert_eq!(network.active(), 0);
    }

    proptest! {
        /// A network whose links were cut, slowed and healed shares like one that never had a fault.
        #[test]
        fn a_healed_network_is_like_new(
            flows in proptest::collection::vec((0_u32..5, 0_u32..5, proptest::option::of(500_u64..500_000)), 1..12),
            faults in proptest::collection::vec((0_u32..5, 0_u64..3, 0_usize..12), 0..20),
        ) {
            let capacity = vec![100_000, 200_000, 50_000, 75_000, 1_000_000];
            let mut network = Network::new(capacity.clone());
            let mut live = Vec::new();
            let mut faults = faults.into_iter();
            for &(a, b, limit) in &flows {
                let path = [LinkId(a), LinkId(b)];
                live.push((network.start(Nanos(0), path, Bytes(GB), limit), path, limit));
                if let Some((link, part, gone)) = faults.next() {
                    network.set_capacity(Nanos(0), LinkId(link), capacity[link as usize] * part / 2);
                    network.check();
                    if gone < live.len() {
                        network.end(Nanos(0), live.remove(gone).0);
                        network.check();
                    }
                }
            }
            for (link, part, _) in faults {
                network.set_capacity(Nanos(0), LinkId(link), capacity[link as usize] * part / 2);
                network.check();
            }
            for (link, &capacity) in capacity.iter().enumerate() {
                network.set_capacity(Nanos(0), LinkId(link as u32), capacity);
            }
            network.check();
            let mut new = Network::new(capacity);
            for &(flow, path, limit) in &live {
                let same = new.start(Nanos(0), path, Bytes(GB), limit);
                prop_assert_eq!(network.left(Nanos(0), flow), Bytes(GB));
                let _ = same;
            }
            let rates: Vec<u64> = live.iter().map(|&(flow, ..)| network.rate(flow)).collect();
            let fresh: Vec<u64> = (0..live.len()).map(|i| new.rate(FlowId(i as u32))).collect();
            // Rounding goes by the flows' numbers, which differ.
            for (found, expected) in rates.iter().zip(&fresh) {
                prop_assert!(found.abs_diff(*expected) <= 16, "{} against {}", found, expected);
            }
        }
    }
}
