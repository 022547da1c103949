//! The machine's next steps: which paths to open, and what to post where.

use super::Do;
use super::machine::{Path, Paths, State};

impl Paths {
    /// Opens and posts as much as the rules allow.
    pub(super) fn advance(&mut self) {
        if self.ready.is_empty() {
            return;
        }
        self.open_more();
        while let Some(&(op, part)) = self.ready.front() {
            let depth = self.rules.depth;
            let open = |path: &&Path| path.state == State::Open;
            let rank = self.paths.iter().filter(open).map(|path| path.rank).min();
            let room = self.paths.iter().enumerate().filter(|(_, path)| {
                open(path) && Some(path.rank) == rank && path.posted.len() < depth
            });
            let Some((path, _)) = room.min_by_key(|(_, path)| path.posted.len()) else {
                return;
            };
            self.ready.pop_front();
            let number = self.paths[path].post(op, part);
            if let Some(flight) = self.flights.get_mut(&op) {
                flight.out += 1;
            }
            self.orders.push_back(Do::Post {
                path,
                number,
                op,
                part,
            });
        }
    }

    fn open_more(&mut self) {
        let (now, ready) = (self.now, self.ready.len());
        let may = |path: &Path| match path.state {
            State::Shut => true,
            State::Down { until } => until <= now,
            _ => false,
        };
        let on_its_way = |path: &Path| {
            matches!(
                path.state,
                State::Opening | State::Open | State::Probing | State::Closing { down: false }
            )
        };
        let best = |healthy: bool| {
            let usable = self.paths.iter().filter(|&path| {
                let fit = !healthy || path.failures == 0;
                fit && (may(path) || on_its_way(path))
            });
            usable.map(|path| path.rank).min()
        };
        let open = self.paths.iter().filter(|path| path.state == State::Open);
        let open = open.map(|path| path.rank).min();
        // The best rank, even if it has failed before and only recovers; and as long as nothing is open, the best one
        // that has not failed.
        let ranks = [best(false), best(true).filter(|_| open.is_none())];
        for rank in ranks.into_iter().flatten() {
            let of_rank = |path: &&Path| path.rank == rank;
            let ways = self.paths.iter().filter(of_rank);
            let busy: usize = ways.clone().map(|path| path.posted.len()).sum();
            let active = ways.filter(|&path| on_its_way(path)).count();
            let mut more = (ready + busy).saturating_sub(active);
            for (number, path) in self.paths.iter_mut().enumerate() {
                if more > 0 && path.rank == rank && may(path) {
                    path.state = State::Opening;
                    self.orders.push_back(Do::Open(number));
                    more -= 1;
                }
            }
        }
    }
}
