//! Sessions in shuffled groups that each have the whole mix: less noise between seeds, nothing else changed.
//!
//! Prompt lengths and numbers of turns have heavy tails: with independent draws, one hour of a Kimi-like workload
//! differs from the next by a tenth in its cacheable blocks, and so would any result from one seed. So the two
//! numbers that matter most, a session's length and its persistence, come from a Hammersley net of 1,024 points,
//! scrambled and shuffled anew for each group. Each pair on its own is still uniform; over some minutes (at
//! Kimi's rate) neighbours are as good as independent; over an hour the mix is right.

use super::stream::Stream;

/// Points of one net, a power of two.
const GROUP: u64 = 1 << BITS;
const BITS: u32 = 10;

/// Hands out the points of one group after the other.
#[derive(Clone, Debug)]
pub(super) struct Strata {
    seed: u64,
    lane: u64,
    order: Vec<u32>,
    scramble: u32,
}

/// Where a session stands in the mix, both coordinates uniform in [0, 1).
#[derive(Clone, Copy, Debug)]
pub(super) struct Point {
    /// Rank of the first prompt's length.
    pub(super) length: f64,
    /// The smaller, the more turns.
    pub(super) persistence: f64,
}

impl Strata {
    /// `lane` keeps the draws of several nets of one seed apart.
    pub(super) const fn new(seed: u64, lane: u64) -> Self {
        Self {
            seed,
            lane,
            order: Vec::new(),
            scramble: 0,
        }
    }

    /// The point of session number `number`; numbers must come in order from 0.
    pub(super) fn point(&mut self, number: u64) -> Point {
        let place = (number % GROUP) as usize;
        if place == 0 {
            self.shuffle(number / GROUP);
        }
        let cell = self.order[place];
        let mirrored = (cell.reverse_bits() >> (32 - BITS)) ^ self.scramble;
        // A point lies anywhere in its cell.
        let mut jitter = Stream::new(self.seed, "strata-jitter", self.lane + number);
        let mut within = |cell: u32| (f64::from(cell) + jitter.uniform()) / GROUP as f64;
        Point {
            length: within(cell),
            persistence: within(mirrored),
        }
    }

    fn shuffle(&mut self, group: u64) {
        let mut stream = Stream::new(self.seed, "strata", self.lane + group);
        self.scramble = stream.below(GROUP) as u32;
        self.order = (0..GROUP as u32).collect();
        // Fisher and Yates.
        for last in (1..self.order.len()).rev() {
            let other = stream.below(last as u64 + 1) as usize;
            self.order.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_the_whole_mix() {
        let mut strata = Strata::new(3, 0);
        let points: Vec<Point> = (0..2 * GROUP).map(|number| strata.point(number)).collect();
        for group in points.chunks(GROUP as usize) {
            // 32 x 32 cells: a net has one point in each.
            let mut seen = vec![0; GROUP as usize];
            for point in group {
                seen[(point.length * 32.0) as usize * 32 + (point.persistence * 32.0) as usize] +=
                    1;
            }
            assert!(seen.iter().all(|count| *count == 1));
        }
    }
}
