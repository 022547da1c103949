//! Max-min fair shares by progressive filling, within one component of connected flows.

use super::{LinkId, Path, distinct};

/// Scratch space for one allocation after another.
#[derive(Clone, Debug)]
pub(super) struct FairShare {
    links: Vec<LinkId>,
    /// Flow and its rate; 0 while it is not decided.
    rates: Vec<(u32, u64)>,
    /// By link: what is not given away, and to how many flows the rest goes.
    room: Vec<u64>,
    sharers: Vec<u32>,
    /// The links that are looked at.
    seen_link: Vec<bool>,
    seen_flow: Vec<bool>,
}

impl FairShare {
    pub(super) fn new(links: usize) -> Self {
        Self {
            links: Vec::new(),
            rates: Vec::new(),
            room: vec![0; links],
            sharers: vec![0; links],
            seen_link: vec![false; links],
            seen_flow: Vec::new(),
        }
    }

    /// Flows and rates, after [`Self::solve`].
    pub(super) fn rates(&self) -> &[(u32, u64)] {
        &self.rates
    }

    /// Finds the links of `path`, the flows on them, and all links that `matter` and flows that are connected with them
    /// through such.
    pub(super) fn collect(
        &mut self,
        path: Path,
        flows_on: &[Vec<u32>],
        path_of: impl Fn(u32) -> Path,
        matters: impl Fn(LinkId) -> bool,
    ) {
        for &link in &self.links {
            self.seen_link[link.0 as usize] = false;
        }
        self.links.clear();
        self.rates.clear();
        for link in distinct(path) {
            self.see(link);
        }
        let mut next = 0;
        while next < self.links.len() {
            let link = self.links[next];
            next += 1;
            for &flow in &flows_on[link.0 as usize] {
                if flow as usize >= self.seen_flow.len() {
                    self.seen_flow.resize(flow as usize + 1, false);
                }
                if !self.seen_flow[flow as usize] {
                    self.seen_flow[flow as usize] = true;
                    self.rates.push((flow, 0));
                    for link in distinct(path_of(flow)).filter(|&link| matters(link)) {
                        self.see(link);
                    }
                }
            }
        }
        for &(flow, _) in &self.rates {
            self.seen_flow[flow as usize] = false;
        }
        // The result must not depend on the order in which flows were found.
        self.rates.sort_unstable();
    }

    fn see(&mut self, link: LinkId) {
        if !self.seen_link[link.0 as usize] {
            self.seen_link[link.0 as usize] = true;
            self.links.push(link);
        }
    }

    /// Decides the rates of the collected flows.
    pub(super) fn solve(&mut self, capacity: &[u64], flow: impl Fn(u32) -> (Path, u64)) {
        self.links.sort_unstable();
        for &link in &self.links {
            self.room[link.0 as usize] = capacity[link.0 as usize];
            self.sharers[link.0 as usize] = 0;
        }
        for &(id, _) in &self.rates {
            for link in distinct(flow(id).0).filter(|link| self.seen_link[link.0 as usize]) {
                self.sharers[link.0 as usize] += 1;
            }
        }
        let mut undecided = self.rates.len();
        while undecided > 0 {
            // The tightest link's fair share, and whether some flow wants less than that.
            let share = |link: &LinkId| {
                self.room[link.0 as usize] / u64::from(self.sharers[link.0 as usize])
            };
            let shared = self
                .links
                .iter()
                .filter(|link| self.sharers[link.0 as usize] > 0);
            let (tightest, bottleneck) = shared
                .map(|link| (share(link), *link))
                .min()
                .expect("undecided flows are on links");
            let modest = self
                .rates
                .iter()
                .any(|&(id, rate)| rate == 0 && flow(id).1 <= tightest);
            for i in 0..self.rates.len() {
                let (id, rate) = self.rates[i];
                if rate != 0 {
                    continue;
                }
                let (path, limit) = flow(id);
                let decided = if modest {
                    limit <= tightest
                } else {
                    distinct(path).any(|link| link == bottleneck)
                };
                if decided {
                    // A share of less than a byte a second is rounded up, so that every flow ends.
                    let rate = if modest { limit } else { tightest }.max(1);
                    self.rates[i].1 = rate;
                    undecided -= 1;
                    for link in distinct(path).filter(|link| self.seen_link[link.0 as usize]) {
                        let room = &mut self.room[link.0 as usize];
                        *room = room.saturating_sub(rate);
                        self.sharers[link.0 as usize] -= 1;
                    }
                }
            }
        }
    }
}
