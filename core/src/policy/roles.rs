//! When a node changes from one pool to the other: the gap between the loads, with hysteresis.
//!
//! FAST'25 says that a node may change its role and that this is done by hand. Here a node goes to the busier pool if,
//! for `hold` and without a break, that pool's load is at least `busy_min` and at least `gap` above the other's; after
//! a change nothing is decided for `cooldown`.
//!
//! *Loads are not smoothed.* The hold is the filter: one look at which the gap is closed begins it anew, so what swings
//! (admission by load makes the pools swing against each other, v3 section 7) is left alone, and what a number on the
//! clock means can be read off the policy file. A mean would have a second time constant and would decide on gaps that
//! have been closed.
//!
//! *Load alone would take nodes that are needed:* a prefill pool at 95 % of what it can do has hardly a queue, and is
//! drowned without one of its nodes. So the pool that gives must do, on average over the hold, what one node fewer can
//! do at `busy_min`. This is a count of work, for which a mean is right.
//!
//! Not here: what a load is, which node goes, and how (`conductor/roles.rs`).

use crate::config::{LoadGapConfig, Role};
use crate::units::Nanos;

/// Loads are looked at no more often than this: cheap, and well below any hold that makes sense.
pub const LOOK_PERIOD: Nanos = Nanos::SECOND;

/// A pool at one moment, over its nodes that take work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    /// How many.
    pub nodes: u32,
    /// Sum of their loads, in thousandths.
    pub load: u64,
    /// How many nodes' worth of work they do, in thousandths.
    pub work: u64,
}

/// More than a thousand times its limit is all the same.
const LOAD_MAX: u64 = 1_000_000;

impl Pool {
    /// `part` of `whole` in thousandths, for loads.
    #[must_use]
    pub fn thousandths(part: u64, whole: u64) -> u64 {
        let ratio = u128::from(part) * 1000 / u128::from(whole.max(1));
        u64::try_from(ratio).unwrap_or(LOAD_MAX).min(LOAD_MAX)
    }

    /// Counts a node.
    pub fn add(&mut self, load: u64, work: u64) {
        self.nodes += 1;
        self.load += load;
        self.work += work;
    }

    /// Mean load, in thousandths; of an empty pool 0.
    fn mean(&self) -> u64 {
        self.load / u64::from(self.nodes.max(1))
    }
}

/// A gap that is being watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gap {
    giver: Role,
    since: Nanos,
    looks: u64,
    /// Work of the pool that would give, summed over the looks.
    work: u64,
}

/// Watches the loads of the two pools.
#[derive(Clone, Debug)]
pub struct LoadGap {
    config: LoadGapConfig,
    next_look: Nanos,
    quiet_until: Nanos,
    gap: Option<Gap>,
}

impl LoadGap {
    /// Nothing has been seen.
    #[must_use]
    pub const fn new(config: LoadGapConfig) -> Self {
        Self {
            config,
            next_look: Nanos::ZERO,
            quiet_until: Nanos::ZERO,
            gap: None,
        }
    }

    /// True if it wants to look.
    #[must_use]
    pub fn is_due(&self, now: Nanos) -> bool {
        now >= self.next_look
    }

    /// The fewest nodes that a pool keeps.
    #[must_use]
    pub const fn nodes_min(&self) -> u32 {
        self.config.nodes_min
    }

    /// Looks at the pools; says which of them must give a node now.
    pub fn look(&mut self, now: Nanos, prefill: Pool, decode: Pool) -> Option<Role> {
        self.next_look = now + LOOK_PERIOD;
        let Some(giver) = self.giver(prefill, decode) else {
            self.gap = None;
            return None;
        };
        let pool = if giver == Role::Prefill {
            prefill
        } else {
            decode
        };
        let begun = self.gap.filter(|gap| gap.giver == giver);
        let mut gap = begun.unwrap_or(Gap {
            giver,
            since: now,
            looks: 0,
            work: 0,
        });
        gap.looks += 1;
        gap.work += pool.work;
        self.gap = Some(gap);
        if now - gap.since < self.config.hold || now < self.quiet_until {
            return None;
        }
        // Whatever comes of it, the next decision takes another hold.
        self.gap = None;
        let fits = u64::from(pool.nodes - 1) * u64::from(self.config.busy_min.0);
        (gap.work <= fits * gap.looks).then_some(giver)
    }

    /// A node has changed its role, or will not after all.
    pub fn settled(&mut self, now: Nanos) {
        self.quiet_until = now + self.config.cooldown;
        self.gap = None;
    }

