//! A payload into a [`Batch`]: every encoding that engines have used for their events.
//!
//! A batch is an array `[time, [events], rank]`. An event is an array with its kind first and its fields by position
//! (vLLM up to 0.23, older SGLang), or a map with its kind under `type` (vLLM since 0.24, SGLang, Dynamo) or under
//! `event_type` (Mooncake's standard, whose names for fields are understood, too). What has its default is left out,
//! new fields come with new versions: what is missing is taken for its default, what is not known is passed over and
//! counted. What is known and has another type than it should makes the whole batch an error, because then blocks that
//! have gone might be overlooked.
//!
//! Not here: what the events do to an index.

use crate::event::{Attention, Batch, EngineHash, KvEvent, Medium, Place, Removed, Stored};
use crate::msgpack::{Cursor, Malformed, Token};
use crate::names::hash;

/// Largest payload.
pub const PAYLOAD_BYTES_MAX: usize = 32 << 20;
/// Events in a batch at most.
pub const EVENTS_MAX: usize = 1 << 16;
/// Blocks in an event at most.
pub const BLOCKS_MAX: usize = 1 << 16;
/// Tokens in an event at most.
pub const TOKENS_MAX: usize = 1 << 22;
/// Longest text that is kept, bytes.
pub const TEXT_BYTES_MAX: usize = 4096;

/// The fields of an event as an array, behind its kind.
const STORED: [&str; 11] = [
    "block_hashes",
    "parent_block_hash",
    "token_ids",
    "block_size",
    "lora_id",
    "medium",
    "lora_name",
    "extra_keys",
    "group_idx",
    "kv_cache_spec_kind",
    "kv_cache_spec_sliding_window",
];
const REMOVED: [&str; 3] = ["block_hashes", "medium", "group_idx"];

/// Reads a payload.
///
/// # Errors
/// Where and why it cannot be read.
pub fn batch(payload: &[u8]) -> Result<Batch, Malformed> {
    let mut cursor = Cursor::new(payload);
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(cursor.malformed("more than 32 MiB"));
    }
    let mut batch = Batch::default();
    match cursor.next()? {
        Token::Array(length) if length >= 2 => {
            cursor.skip()?;
            events(&mut cursor, &mut batch)?;
            if length > 2 {
                batch.rank = rank(&mut cursor)?;
            }
            for _ in 3..length {
                cursor.skip()?;
                batch.unknown_fields += 1;
            }
        }
        Token::Map(pairs) => {
            for _ in 0..pairs {
                match key(&mut cursor)? {
                    "ts" | "timestamp" => cursor.skip()?,
                    "events" => events(&mut cursor, &mut batch)?,
                    "data_parallel_rank" | "attn_dp_rank" | "dp_rank" => {
                        batch.rank = rank(&mut cursor)?;
                    }
                    _ => {
                        cursor.skip()?;
                        batch.unknown_fields += 1;
                    }
                }
            }
        }
        _ => return Err(cursor.malformed("expected a batch: [time, [events], rank]")),
    }
    match cursor.is_at_end() {
        true => Ok(batch),
        false => Err(cursor.malformed("something behind the batch")),
    }
}

fn rank(cursor: &mut Cursor<'_>) -> Result<Option<u32>, Malformed> {
    optional(cursor, |cursor| {
        number(cursor, "expected a rank of at most 32 bits")
    })
}

fn events(cursor: &mut Cursor<'_>, batch: &mut Batch) -> Result<(), Malformed> {
    let count = array(cursor, EVENTS_MAX, "expected at most 65536 events")?;
    for _ in 0..count {
        event(cursor, batch)?;
    }
    Ok(())
}

/// The kinds of events, by the names that they have had.
enum Kind {
    Stored,
    Removed,
    Cleared,
}

fn kind_of(name: &str) -> Option<Kind> {
    match name {
        "BlockStored" | "stored" => Some(Kind::Stored),
        "BlockRemoved" | "removed" => Some(Kind::Removed),
        "AllBlocksCleared" | "cleared" => Some(Kind::Cleared),
        _ => None,
    }
}

