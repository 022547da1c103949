//! The policies against literal, slow models on random streams, and the optimum above all of them.

use super::*;
use conductor_core::ids::{BlockHash, ClassId};
use conductor_core::units::Nanos;
use proptest::prelude::*;

fn row(blocks: &[u64]) -> WorkloadRequest {
    WorkloadRequest {
        class: ClassId::default(),
        workflow: None,
        arrival: Nanos::ZERO,
        input: Tokens(blocks.len() as u64 * 512),
        output: Tokens(1),
        blocks: blocks.iter().copied().map(BlockHash).collect(),
    }
}

/// Hits in blocks of a cache that is a plain list, searched and sorted as the policy's definition says.
fn literal_hits(rows: &[WorkloadRequest], policy: Policy, limit: usize) -> u64 {
    struct Entry {
        block: u64,
        uses: u64,
        depth: usize,
        touched: u64,
    }
    let mut list: Vec<Entry> = Vec::new();
    let (mut now, mut hits) = (0, 0);
    for row in rows {
        let mut leading = true;
        for (depth, block) in row.blocks.iter().enumerate() {
            now += 1;
            if let Some(entry) = list.iter_mut().find(|entry| entry.block == block.0) {
                entry.uses += 1;
                entry.depth = depth;
                entry.touched = now;
                hits += u64::from(leading);
                continue;
            }
            leading = false;
            if list.len() == limit {
                let victim = (0..list.len())
                    .min_by_key(|i| {
                        let entry = &list[*i];
                        match policy {
                            Policy::Lru => (entry.touched, 0, 0),
                            Policy::Lfu => (entry.uses, entry.touched, 0),
                            _ => (entry.uses, u64::MAX - entry.depth as u64, entry.touched),
                        }
                    })
                    .expect("the list is full");
                list.remove(victim);
            }
            list.push(Entry {
                block: block.0,
                uses: 1,
                depth,
                touched: now,
            });
        }
    }
    hits
}

/// Prompts that share prefixes: paths in a tree with four branches at each of five levels.
fn prompts() -> impl Strategy<Value = Vec<WorkloadRequest>> {
    let path = proptest::collection::vec(0_u64..4, 1..5);
    let prompt = path.prop_map(|path| {
        let numbered = path.iter().scan(0, |id, branch| {
            *id = *id * 4 + branch + 1;
            Some(*id)
        });
        let blocks: Vec<u64> = numbered.collect();
        row(&blocks)
    });
    proptest::collection::vec(prompt, 1..60)
}

proptest! {
    #[test]
    fn online_policies_equal_their_literal_models(rows in prompts(), limit in 1_u64..20) {
        let study = CacheStudy::new(&rows, Tokens(512));
        let total: usize = rows.iter().map(|row| row.blocks.len()).sum();
        for policy in [Policy::Lru, Policy::Lfu, Policy::LengthAware] {
            let got = study.run(policy, Capacity::Finite(limit), Unit::Blocks).hit_ratio_blocks;
            let expected = literal_hits(&rows, policy, limit as usize) as f64 / total as f64;
            prop_assert!((got - expected).abs() < 1e-12, "{policy}: {got} {expected}");
        }
    }

    #[test]
    fn nothing_beats_the_optimum(rows in prompts(), limit in 1_u64..20) {
        let study = CacheStudy::new(&rows, Tokens(512));
        let ratio = |policy| study.run(policy, Capacity::Finite(limit), Unit::Blocks).hit_ratio_blocks;
        let best = ratio(Policy::Belady);
        for policy in [Policy::Lru, Policy::Lfu, Policy::LengthAware] {
            prop_assert!(ratio(policy) <= best + 1e-12, "{policy}");
        }
        let infinite = study.run(Policy::Lru, Capacity::Infinite, Unit::Blocks).hit_ratio_blocks;
        prop_assert!(best <= infinite + 1e-12);
    }

    #[test]
    fn full_blocks_count_alike_in_blocks_and_tokens(rows in prompts(), limit in 1_u64..20) {
        let study = CacheStudy::new(&rows, Tokens(512));
        let blocks = study.run(Policy::Lru, Capacity::Finite(limit), Unit::Blocks);
        let tokens = study.run(Policy::Lru, Capacity::Finite(limit * 512), Unit::Tokens);
        prop_assert!((blocks.hit_ratio_tokens - tokens.hit_ratio_tokens).abs() < 1e-12);
    }
}

#[test]
fn a_hit_ends_at_the_first_miss() {
    // Room for two: the third row finds its second block, but not its first.
    let rows = [row(&[1, 2]), row(&[3]), row(&[1, 2])];
    let study = CacheStudy::new(&rows, Tokens(512));
    let got = study.run(Policy::Lru, Capacity::Finite(2), Unit::Blocks);
    assert!(got.hit_ratio_blocks.abs() < 1e-12);
}

#[test]
fn names_are_parsed_and_printed() {
    for policy in Policy::ALL {
        assert_eq!(policy.name().parse(), Ok(policy));
    }
    assert_eq!("inf".parse(), Ok(Capacity::Infinite));
    assert_eq!("1000".parse(), Ok(Capacity::Finite(1000)));
    for bad in ["0", "-1", "", "1e3", "99999999999999999999", "infinite"] {
        assert!(bad.parse::<Capacity>().is_err(), "{bad}");
    }
    let error = "fifo".parse::<Policy>().expect_err("no such policy");
    assert_eq!(
        error.to_string(),
        "cache policy: expected lru, lfu, length-aware or belady, found `fifo`"
    );
}

/// A system prompt of 880 tokens, half a block at other breaks, nothing without a hit or without a break.
#[test]
fn sharing_below_a_block_is_added_where_a_prefix_breaks() {
    let of = |blocks: &[u64], input: u64| WorkloadRequest {
        input: Tokens(input),
        ..row(blocks)
    };
    let added = |rows: &[WorkloadRequest]| {
        let study = CacheStudy::new(rows, Tokens(512));
        let total: u64 = rows.iter().map(|row| row.input.0).sum();
        let hit = |sub_block| {
            let found = study.run_with(Policy::Lru, Capacity::Infinite, Unit::Tokens, sub_block);
            (found.hit_ratio_tokens * total as f64).round() as u64
        };
        hit(Some(SubBlock::FAST25)) - hit(None)
    };
    let first = of(&[1, 2, 3], 1_500);
    assert_eq!(added(&[first.clone(), of(&[1, 5], 1_000)]), 880 - 512);
    assert_eq!(added(&[first.clone(), of(&[1, 2, 5], 1_500)]), 256);
    assert_eq!(added(&[first.clone(), first.clone()]), 0, "nothing breaks");
    assert_eq!(added(&[first.clone(), of(&[5, 6], 1_000)]), 0, "no hit");
    // No more than the prompt has.
    assert_eq!(added(&[first.clone(), of(&[1, 2, 5], 1_100)]), 76);
    // Block 9 is not the block that most prompts begin with.
    let other = of(&[9, 2], 1_000);
    assert_eq!(
        added(&[first.clone(), first, other, of(&[9, 4], 1_000)]),
        256
    );
}
