//! A hash map without iteration, so that hash order cannot leak into a decision.
//!
//! Hashing is Fx: ids are dense or already hashed, and an identity hash collapses when entries are evicted.

use core::hash::Hash;
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

/// Look-up, insertion and removal; nothing else.
///
/// Removed entries take room in the table until it cleans itself, which it does in place only while it is at
/// most half
/// full; fuller, it grows, late and at any time. So there is always room for twice the entries.
#[derive(Clone, Debug)]
pub(crate) struct Map<K, V> {
    entries: HashMap<K, V, FxBuildHasher>,
    /// What the table is known to hold.
    room: usize,
}

impl<K: Eq + Hash, V: Copy> Map<K, V> {
    /// A map that holds up to `entries` at a time without growing, whatever comes and goes.
    pub(crate) fn with_capacity(entries: usize) -> Self {
        let entries = HashMap::with_capacity_and_hasher(2 * entries, FxBuildHasher);
        let room = entries.capacity();
        Self { entries, room }
    }

    /// Grows, if need be, so that up to `entries` at a time never make it grow.
    pub(crate) fn keep_room_for(&mut self, entries: usize) {
        if 2 * entries > self.room {
            self.entries.reserve(2 * entries - self.entries.len());
            self.room = self.entries.capacity();
        }
    }

    pub(crate) fn get(&self, key: K) -> Option<V> {
        self.entries.get(&key).copied()
    }

    /// Inserts a key that must not be there.
    pub(crate) fn insert_new(&mut self, key: K, value: V) {
        let old = self.entries.insert(key, value);
        debug_assert!(old.is_none(), "the key is new");
    }

    pub(crate) fn remove(&mut self, key: K) -> Option<V> {
        self.entries.remove(&key)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}