fn event(cursor: &mut Cursor<'_>, batch: &mut Batch) -> Result<(), Malformed> {
    let mut ahead = *cursor;
    let (kind, form) = match ahead.next()? {
        Token::Array(length) if length > 0 => {
            let Token::Text(name) = ahead.next()? else {
                return Err(ahead.malformed("expected the event's kind first"));
            };
            (kind_of(name), Form::Positions(length - 1))
        }
        Token::Map(pairs) => (kind_in(ahead, pairs)?, Form::Names(pairs)),
        _ => return Err(cursor.malformed("expected an event: an array or a map")),
    };
    let Some(kind) = kind else {
        batch.unknown_events += 1;
        return cursor.skip();
    };
    let mut fields = Fields {
        cursor: ahead,
        unknown: 0,
    };
    let event = match kind {
        Kind::Stored => {
            let mut draft = Draft::default();
            fields.each(&form, &STORED, |cursor, name| draft.field(cursor, name))?;
            KvEvent::Stored(draft.finish(&fields.cursor)?)
        }
        Kind::Removed => {
            let mut removed = Removed::default();
            let read = |cursor: &mut Cursor<'_>, name: &str| match name {
                "block_hashes" | "seq_hashes" => hashes(cursor, &mut removed.blocks),
                _ => place(cursor, name, &mut removed.place),
            };
            fields.each(&form, &REMOVED, read)?;
            KvEvent::Removed(removed)
        }
        Kind::Cleared => {
            fields.each(&form, &[], |_, _| Ok(false))?;
            KvEvent::Cleared
        }
    };
    batch.unknown_fields += fields.unknown;
    batch.events.push(event);
    *cursor = fields.cursor;
    Ok(())
}

/// The kind of an event that is a map, wherever it stands in it.
fn kind_in(mut cursor: Cursor<'_>, pairs: usize) -> Result<Option<Kind>, Malformed> {
    let mut kind = None;
    for _ in 0..pairs {
        if matches!(key(&mut cursor)?, "type" | "event_type") {
            let Token::Text(name) = cursor.next()? else {
                return Err(cursor.malformed("expected the event's kind"));
            };
            kind = kind.or_else(|| kind_of(name));
        } else {
            cursor.skip()?;
        }
    }
    Ok(kind)
}

/// How the fields of an event are told apart.
enum Form {
    Positions(usize),
    Names(usize),
}

struct Fields<'a> {
    cursor: Cursor<'a>,
    unknown: u64,
}

