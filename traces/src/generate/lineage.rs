//! Who continues whom: the prefix tree of a trace, read as conversations.
//!
//! A row *continues* the row that last used the deepest block it shares, if that block lies behind the shared
//! template; else it starts a session. Templates are what very many rows begin with. Not here: distributions of
//! what is found (`fit`).

use super::spec::Kind;
use crate::intern::BlockTable;
use conductor_core::units::{Nanos, Tokens};
use conductor_core::workload::WorkloadRequest;
use std::collections::BTreeMap;

/// A block that so large a share of all rows use belongs to a template,
const TEMPLATE_SHARE: f64 = 0.01;
/// if there are at least so many of them.
const TEMPLATE_ROWS: u32 = 50;
/// A turn that brings more than this many tokens is an attachment. (In the conversation trace the messages that
/// people type and the texts that they attach part here.)
const ATTACH_TOKENS: i64 = 400;

/// One row of a trace and its place among the others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) arrival: Nanos,
    pub(super) input: u64,
    pub(super) output: u64,
    /// The place of the template in [`Lineage::templates`].
    pub(super) template: Option<usize>,
    /// Number of the turn within its session, from 0.
    pub(super) turn: u32,
    /// Which row it continues, and how; `None` for a start.
    pub(super) link: Option<Link>,
    /// Whether some row continues this one.
    pub(super) continued: bool,
}

/// How a row continues another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    /// The row before.
    pub(super) parent: usize,
    pub(super) kind: Kind,
    /// Leading blocks that both have.
    pub(super) shared: u64,
}

/// A template as found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub(super) blocks: u32,
    pub(super) starts: u64,
    pub(super) extends: Option<usize>,
}

/// All rows, linked.
#[derive(Debug)]
pub(super) struct Lineage {
    pub(super) nodes: Vec<Node>,
    pub(super) templates: Vec<Found>,
}

impl Lineage {
    pub(super) fn new(rows: &[WorkloadRequest], block_tokens: Tokens) -> Self {
        let mut table = BlockTable::default();
        let interned: Vec<Vec<u32>> = rows
            .iter()
            .map(|row| {
                row.blocks
                    .iter()
                    .map(|block| table.intern(*block))
                    .collect()
            })
            .collect();
        let mut uses = vec![0_u32; table.len()];
        interned
            .iter()
            .flatten()
            .for_each(|block| uses[*block as usize] += 1);
        let often = TEMPLATE_ROWS.max((rows.len() as f64 * TEMPLATE_SHARE) as u32);
        let depths = interned.iter().map(|blocks| {
            blocks
                .iter()
                .take_while(|block| uses[**block as usize] >= often)
                .count() as u32
        });
        let depths: Vec<u32> = depths.collect();
        let (templates, chosen) = find_templates(&interned, &depths);
        let mut lineage = Self {
            nodes: Vec::with_capacity(rows.len()),
            templates,
        };
        let mut last_user = vec![usize::MAX; table.len()];
        for (index, (row, blocks)) in rows.iter().zip(&interned).enumerate() {
            let known = |block: &&u32| last_user[**block as usize] != usize::MAX;
            let shared = blocks.iter().take_while(known).count();
            let link = (shared > depths[index] as usize).then(|| {
                let parent = last_user[blocks[shared - 1] as usize];
                let kind = kind(row, &rows[parent], shared as u64, block_tokens);
                Link {
                    parent,
                    kind,
                    shared: shared as u64,
                }
            });
            blocks
                .iter()
                .for_each(|block| last_user[*block as usize] = index);
            let turn = link.map_or(0, |link| {
                let parent = &mut lineage.nodes[link.parent];
                parent.continued = true;
                parent.turn + 1
            });
            lineage.nodes.push(Node {
                arrival: row.arrival,
                input: row.input.0,
                output: row.output.0,
                template: chosen[index],
                turn,
                link,
                continued: false,
            });
        }
        let starts: Vec<usize> = lineage
            .nodes
            .iter()
            .filter(|node| node.link.is_none())
            .filter_map(|node| node.template)
            .collect();
        for template in starts {
            lineage.templates[template].starts += 1;
        }
        lineage
    }
}

/// The templates, shorter ones first, and each row's.
fn find_templates(rows: &[Vec<u32>], depths: &[u32]) -> (Vec<Found>, Vec<Option<usize>>) {
    // A template is known by its depth and last block, which stands for all before it.
    let key =
        |row: &[u32], depth: u32| depth.checked_sub(1).map(|last| (depth, row[last as usize]));
    let mut places: BTreeMap<(u32, u32), (usize, usize)> = BTreeMap::new();
    for (index, (row, depth)) in rows.iter().zip(depths).enumerate() {
        if let Some(key) = key(row, *depth) {
            places.entry(key).or_insert((0, index));
        }
    }
    for (place, entry) in places.values_mut().enumerate() {
        entry.0 = place;
    }
    let extends = |example: &[u32], depth: u32| {
        (1..depth)
            .rev()
            .find_map(|shorter| places.get(&key(example, shorter)?))
            .map(|(place, _)| *place)
    };
    let found = places.iter().map(|((depth, _), (_, example))| Found {
        blocks: *depth,
        starts: 0,
        extends: extends(&rows[*example], *depth),
    });
    let chosen = rows
        .iter()
        .zip(depths)
        .map(|(row, depth)| Some(places.get(&key(row, *depth)?)?.0));
    (found.collect(), chosen.collect())
}

fn kind(
    row: &WorkloadRequest,
    parent: &WorkloadRequest,
    shared: u64,
    block_tokens: Tokens,
) -> Kind {
    let full = parent.input.0 / block_tokens.0;
    if shared < full {
        Kind::Rewrite
    } else if row.input == parent.input {
        Kind::Retry
    } else if brings(row.input.0, parent.input.0, parent.output.0) > ATTACH_TOKENS {
        Kind::Attach
    } else {
        Kind::Reply
    }
}

/// What a prompt has more than prompt and answer before it, in tokens.
pub(super) const fn brings(input: u64, before: u64, answer: u64) -> i64 {
    input as i64 - before as i64 - answer as i64
}
