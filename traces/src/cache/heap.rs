//! A heap of dense numbers whose keys can change: the smallest key is the next to leave the pool.
//!
//! Why not `BTreeSet` or a lazy `BinaryHeap`: a place index makes a key change one sift, and the heap never holds
//! more than is in the pool. Keys must be distinct; the pool's are, each ends in the time of the last touch.

/// What orders the heap; smaller leaves first.
pub(super) type Key = (u64, u64, u64);

const ABSENT: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct IndexedHeap {
    /// Items in heap order, each with its key.
    items: Vec<(Key, u32)>,
    /// For every item, its place in `items`.
    places: Vec<u32>,
}

impl IndexedHeap {
    /// An empty heap of items below `bound`.
    pub(super) fn new(bound: usize) -> Self {
        Self {
            items: Vec::new(),
            places: vec![ABSENT; bound],
        }
    }

    pub(super) fn key(&self, item: u32) -> Option<Key> {
        let place = self.places[item as usize];
        (place != ABSENT).then(|| self.items[place as usize].0)
    }

    /// Puts an item in, or changes the key of one that is in.
    pub(super) fn set(&mut self, item: u32, key: Key) {
        let place = self.places[item as usize];
        let place = if place == ABSENT {
            self.items.push((key, item));
            self.items.len() - 1
        } else {
            self.items[place as usize].0 = key;
            place as usize
        };
        let place = self.sift_up(place);
        self.sift_down(place);
    }

    /// Takes the item with the smallest key.
    pub(super) fn pop(&mut self) -> Option<u32> {
        let (_, item) = *self.items.first()?;
        self.items.swap_remove(0);
        self.places[item as usize] = ABSENT;
        if !self.items.is_empty() {
            self.places[self.items[0].1 as usize] = 0;
            self.sift_down(0);
        }
        Some(item)
    }

    /// Moves the item at `place` towards the root as far as it belongs; returns where it ends. Sets its place.
    fn sift_up(&mut self, mut place: usize) -> usize {
        let moving = self.items[place];
        while place > 0 {
            let parent = (place - 1) / 4;
            if self.items[parent].0 <= moving.0 {
                break;
            }
            self.put(place, self.items[parent]);
            place = parent;
        }
        self.put(place, moving);
        place
    }

    fn sift_down(&mut self, mut place: usize) {
        let moving = self.items[place];
        loop {
            let first = place * 4 + 1;
            let children = first..(first + 4).min(self.items.len());
            let Some(least) = children.min_by_key(|child| self.items[*child].0) else {
                break;
            };
            if moving.0 <= self.items[least].0 {
                break;
            }
            self.put(place, self.items[least]);
            place = least;
        }
        self.put(place, moving);
    }

    fn put(&mut self, place: usize, item: (Key, u32)) {
        self.items[place] = item;
        self.places[item.1 as usize] = place as u32;
    }
}