impl<'a> Fields<'a> {
    /// Hands each field to `read`, which says whether it has read it.
    fn each(
        &mut self,
        form: &Form,
        positions: &[&'static str],
        mut read: impl FnMut(&mut Cursor<'a>, &str) -> Result<bool, Malformed>,
    ) -> Result<(), Malformed> {
        let count = match *form {
            Form::Positions(count) | Form::Names(count) => count,
        };
        for position in 0..count {
            let name = match form {
                Form::Positions(_) => positions.get(position).copied().unwrap_or_default(),
                Form::Names(_) => key(&mut self.cursor)?,
            };
            if matches!(name, "type" | "event_type") {
                self.cursor.skip()?;
            } else if !read(&mut self.cursor, name)? {
                self.cursor.skip()?;
                // Known and not needed: they say nothing of which block it is, or where.
                let known = matches!(
                    name,
                    "session_id" | "ownership" | "kv_cache_spec_sliding_window" | "lora_id"
                );
                self.unknown += u64::from(!known);
            }
        }
        Ok(())
    }
}

/// What an event of blocks that have come says, before it is known which of its texts are what.
#[derive(Default)]
struct Draft {
    stored: Stored,
    lora_id: Option<u64>,
    /// Of each block: its texts, and a number of all the rest.
    keys: Vec<Keys>,
}

#[derive(Clone, Default)]
struct Keys {
    texts: Vec<String>,
    rest: u64,
}

impl Draft {
    fn field(&mut self, cursor: &mut Cursor<'_>, name: &str) -> Result<bool, Malformed> {
        let stored = &mut self.stored;
        match name {
            "block_hashes" | "seq_hashes" => return hashes(cursor, &mut stored.blocks),
            "parent_block_hash" | "parent_hash" => {
                let parent = optional(cursor, engine_hash)?;
                stored.parent = parent.or(stored.parent);
            }
            "token_ids" => {
                optional(cursor, |cursor| tokens(cursor, &mut stored.tokens))?;
            }
            "block_size" => {
                let size = optional(cursor, |cursor| {
                    number(cursor, "expected a block size of at most 32 bits")
                })?;
                stored.block_tokens = size.unwrap_or(0);
            }
            "lora_id" => {
                self.lora_id = optional(cursor, |cursor| {
                    number(cursor, "expected a number of an adapter").map(u64::from)
                })?;
            }
            "lora_name" => stored.adapter = optional(cursor, text)?,
            "cache_salt" => {
                let salt = optional(cursor, text)?;
                stored.salt = salt.or_else(|| stored.salt.take());
            }
            "extra_keys" => {
                optional(cursor, |cursor| extra_keys(cursor, &mut self.keys))?;
            }
            "kv_cache_spec_kind" => {
                let kind = optional(cursor, text)?;
                let full = kind.is_none_or(|kind| {
                    let full = [
                        "full_attention",
                        "mla_attention",
                        "sink_full_attention",
                        "unknown",
                    ];
                    full.contains(&kind.as_str())
                });
                stored.attention = match full {
                    true => Attention::Full,
                    false => Attention::Partial,
                };
            }
            _ => return place(cursor, name, &mut stored.place),
        }
        Ok(true)
    }

    /// Tells the texts of the keys apart: vLLM puts the adapter's name into every block's, and the salt into the first
    /// block's of a prompt, as its last text but for digests, which are bytes.
    fn finish(mut self, cursor: &Cursor<'_>) -> Result<Stored, Malformed> {
        let mut stored = self.stored;
        if !self.keys.is_empty() && self.keys.len() != stored.blocks.len() {
            return Err(cursor.malformed("expected extra keys for each block"));
        }
        if stored.adapter.is_none()
            && let Some(id) = self.lora_id
        {
            // Its name is not said where only its number is: then it is one that no request asks for.
            stored.adapter = Some(format!("lora_id={id}"));
        }
        for (position, keys) in self.keys.iter_mut().enumerate() {
            if let Some(adapter) = &stored.adapter {
                keys.texts.retain(|text| text != adapter);
            }
            if position == 0 && stored.parent.is_none() && stored.salt.is_none() {
                stored.salt = keys.texts.pop();
            } else if let Some(salt) = &stored.salt {
                keys.texts.retain(|text| text != salt);
            }
        }
        let other = |keys: &Keys| {
            let texts = keys.texts.iter();
            texts.fold(keys.rest, |rest, text| mix(rest, text.as_bytes()))
        };
        stored.others = self.keys.iter().map(other).collect();
        if stored.others.iter().all(|&other| other == 0) {
            stored.others.clear();
        }
        Ok(stored)
    }
}

/// A number of a number and some bytes; never 0.
fn mix(number: u64, bytes: &[u8]) -> u64 {
    let mut all = number.to_le_bytes().to_vec();
    all.extend_from_slice(bytes);
    hash(&all).max(1)
}

fn extra_keys(cursor: &mut Cursor<'_>, keys: &mut Vec<Keys>) -> Result<(), Malformed> {
    let blocks = array(cursor, BLOCKS_MAX, "expected keys of at most 65536 blocks")?;
    keys.clear();
    for _ in 0..blocks {
        let mut of_block = Keys::default();
        let mut ahead = *cursor;
        match ahead.next()? {
            Token::Nil => *cursor = ahead,
            Token::Array(count) => {
                *cursor = ahead;
                for _ in 0..count {
                    one_key(cursor, &mut of_block)?;
                }
            }
            _ => one_key(cursor, &mut of_block)?,
        }
        keys.push(of_block);
    }
    Ok(())
}

/// A text is kept, anything else becomes a number.
fn one_key(cursor: &mut Cursor<'_>, keys: &mut Keys) -> Result<(), Malformed> {
    let mut ahead = *cursor;
    if let Token::Text(text) = ahead.next()? {
        *cursor = ahead;
        if text.len() <= TEXT_BYTES_MAX {
            keys.texts.push(text.into());
        } else {
            keys.rest = mix(keys.rest, text.as_bytes());
        }
        return Ok(());
    }
    let bytes = cursor.skipped()?;
    keys.rest = mix(keys.rest, bytes);
    Ok(())
}

/// Fields that both kinds of events have.
fn place(cursor: &mut Cursor<'_>, name: &str, place: &mut Place) -> Result<bool, Malformed> {
    match name {
        "medium" => {
            if let Some(name) = optional(cursor, text)? {
                place.medium = match place.medium {
                    // A word on the locality has gone before.
                    Medium::Elsewhere => Medium::Elsewhere,
                    _ => Medium::named(&name),
                };
            }
        }
        "group_idx" => {
            let group = optional(cursor, |cursor| number(cursor, "expected a group"))?;
            place.group = group.unwrap_or(0);
        }
        "locality" => {
            let locality = optional(cursor, text)?;
            if locality.is_some_and(|locality| locality.eq_ignore_ascii_case("REMOTE")) {
                place.medium = Medium::Elsewhere;
            }
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn hashes(cursor: &mut Cursor<'_>, into: &mut Vec<EngineHash>) -> Result<bool, Malformed> {
    let count = array(cursor, BLOCKS_MAX, "expected at most 65536 blocks")?;
    let mut found = Vec::with_capacity(count);
    for _ in 0..count {
        found.push(engine_hash(cursor)?);
    }
    // Under two names: the one that says something.
    if !found.is_empty() {
        *into = found;
    }
    Ok(true)
}

fn engine_hash(cursor: &mut Cursor<'_>) -> Result<EngineHash, Malformed> {
    match cursor.next()? {
        Token::Unsigned(hash) => Ok(EngineHash(hash)),
        Token::Negative(hash) => Ok(EngineHash(hash as u64)),
        Token::Bytes(bytes) if !bytes.is_empty() => Ok(EngineHash::of_bytes(bytes)),
        _ => Err(cursor.malformed("expected a block's hash: an integer or bytes")),
    }
}

/// Tokens; of pairs of neighbours, which engines that guess ahead publish, the first of each.
fn tokens(cursor: &mut Cursor<'_>, into: &mut Vec<u32>) -> Result<(), Malformed> {
    const EXPECTED: &str = "expected a token of at most 32 bits";
    let count = array(cursor, TOKENS_MAX, "expected at most 4194304 tokens")?;
    into.clear();
    into.reserve_exact(count);
    for _ in 0..count {
        let mut ahead = *cursor;
        if let Token::Array(length) = ahead.next()? {
            *cursor = ahead;
            if length == 0 {
                return Err(cursor.malformed(EXPECTED));
            }
            into.push(number(cursor, EXPECTED)?);
            for _ in 1..length {
                cursor.skip()?;
            }
        } else {
            into.push(number(cursor, EXPECTED)?);
        }
    }
    Ok(())
}

fn array(cursor: &mut Cursor<'_>, most: usize, expected: &'static str) -> Result<usize, Malformed> {
    match cursor.next()? {
        Token::Array(length) if length <= most => Ok(length),
        _ => Err(cursor.malformed(expected)),
    }
}

fn key<'a>(cursor: &mut Cursor<'a>) -> Result<&'a str, Malformed> {
    match cursor.next()? {
        Token::Text(key) => Ok(key),
        _ => Err(cursor.malformed("expected a field's name")),
    }
}

fn text(cursor: &mut Cursor<'_>) -> Result<String, Malformed> {
    match cursor.next()? {
        Token::Text(text) if text.len() <= TEXT_BYTES_MAX => Ok(text.into()),
        _ => Err(cursor.malformed("expected a text of at most 4096 bytes")),
    }
}

fn number(cursor: &mut Cursor<'_>, expected: &'static str) -> Result<u32, Malformed> {
    match cursor.next()? {
        Token::Unsigned(number) => u32::try_from(number).map_err(|_| cursor.malformed(expected)),
        _ => Err(cursor.malformed(expected)),
    }
}

/// Nothing, or what `read` reads.
fn optional<'a, T>(
    cursor: &mut Cursor<'a>,
    read: impl FnOnce(&mut Cursor<'a>) -> Result<T, Malformed>,
) -> Result<Option<T>, Malformed> {
    let mut ahead = *cursor;
    if ahead.next()? == Token::Nil {
        *cursor = ahead;
        return Ok(None);
    }
    read(cursor).map(Some)
}
