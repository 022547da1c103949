//! The tree against a literal model: all chains of an engine with all their tokens, and no links at all.

use conductor_core::ids::BlockHash;
use conductor_core::units::Tokens;
use conductor_events::event::{Attention, EngineHash, Medium, Place, Removed, Stored, Tiers};
use conductor_events::names::{CacheSpace, Naming, block_hashes};
use conductor_events::tree::{Tree, TreeConfig};
use proptest::prelude::*;
use std::collections::BTreeMap;
use twox_hash::XxHash3_64;

/// A block by what is in it and in all before it.
type Chain = Vec<u8>;

const SPACE: CacheSpace<'_> = CacheSpace {
    model: "m",
    adapter: None,
    salt: None,
};

/// Any hash will do, as long as it is the chain's own.
fn engine_hash(chain: &[u8]) -> EngineHash {
    let digits = chain
        .iter()
        .fold(1_u64, |hash, &block| hash * 7 + u64::from(block));
    EngineHash(digits.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

fn tokens(block: u8, size: u32) -> impl Iterator<Item = u32> {
    (0..size).map(move |token| u32::from(block) * 1000 + token)
}

fn stored(chain: &[u8], first: usize, size: u32, medium: Medium) -> Stored {
    let hash_to = |end: usize| engine_hash(&chain[..end]);
    Stored {
        blocks: (first + 1..=chain.len()).map(hash_to).collect(),
        parent: (first > 0).then(|| hash_to(first)),
        tokens: chain[first..]
            .iter()
            .flat_map(|&block| tokens(block, size))
            .collect(),
        block_tokens: size,
        place: Place { medium, group: 0 },
        ..Stored::default()
    }
}

fn removed(chain: &[u8], medium: Medium) -> Removed {
    Removed {
        blocks: vec![engine_hash(chain)],
        place: Place { medium, group: 0 },
    }
}

#[derive(Clone, Debug)]
enum Op {
    /// The chain's blocks from some number on.
    Store(Chain, usize, Medium),
    Remove(Chain, Medium),
    Clear,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let chain = || prop::collection::vec(0_u8..3, 1..7);
    let medium = || prop_oneof![3 => Just(Medium::Gpu), 1 => Just(Medium::Cpu)];
    let op = prop_oneof![
        6 => (chain(), 0_usize..6, medium()).prop_map(|(chain, first, medium)| {
            let first = first % chain.len();
            Op::Store(chain, first, medium)
        }),
        6 => (chain(), medium()).prop_map(|(chain, medium)| Op::Remove(chain, medium)),
        1 => Just(Op::Clear),
    ];
    prop::collection::vec(op, 1..80)
}

/// The model: who is there, and where.
#[derive(Default)]
struct Literal(BTreeMap<Chain, Tiers>);

impl Literal {
    /// It is there, or something below it is.
    fn knows(&self, chain: &[u8]) -> bool {
        self.0.keys().any(|known| known.starts_with(chain))
    }

    /// Every own block that is whole, with where it lies.
    fn own(&self, size: u32, own: u64) -> BTreeMap<BlockHash, Tiers> {
        let mut found = BTreeMap::new();
        for chain in self.0.keys() {
            let all: Vec<u32> = chain
                .iter()
                .flat_map(|&block| tokens(block, size))
                .collect();
            let names = block_hashes(&SPACE, Tokens(own), &all);
            for (number, name) in names.into_iter().enumerate() {
                let (from, end) = (number as u64 * own, (number as u64 + 1) * own);
                let first = (from / u64::from(size)) as usize;
                let last = ((end - 1) / u64::from(size)) as usize;
                let pieces = (first..=last).map(|piece| self.0.get(&chain[..=piece]));
                let mut pieces = pieces.map(|piece| piece.copied().unwrap_or_default());
                let front = pieces.next().unwrap_or_default();
                let tiers = pieces.fold(front, Tiers::of_both);
                if !tiers.is_empty() {
                    found.insert(name, tiers);
                }
            }
        }
        found
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn own_blocks_are_those_of_the_literal_model(
        ops in ops(),
        (size, own) in prop_oneof![
            Just((4_u32, 4_u64)), Just((4, 8)), Just((2, 8)), Just((8, 4)), Just((9, 3)),
        ],
    ) {
        let mut tree = Tree::new(TreeConfig::new("m", Tokens(own)));
        let mut literal = Literal::default();
        let mut seen: BTreeMap<BlockHash, Tiers> = BTreeMap::new();
        for op in ops {
            let mut changes = Vec::new();
            match op {
                Op::Store(chain, first, medium) => {
                    tree.store(&stored(&chain, first, size, medium), &mut changes);
                    if first == 0 || literal.knows(&chain[..first]) {
                        for end in first + 1..=chain.len() {
                            let tiers = literal.0.entry(chain[..end].to_vec()).or_default();
                            *tiers = *tiers | medium.tier();
                        }
                    }
                }
                Op::Remove(chain, medium) => {
                    tree.remove(&removed(&chain, medium), &mut changes);
                    if let Some(tiers) = literal.0.get_mut(&chain) {
                        *tiers = *tiers & !medium.tier();
                        if tiers.is_empty() {
                            literal.0.remove(&chain);
                        }
                    }
                }
                Op::Clear => {
                    tree.clear();
                    literal.0.clear();
                    seen.clear();
                }
            }
            for change in changes {
                let was = seen.get(&change.block).copied().unwrap_or_default();
                prop_assert_eq!(was, change.was);
                prop_assert_ne!(was, change.now);
                match change.now.is_empty() {
                    true => seen.remove(&change.block),
                    false => seen.insert(change.block, change.now),
                };
            }
            prop_assert_eq!(&seen, &literal.own(size, own));
            // Records are those that are there, and what joins them.
            let mut joined: Vec<&[u8]> = literal
                .0
                .keys()
                .flat_map(|chain| (1..=chain.len()).map(|end| &chain[..end]))
                .collect();
            joined.sort_unstable();
            joined.dedup();
            prop_assert_eq!(tree.len(), joined.len());
        }
    }
}

fn tree(own: u64) -> Tree {
    Tree::new(TreeConfig::new("m", Tokens(own)))
}

#[test]
fn a_salt_and_an_adapter_make_other_names() {
    let names = |adapter: Option<&str>, salt: Option<&str>| {
        let mut changes = Vec::new();
        let stored = Stored {
            adapter: adapter.map(Into::into),
            salt: salt.map(Into::into),
            ..stored(&[1, 2], 0, 4, Medium::Gpu)
        };
        tree(4).store(&stored, &mut changes);
        let names: Vec<BlockHash> = changes.iter().map(|change| change.block).collect();
        let space = CacheSpace {
            adapter,
            salt,
            ..SPACE
        };
        let all: Vec<u32> = tokens(1, 4).chain(tokens(2, 4)).collect();
        assert_eq!(names, block_hashes(&space, Tokens(4), &all));
        names
    };
    let all = [
        names(None, None),
        names(Some("a"), None),
        names(None, Some("a")),
        names(Some("a"), Some("b")),
    ];
    for (number, one) in all.iter().enumerate() {
        assert!(
            all[..number]
                .iter()
                .flatten()
                .all(|name| !one.contains(name))
        );
    }
}

#[test]
fn a_block_with_an_image_is_nobodys_text() {
    for own in [4, 8] {
        let mut changes = Vec::new();
        let with = Stored {
            others: vec![0, 9],
            ..stored(&[1, 2], 0, 4, Medium::Gpu)
        };
        tree(own).store(&with, &mut changes);
        let all: Vec<u32> = tokens(1, 4).chain(tokens(2, 4)).collect();
        let text = block_hashes(&SPACE, Tokens(own), &all);
        let last = changes.last().expect("a block").block;
        assert!(!text.contains(&last), "own blocks of {own}");
    }
}

#[test]
fn other_groups_sizes_and_places_are_counted_and_not_mixed() {
    let mut tree = tree(4);
    let mut changes = Vec::new();
    let store = |tree: &mut Tree, group, attention, medium| {
        let stored = Stored {
            attention,
            place: Place { medium, group },
            ..stored(&[1], 0, 4, Medium::Gpu)
        };
        tree.store(&stored, &mut Vec::new());
    };
    store(&mut tree, 1, Attention::Partial, Medium::Gpu);
    assert!(tree.is_empty(), "a window's blocks say nothing of prefixes");
    store(&mut tree, 0, Attention::Full, Medium::Gpu);
    store(&mut tree, 2, Attention::Full, Medium::Gpu);
    store(&mut tree, 0, Attention::Full, Medium::Elsewhere);
    tree.store(&stored(&[2], 0, 2, Medium::Gpu), &mut changes);
    tree.store(&stored(&[3, 3], 1, 4, Medium::Gpu), &mut changes);
    let counts = tree.counts();
    assert_eq!((counts.other_groups, counts.elsewhere), (2, 1));
    assert_eq!((counts.odd, counts.orphans), (1, 1));
    // Another group's block of that name has gone, not this one.
    let other = Removed {
        place: Place {
            medium: Medium::Gpu,
            group: 1,
        },
        ..removed(&[1], Medium::Gpu)
    };
    tree.remove(&other, &mut changes);
    assert_eq!((tree.len(), changes.len()), (1, 0));
}

#[test]
fn a_full_tree_refuses_and_goes_on() {
    let mut tree = Tree::new(TreeConfig {
        blocks_max: 3,
        ..TreeConfig::new("m", Tokens(4))
    });
    let mut changes = Vec::new();
    tree.store(&stored(&[1, 1, 1, 1, 1], 0, 4, Medium::Gpu), &mut changes);
    assert_eq!(
        (tree.len(), changes.len(), tree.counts().refused),
        (3, 3, 2)
    );
    tree.remove(&removed(&[1, 1, 1], Medium::Gpu), &mut changes);
    tree.store(&stored(&[2], 0, 4, Medium::Gpu), &mut changes);
    assert_eq!((tree.len(), tree.counts().refused), (3, 2));
}

#[test]
fn one_hash_for_two_salts_is_a_conflict_and_no_match() {
    let mut tree = tree(4);
    let mut changes = Vec::new();
    let with = |salt: &str| Stored {
        salt: Some(salt.into()),
        ..stored(&[1], 0, 4, Medium::Gpu)
    };
    tree.store(&with("a"), &mut changes);
    tree.store(&with("b"), &mut changes);
    assert_eq!((changes.len(), tree.counts().conflicts), (1, 1));
}

#[test]
fn sizes_that_do_not_fit_into_each_other_are_refused() {
    let mut tree = tree(6);
    tree.store(&stored(&[1], 0, 4, Medium::Gpu), &mut Vec::new());
    assert_eq!((tree.len(), tree.counts().odd), (0, 1));
}

/// Mooncake's standard, spelled out: rolling hashes of local ones.
#[test]
fn names_by_the_standard_are_rolling_hashes_that_others_can_compute() {
    let naming = Naming::Standard { seed: 1337 };
    let mut tree = Tree::new(TreeConfig {
        naming,
        ..TreeConfig::new("m", Tokens(4))
    });
    let mut changes = Vec::new();
    tree.store(&stored(&[1, 2], 0, 4, Medium::Gpu), &mut changes);
    let hash = |bytes: &[u8]| XxHash3_64::oneshot_with_seed(1337, bytes);
    let local = |block| {
        let bytes: Vec<u8> = tokens(block, 4).flat_map(u32::to_le_bytes).collect();
        hash(&bytes)
    };
    let both = [local(1).to_le_bytes(), local(2).to_le_bytes()].concat();
    let names = [local(1), hash(&both)].map(|rolling| naming.block(SPACE.root(), rolling));
    let found: Vec<BlockHash> = changes.iter().map(|change| change.block).collect();
    assert_eq!(found, names);
}
