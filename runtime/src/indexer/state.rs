//! Who is registered, and the index that they feed.

use super::api::{About, Hit, Hits, Register, Unregister};
use conductor_core::ids::{BlockHash, NodeId};
use conductor_core::index::{BlockIndex, Matches};
use conductor_core::units::Tokens;
use conductor_events::event::Tiers;
use conductor_events::names::{CacheSpace, Naming};
use conductor_events::source::{Source, SourceConfig, SourceStatus, Told};
use conductor_events::tree::TreeConfig;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Places of the index that a publisher takes: all tiers together, then each.
const PLACES: u16 = 4;

/// Longest name of a model, an instance, a tenant, an adapter or a salt.
const NAME_BYTES_MAX: usize = 512;

/// The bounds of an indexer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexerConfig {
    /// Publishers that may be registered, at most 16,383.
    pub publishers_max: u16,
    /// Distinct blocks in the index at most: 16 bytes each, and its place in a table.
    pub blocks_max: usize,
    /// Blocks of one publisher that are known at most: about a hundred bytes each.
    pub publisher_blocks_max: u32,
    /// Of the standard's hashes. What the standard leaves open is 1337 elsewhere.
    pub seed: u64,
    /// Largest body of a request.
    pub body_bytes_max: usize,
    /// Connections at most.
    pub connections_max: usize,
}

impl Default for IndexerConfig {
    fn default() -> Self {
        Self {
            publishers_max: 256,
            blocks_max: 1 << 24,
            publisher_blocks_max: 1 << 22,
            seed: 1337,
            body_bytes_max: 16 << 20,
            connections_max: 1024,
        }
    }
}

/// Why something is not registered, or not answered.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IndexerError {
    /// A field.
    #[error("{field}: {found}, expected {expected}")]
    Field {
        /// Which.
        field: &'static str,
        /// What it is.
        found: String,
        /// What it could be.
        expected: &'static str,
    },
    /// There is no room.
    #[error("{0} publishers are registered, and there is room for no more")]
    Full(usize),
    /// Nobody of that name.
    #[error("instance \"{0}\" is not registered")]
    Unknown(String),
}

fn field(field: &'static str, found: impl ToString, expected: &'static str) -> IndexerError {
    IndexerError::Field {
        field,
        found: found.to_string(),
        expected,
    }
}

/// A publisher by what unregisters it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    tenant: String,
    instance: String,
    rank: u32,
}

struct Publisher {
    model: String,
    block: u32,
    /// The first of its places.
    place: NodeId,
    source: Source,
    feeding: JoinHandle<()>,
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.feeding.abort();
    }
}

struct Inner {
    index: BlockIndex,
    matches: Matches,
    publishers: BTreeMap<Key, Publisher>,
    /// Places that nobody has.
    free: Vec<NodeId>,
    /// Blocks for which the index had no room.
    refused: u64,
}

/// See the module.
pub(super) struct State {
    config: IndexerConfig,
    inner: Arc<Mutex<Inner>>,
}

/// How a publisher stands.
pub(super) struct Standing {
    pub(super) name: String,
    pub(super) status: SourceStatus,
}

