//! A hash map without iteration, so that hash order cannot leak into a decision.
//!
//! Hashing is Fx: ids are dense or already hashed, and an identity hash collapses when entries are evicted.

use core::hash::Hash;
use hashbrown::HashMap;
use rustc_hash::FxBuildHasher;

/// Look-up, insertion and removal; nothing else.
#[derive(Clone, Debug)]
pub(crate) struct Map<K, V>(HashMap<K, V, FxBuildHasher>);

impl<K: Eq + Hash, V: Copy> Map<K, V> {
    /// A map that holds `capacity` entries without growing.
    pub(crate) fn with_capacity(capacity: usize) -> Self {
        Self(HashMap::with_capacity_and_hasher(capacity, FxBuildHasher))
    }

    pub(crate) fn get(&self, key: K) -> Option<V> {
        self.0.get(&key).copied()
    }

    /// Inserts a key that must not be there.
    pub(crate) fn insert_new(&mut self, key: K, value: V) {
        let old = self.0.insert(key, value);
        debug_assert!(old.is_none(), "the key is new");
    }

    pub(crate) fn remove(&mut self, key: K) -> Option<V> {
        self.0.remove(&key)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
