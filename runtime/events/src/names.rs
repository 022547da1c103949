//! Names of KV blocks: equal leading names of two prompts are a shared prefix.
//!
//! Block `i` is named by XXH3-64 of the name before it and its own tokens, little-endian. The first is chained to a
//! name of everything else on which KV depends: the model, the adapter, and what the client asks to keep its cache
//! apart from others' with (`cache_salt`). Only whole blocks have names: a part of one is never shared.
//!
//! The hash is not cryptographic. Somebody who can choose prompts may find two with one name and so be answered from
//! KV of another text of their own making; what others' prompts contain does not come out of that, and a salt that
//! only its owner knows keeps owners apart.

use conductor_core::ids::BlockHash;
use conductor_core::units::Tokens;
use twox_hash::XxHash3_64;

/// On what KV depends besides the tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheSpace<'a> {
    /// The model.
    pub model: &'a str,
    /// The adapter, if any.
    pub adapter: Option<&'a str>,
    /// What keeps the client's cache apart.
    pub salt: Option<&'a str>,
}

impl CacheSpace<'_> {
    /// The name to which the first block is chained. Each part has its length before it, so no two spaces are written
    /// the same way.
    #[must_use]
    pub fn root(&self) -> u64 {
        let mut bytes = Vec::new();
        for part in [Some(self.model), self.adapter, self.salt] {
            let length = part.map_or(u64::MAX, |part| part.len() as u64);
            bytes.extend_from_slice(&length.to_le_bytes());
            bytes.extend_from_slice(part.unwrap_or_default().as_bytes());
        }
        hash(&bytes)
    }
}

/// XXH3-64 of some bytes.
#[must_use]
pub fn hash(bytes: &[u8]) -> u64 {
    XxHash3_64::oneshot(bytes)
}

/// The name of the block whose contents are `words`, behind the block that is named `before`: of the first block this
/// is [`CacheSpace::root`]. `bytes` is scratch space.
#[must_use]
pub fn name(before: u64, words: impl IntoIterator<Item = u32>, bytes: &mut Vec<u8>) -> u64 {
    bytes.clear();
    bytes.extend_from_slice(&before.to_le_bytes());
    bytes.extend(words.into_iter().flat_map(u32::to_le_bytes));
    hash(bytes)
}

/// How blocks are named.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Naming {
    /// As the module says: the gateway's names.
    #[default]
    Chained,
    /// As Mooncake's standard for events says, so that others can compute them: XXH3-64 of a block's tokens, and of the
    /// rolling hash before it and that. Spaces are no part of it.
    Standard {
        /// Of all hashes.
        seed: u64,
    },
}

impl Naming {
    /// The hash up to the end of a block, `before` being that of the block before it, or `root` for the first.
    #[must_use]
    pub fn next(
        self,
        root: u64,
        before: u64,
        words: impl IntoIterator<Item = u32>,
        bytes: &mut Vec<u8>,
    ) -> u64 {
        let Self::Standard { seed } = self else {
            return name(before, words, bytes);
        };
        bytes.clear();
        bytes.extend(words.into_iter().flat_map(u32::to_le_bytes));
        let local = XxHash3_64::oneshot_with_seed(seed, bytes);
        if before == root {
            return local;
        }
        bytes.clear();
        bytes.extend_from_slice(&before.to_le_bytes());
        bytes.extend_from_slice(&local.to_le_bytes());
        XxHash3_64::oneshot_with_seed(seed, bytes)
    }

    /// A block's name, of its hash and its space.
    #[must_use]
    pub fn block(self, root: u64, rolling: u64) -> BlockHash {
        BlockHash(match self {
            Self::Chained => rolling,
            Self::Standard { .. } => {
                let mut both = [0; 16];
                both[..8].copy_from_slice(&root.to_le_bytes());
                both[8..].copy_from_slice(&rolling.to_le_bytes());
                hash(&both)
            }
        })
    }

    /// Hashes of the whole blocks of `tokens`, front to back; see [`Self::block`].
    #[must_use]
    pub fn rolling(self, root: u64, block: Tokens, tokens: &[u32]) -> Vec<u64> {
        let size = block.0.max(1) as usize;
        let (mut before, mut bytes) = (root, Vec::new());
        let whole = tokens.chunks_exact(size);
        whole
            .map(|chunk| {
                before = self.next(root, before, chunk.iter().copied(), &mut bytes);
                before
            })
            .collect()
    }
}

/// Names of the whole blocks of `tokens`, front to back.
#[must_use]
pub fn block_hashes(space: &CacheSpace<'_>, block: Tokens, tokens: &[u32]) -> Vec<BlockHash> {
    let rolling = Naming::Chained.rolling(space.root(), block, tokens);
    rolling.into_iter().map(BlockHash).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SPACE: CacheSpace<'_> = CacheSpace {
        model: "tiny",
        adapter: None,
        salt: None,
    };

    proptest! {
        #[test]
        fn equal_prefixes_are_equal_leading_names(
            common in prop::collection::vec(0u32..3, 0..40),
            left in prop::collection::vec(0u32..3, 0..20),
            right in prop::collection::vec(0u32..3, 0..20),
            block in 1u64..9,
        ) {
            let (mut a, mut b) = (common.clone(), common);
            a.extend(left);
            b.extend(right);
            let shared = a.iter().zip(&b).take_while(|(a, b)| a == b).count() as u64;
            let (x, y) = (
                block_hashes(&SPACE, Tokens(block), &a),
                block_hashes(&SPACE, Tokens(block), &b),
            );
            prop_assert_eq!(x.len() as u64, a.len() as u64 / block);
            let equal = x.iter().zip(&y).take_while(|(x, y)| x == y).count() as u64;
            prop_assert_eq!(equal, shared / block);
            // Behind the first that differs none is equal again.
            prop_assert!(x.iter().zip(&y).skip(equal as usize).all(|(x, y)| x != y));
        }

        #[test]
        fn another_space_shares_nothing(
            tokens in prop::collection::vec(0u32..3, 4..40),
            salt in "[a-c]{0,3}",
            other in "[a-c]{0,3}",
        ) {
            let of = |space: CacheSpace<'_>| block_hashes(&space, Tokens(4), &tokens);
            let salted = |salt| CacheSpace { salt: Some(salt), ..SPACE };
            let shares = |a: &[BlockHash], b: &[BlockHash]| a.iter().zip(b).any(|(a, b)| a == b);
            prop_assert!(!shares(&of(SPACE), &of(salted(&salt))));
            prop_assert_eq!(shares(&of(salted(&salt)), &of(salted(&other))), salt == other);
            let adapted = CacheSpace { adapter: Some(&salt), ..SPACE };
            prop_assert!(!shares(&of(adapted), &of(salted(&salt))));
            prop_assert!(!shares(&of(adapted), &of(SPACE)));
        }
    }

    #[test]
    fn names_are_the_same_on_every_machine() {
        let tokens: Vec<u32> = (0..8).collect();
        let names = block_hashes(&SPACE, Tokens(4), &tokens);
        let names: Vec<String> = names
            .iter()
            .map(|name| format!("{:016x}", name.0))
            .collect();
        expect_test::expect!["922eb7f54e1dbc8d 24313207122a8a5a"].assert_eq(&names.join(" "));
    }
}