impl State {
    pub(super) fn new(config: IndexerConfig) -> Self {
        let publishers = config.publishers_max.clamp(1, u16::MAX / PLACES);
        let places = usize::from(publishers * PLACES);
        let first = (0..publishers).rev().map(|number| NodeId(number * PLACES));
        let inner = Inner {
            index: BlockIndex::new(places, config.blocks_max, 0),
            matches: Matches::new(places),
            publishers: BTreeMap::new(),
            free: first.collect(),
            refused: 0,
        };
        Self {
            config,
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }

    const fn naming(&self) -> Naming {
        Naming::Standard {
            seed: self.config.seed,
        }
    }

    /// Begins to listen to a publisher; one that is registered already is listened to anew.
    pub(super) fn register(&self, asked: &Register) -> Result<(), IndexerError> {
        let kind = asked.r#type.to_ascii_lowercase();
        if !matches!(kind.as_str(), "vllm" | "sglang" | "mooncake") {
            return Err(field(
                "type",
                format!("\"{}\"", asked.r#type),
                "vLLM, SGLang or Mooncake",
            ));
        }
        let names = [
            ("modelname", &asked.modelname),
            ("instance_id", &asked.instance_id),
            ("tenant_id", &asked.tenant_id),
        ];
        for (name, value) in names {
            if value.is_empty() || value.len() > NAME_BYTES_MAX {
                let found = format!("{} bytes", value.len());
                return Err(field(name, found, "1 to 512 bytes"));
            }
        }
        check_block(asked.block_size)?;
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let tree = TreeConfig {
            adapter: given(&asked.lora_name),
            salt: given(&asked.additionalsalt),
            engine: Some(asked.block_size),
            naming: self.naming(),
            blocks_max: self.config.publisher_blocks_max,
            ..TreeConfig::new(&asked.modelname, Tokens(u64::from(asked.block_size)))
        };
        let replay = given(&asked.replay_endpoint);
        let config = SourceConfig::new(&asked.endpoint, replay.as_deref(), tree);
        let expected = "tcp://HOST:PORT, in endpoint and in replay_endpoint";
        let config =
            config.map_err(|_| field("endpoint", format!("\"{}\"", asked.endpoint), expected))?;
        let key = Key {
            tenant: asked.tenant_id.clone(),
            instance: asked.instance_id.clone(),
            rank: asked.dp_rank,
        };
        let mut inner = self.inner();
        inner.take_out(&key);
        let Some(place) = inner.free.pop() else {
            return Err(IndexerError::Full(inner.publishers.len()));
        };
        let (source, told) = Source::spawn(config);
        let publisher = Publisher {
            model: asked.modelname.clone(),
            block: asked.block_size,
            place,
            source,
            feeding: tokio::spawn(feed(Arc::clone(&self.inner), place, told)),
        };
        inner.publishers.insert(key, publisher);
        Ok(())
    }

    /// Stops listening; what the publisher has is forgotten. Returns its name.
    pub(super) fn unregister(&self, asked: &Unregister) -> Result<String, IndexerError> {
        let key = Key {
            tenant: asked.tenant_id.clone(),
            instance: asked.instance_id.clone(),
            rank: asked.dp_rank,
        };
        match self.inner().take_out(&key) {
            true => Ok(format!("{}|{}|{}", key.instance, key.tenant, key.rank)),
            false => Err(IndexerError::Unknown(key.instance)),
        }
    }

    /// Who has how much of a prompt.
    pub(super) fn query(&self, about: &About, tokens: &[u32]) -> Result<Hits, IndexerError> {
        check_block(about.block_size)?;
        let block = Tokens(u64::from(about.block_size));
        let rolling = self.naming().rolling(root(about), block, tokens);
        self.query_by_hash(about, &rolling)
    }

    /// As [`Self::query`], by rolling hashes.
    pub(super) fn query_by_hash(
        &self,
        about: &About,
        rolling: &[u64],
    ) -> Result<Hits, IndexerError> {
        check_block(about.block_size)?;
        let root = root(about);
        let chain: Vec<BlockHash> = rolling
            .iter()
            .map(|&rolling| self.naming().block(root, rolling))
            .collect();
        let mut guard = self.inner();
        let Inner {
            index,
            matches,
            publishers,
            ..
        } = &mut *guard;
        index.match_chain(&chain, matches);
        let mut hits: BTreeMap<String, Hit> = BTreeMap::new();
        let wanted = |key: &Key, publisher: &Publisher| {
            let instance = about.instance_id.as_ref();
            key.tenant == about.tenant_id
                && publisher.model == about.model
                && publisher.block == about.block_size
                && instance.is_none_or(|instance| *instance == key.instance)
        };
        for (key, publisher) in publishers.iter() {
            if !wanted(key, publisher) {
                continue;
            }
            let matched = |place: u16| {
                let depth = matches.depth_of(NodeId(publisher.place.0 + place));
                u64::from(depth) * u64::from(publisher.block)
            };
            let hit = hits.entry(key.instance.clone()).or_default();
            hit.longest_matched = hit.longest_matched.max(matched(0));
            hit.gpu = hit.gpu.max(matched(1));
            hit.cpu = hit.cpu.max(matched(2));
            hit.disk = hit.disk.max(matched(3));
            hit.ranks.insert(key.rank.to_string(), matched(0));
        }
        Ok(BTreeMap::from([(about.tenant_id.clone(), hits)]))
    }

    /// Distinct blocks, blocks for which there was no room, and how each publisher stands.
    pub(super) fn standing(&self) -> (usize, u64, Vec<Standing>) {
        let inner = self.inner();
        let standing = inner.publishers.iter().map(|(key, publisher)| Standing {
            name: format!("{}|{}|{}", key.instance, key.tenant, key.rank),
            status: publisher.source.status(),
        });
        (inner.index.blocks(), inner.refused, standing.collect())
    }
}

fn check_block(block: u32) -> Result<(), IndexerError> {
    match block {
        1..=65_536 => Ok(()),
        _ => Err(field("block_size", block, "1 to 65536 tokens")),
    }
}

fn root(about: &About) -> u64 {
    let given = |text: &'_ Option<String>| {
        text.as_deref()
            .filter(|text| !text.is_empty())
            .map(String::from)
    };
    let (adapter, salt) = (given(&about.lora_name), given(&about.cache_salt));
    let space = CacheSpace {
        model: &about.model,
        adapter: adapter.as_deref(),
        salt: salt.as_deref(),
    };
    space.root()
}

/// A lock that is poisoned guards an index that may be half changed: what is known wrongly is corrected by what
/// publishers say next, and answers stay bounded.
fn lock(inner: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    inner
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Inner {
    fn take_out(&mut self, key: &Key) -> bool {
        let Some(publisher) = self.publishers.remove(key) else {
            return false;
        };
        let place = publisher.place;
        drop(publisher);
        self.forget(place);
        self.free.push(place);
        true
    }

    fn forget(&mut self, place: NodeId) {
        for number in place.0..place.0 + PLACES {
            self.index.clear_node(NodeId(number));
        }
    }

    fn take(&mut self, place: NodeId, told: &Told) {
        let Told::Changed(changes) = told else {
            self.forget(place);
            return;
        };
        let tiers = Tiers::EACH.into_iter().zip(1..);
        let whole = !Tiers::NONE;
        for (tier, number) in [(whole, 0)].into_iter().chain(tiers) {
            let node = NodeId(place.0 + number);
            // Runs of blocks that come or go together are said together: the index follows chains.
            let mut run: Vec<BlockHash> = Vec::new();
            let mut comes = true;
            for change in changes {
                let (was, now) = (change.was.has(tier), change.now.has(tier));
                if was == now {
                    continue;
                }
                if now != comes {
                    self.note(node, comes, &run);
                    run.clear();
                    comes = now;
                }
                run.push(change.block);
            }
            self.note(node, comes, &run);
        }
    }

    fn note(&mut self, node: NodeId, comes: bool, blocks: &[BlockHash]) {
        match comes {
            true => self.refused += self.index.store(node, blocks),
            false => self.index.evict(node, blocks),
        }
    }
}

async fn feed(inner: Arc<Mutex<Inner>>, place: NodeId, mut told: mpsc::Receiver<Told>) {
    while let Some(told) = told.recv().await {
        lock(&inner).take(place, &told);
    }
}