    /// The pool that would have to give a node as things are.
    fn giver(&self, prefill: Pool, decode: Pool) -> Option<Role> {
        let (giver, pool, busy) = match prefill.mean() > decode.mean() {
            true => (Role::Decode, decode, prefill),
            false => (Role::Prefill, prefill, decode),
        };
        let apart = busy.mean() >= u64::from(self.config.busy_min.0)
            && busy.mean() - pool.mean() >= u64::from(self.config.gap.0);
        (apart && pool.nodes > self.config.nodes_min).then_some(giver)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Ratio;
    use alloc::vec::Vec;

    const CONFIG: LoadGapConfig = LoadGapConfig {
        gap: Ratio(500),
        busy_min: Ratio(800),
        hold: Nanos::from_secs(10),
        cooldown: Nanos::from_secs(30),
        nodes_min: 2,
    };

    fn pool(nodes: u32, load: u64, work: u64) -> Pool {
        let all = u64::from(nodes);
        Pool {
            nodes,
            load: load * all,
            work: work * all,
        }
    }

    /// Looks every second at what `pools` says; the seconds at which a node must go, and from where. A change takes
    /// five seconds.
    fn run(seconds: u64, pools: impl Fn(u64) -> (Pool, Pool)) -> Vec<(u64, Role)> {
        let mut watch = LoadGap::new(CONFIG);
        let mut found = Vec::new();
        for second in 0..seconds {
            let now = Nanos::from_secs(second);
            assert!(
                watch.is_due(now) && !watch.is_due(now.saturating_sub(Nanos(1))) || second == 0
            );
            let (prefill, decode) = pools(second);
            if let Some(giver) = watch.look(now, prefill, decode) {
                found.push((second, giver));
                watch.settled(now + Nanos::from_secs(5));
            }
        }
        found
    }

    #[test]
    fn a_gap_that_stays_makes_a_node_go_after_the_hold_and_again_after_the_cooldown() {
        let (idle, busy) = (pool(4, 100, 100), pool(4, 900, 900));
        assert_eq!(
            run(60, |_| (idle, busy)),
            [(10, Role::Prefill), (45, Role::Prefill)]
        );
        assert_eq!(run(40, |_| (busy, idle)), [(10, Role::Decode)]);
    }

    #[test]
    fn a_break_begins_the_hold_anew_and_so_does_a_gap_the_other_way() {
        let (idle, busy) = (pool(4, 100, 100), pool(4, 900, 900));
        let broken = |second| {
            if second % 10 == 9 {
                (idle, idle)
            } else {
                (idle, busy)
            }
        };
        assert_eq!(run(100, broken), []);
        let turned = |second| {
            if second < 9 {
                (idle, busy)
            } else {
                (busy, idle)
            }
        };
        assert_eq!(run(40, turned), [(19, Role::Decode)]);
    }

    #[test]
    fn nothing_goes_without_need_or_from_where_it_is_needed() {
        let never = |what: &str, prefill, decode| {
            assert_eq!(run(60, |_| (prefill, decode)), [], "{what}");
        };
        let busy = pool(4, 900, 900);
        never("nobody is busy", pool(4, 0, 0), pool(4, 799, 799));
        never("the gap is too small", pool(4, 401, 100), busy);
        never("the pool is at its smallest", pool(2, 0, 0), busy);
        never(
            "what is left could not do the work",
            pool(4, 100, 601),
            busy,
        );
        never("there is no other pool", Pool::default(), busy);
        never("there is no pool", Pool::default(), Pool::default());
        assert_eq!(
            run(20, |_| (pool(4, 400, 600), busy)),
            [(10, Role::Prefill)]
        );
    }

    #[test]
    fn the_work_of_the_pool_that_gives_is_a_mean_over_the_hold() {
        let busy = pool(4, 900, 900);
        let swings = |work| move |second: u64| (pool(4, 100, second % 2 * work), busy);
        assert_eq!(
            run(20, swings(1_000)),
            [(10, Role::Prefill)],
            "half of the time, all of them"
        );
        let mostly = |second: u64| {
            (
                pool(4, 100, u64::from(!second.is_multiple_of(4)) * 1_000),
                busy,
            )
        };
        assert_eq!(run(40, mostly), []);
    }

    #[test]
    fn loads_do_not_overflow() {
        assert_eq!(Pool::thousandths(u64::MAX, 1), LOAD_MAX);
        assert_eq!(Pool::thousandths(3, 0), 3_000);
        assert_eq!(Pool::thousandths(45, 60), 750);
    }
}
