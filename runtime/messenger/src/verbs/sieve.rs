//! Which endpoint has to go when there are as many as may be: SIEVE.
//!
//! Entries stand in the order in which they came. A hand walks from the oldest to the newest and takes the first that
//! nobody has used since the hand was there last; whoever was used is spared once. Unlike LRU a use moves nothing, so
//! it costs a bit, and one scan over many peers does not drive out those that are used again and again (Zhang et al.,
//! NSDI 2024). Mooncake's Transfer Engine keeps its endpoints so, and FAST'25 says it.
//!
//! The pool is small (hundreds), so entries are a plain list.

/// A set of entries with the order and the marks that SIEVE needs. It has no limit of its own.
#[derive(Debug)]
pub(crate) struct Sieve<K> {
    /// From the oldest to the newest.
    entries: Vec<(K, bool)>,
    /// The next entry to look at.
    hand: usize,
}

impl<K> Default for Sieve<K> {
    fn default() -> Self {
        Self {
            entries: Vec::new(),
            hand: 0,
        }
    }
}

impl<K: PartialEq + Copy> Sieve<K> {
    /// A new entry, as yet unused. One that is there already is used.
    pub(crate) fn insert(&mut self, key: K) {
        if !self.touch(key) {
            self.entries.push((key, false));
        }
    }

    /// An entry is used; false if it is not there.
    pub(crate) fn touch(&mut self, key: K) -> bool {
        let entry = self.entries.iter_mut().find(|(k, _)| *k == key);
        entry.map(|(_, used)| *used = true).is_some()
    }

    /// Takes an entry out.
    pub(crate) fn remove(&mut self, key: K) {
        let Some(place) = self.entries.iter().position(|(k, _)| *k == key) else {
            return;
        };
        self.entries.remove(place);
        if place < self.hand {
            self.hand -= 1;
        }
        if self.hand == self.entries.len() {
            self.hand = 0;
        }
    }

    /// The entry that should go, which stays until it is removed: asked again before that, the next one is named. After
    /// two rounds every mark is gone, so it is `None` only for an empty set.
    pub(crate) fn victim(&mut self) -> Option<K> {
        for _ in 0..2 * self.entries.len() {
            let (key, used) = &mut self.entries[self.hand];
            let (key, spared) = (*key, std::mem::take(used));
            // Behind the newest comes the oldest, whatever is inserted until then.
            self.hand = (self.hand + 1) % self.entries.len();
            if !spared {
                return Some(key);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_oldest_goes_and_who_was_used_is_spared_once() {
        let mut sieve = Sieve::default();
        (1..=4).for_each(|key| sieve.insert(key));
        assert!(sieve.touch(1) && sieve.touch(3) && !sieve.touch(9));
        assert_eq!(sieve.victim(), Some(2));
        sieve.remove(2);
        assert_eq!(sieve.victim(), Some(4), "3 was used");
        sieve.remove(4);
        assert_eq!(sieve.victim(), Some(1), "its mark is gone");
        sieve.remove(1);
        assert_eq!(sieve.victim(), Some(3));
        sieve.remove(3);
        assert_eq!(sieve.victim(), None);
    }

    #[test]
    fn a_scan_does_not_drive_out_what_is_used_again_and_again() {
        let mut sieve = Sieve::default();
        let room = 8;
        let (hot, mut inside) = ([1000, 1001, 1002], vec![1000, 1001, 1002]);
        hot.iter().for_each(|&key| sieve.insert(key));
        for stranger in 0..500 {
            hot.iter().for_each(|&key| assert!(sieve.touch(key)));
            if inside.len() == room {
                let victim = sieve.victim().expect("there is one");
                sieve.remove(victim);
                inside.retain(|&key| key != victim);
            }
            sieve.insert(stranger);
            inside.push(stranger);
        }
    }

    proptest! {
        /// Beside the paper's pseudocode, written on a queue whose head is the newest.
        #[test]
        fn it_is_the_published_algorithm(steps in prop::collection::vec((0u8..3, 0u8..12), 0..200)) {
            let (mut sieve, mut queue, mut hand) = (Sieve::default(), Vec::<(u8, bool)>::new(), None::<u8>);
            for (what, key) in steps {
                match what {
                    0 => {
                        sieve.insert(key);
                        match queue.iter_mut().find(|(k, _)| *k == key) {
                            Some((_, visited)) => *visited = true,
                            None => queue.insert(0, (key, false)),
                        }
                    }
                    1 => {
                        let there = sieve.touch(key);
                        let entry = queue.iter_mut().find(|(k, _)| *k == key);
                        prop_assert_eq!(there, entry.map(|(_, visited)| *visited = true).is_some());
                    }
                    _ => {
                        let named = sieve.victim();
                        let mut at = match hand.and_then(|h| queue.iter().position(|(k, _)| *k == h)) {
                            Some(place) => Some(place),
                            None => queue.len().checked_sub(1),
                        };
                        while let Some(place) = at {
                            if !queue[place].1 {
                                break;
                            }
                            queue[place].1 = false;
                            at = Some(place.checked_sub(1).unwrap_or(queue.len() - 1));
                        }
                        prop_assert_eq!(named, at.map(|place| queue[place].0));
                        if let Some(place) = at {
                            hand = place.checked_sub(1).map(|before| queue[before].0);
                            sieve.remove(queue[place].0);
                            queue.remove(place);
                        }
                    }
                }
            }
        }
    }
}
