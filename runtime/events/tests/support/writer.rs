//! An engine's side, by an encoder that is not ours: events in each of their forms.

use bytes::Bytes;
use rmp::encode::{
    write_array_len, write_bin, write_f64, write_map_len, write_nil, write_sint, write_str,
    write_uint,
};

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// vLLM up to 0.23.
    Arrays,
    /// vLLM since 0.24, SGLang, Dynamo.
    Maps,
}

/// How hashes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hashes {
    Unsigned,
    Signed,
    Bytes,
}

/// An event, as tests think of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Stored {
        blocks: Vec<u64>,
        parent: Option<u64>,
        tokens: Vec<u32>,
        size: u32,
        medium: &'static str,
        lora: Option<&'static str>,
        /// With the first block.
        salt: Option<&'static str>,
    },
    Removed {
        blocks: Vec<u64>,
        medium: &'static str,
    },
    Cleared,
}

pub(crate) struct Writer {
    pub(crate) form: Form,
    pub(crate) hashes: Hashes,
    bytes: Vec<u8>,
}

const FINE: &str = "memory takes all";

impl Writer {
    pub(crate) fn batch(form: Form, hashes: Hashes, events: &[Said]) -> Bytes {
        let mut writer = Self {
            form,
            hashes,
            bytes: Vec::new(),
        };
        write_array_len(&mut writer.bytes, 3).expect(FINE);
        write_f64(&mut writer.bytes, 1.5).expect(FINE);
        write_array_len(&mut writer.bytes, events.len() as u32).expect(FINE);
        for event in events {
            writer.event(event);
        }
        write_uint(&mut writer.bytes, 0).expect(FINE);
        writer.bytes.into()
    }

    fn head(&mut self, kind: &str, fields: u32) {
        match self.form {
            Form::Arrays => {
                write_array_len(&mut self.bytes, fields + 1).expect(FINE);
            }
            Form::Maps => {
                write_map_len(&mut self.bytes, fields + 1).expect(FINE);
                self.text("type");
            }
        }
        self.text(kind);
    }

    fn field(&mut self, name: &str) {
        if self.form == Form::Maps {
            self.text(name);
        }
    }

    fn text(&mut self, text: &str) {
        write_str(&mut self.bytes, text).expect(FINE);
    }

    fn maybe(&mut self, text: Option<&str>) {
        match text {
            Some(text) => self.text(text),
            None => write_nil(&mut self.bytes).expect(FINE),
        }
    }

    fn hash(&mut self, hash: u64) {
        match self.hashes {
            Hashes::Unsigned => {
                write_uint(&mut self.bytes, hash).expect(FINE);
            }
            Hashes::Signed => {
                write_sint(&mut self.bytes, hash as i64).expect(FINE);
            }
            Hashes::Bytes => {
                let mut whole = [0xab_u8; 32];
                whole[24..].copy_from_slice(&hash.to_be_bytes());
                write_bin(&mut self.bytes, &whole).expect(FINE);
            }
        }
    }

    fn all(&mut self, hashes: &[u64]) {
        write_array_len(&mut self.bytes, hashes.len() as u32).expect(FINE);
        for &hash in hashes {
            self.hash(hash);
        }
    }

    fn event(&mut self, event: &Said) {
        match event {
            Said::Stored {
                blocks,
                parent,
                tokens,
                size,
                medium,
                lora,
                salt,
            } => {
                self.head("BlockStored", 8);
                self.field("block_hashes");
                self.all(blocks);
                self.field("parent_block_hash");
                match parent {
                    Some(parent) => self.hash(*parent),
                    None => write_nil(&mut self.bytes).expect(FINE),
                }
                self.field("token_ids");
                write_array_len(&mut self.bytes, tokens.len() as u32).expect(FINE);
                for &token in tokens {
                    write_uint(&mut self.bytes, u64::from(token)).expect(FINE);
                }
                self.field("block_size");
                write_uint(&mut self.bytes, u64::from(*size)).expect(FINE);
                self.field("lora_id");
                match lora {
                    Some(_) => {
                        write_uint(&mut self.bytes, 7).expect(FINE);
                    }
                    None => write_nil(&mut self.bytes).expect(FINE),
                }
                self.field("medium");
                self.text(medium);
                self.field("lora_name");
                self.maybe(*lora);
                self.field("extra_keys");
                write_array_len(&mut self.bytes, blocks.len() as u32).expect(FINE);
                for position in 0..blocks.len() {
                    let salt = salt.filter(|_| position == 0 && parent.is_none());
                    let keys: Vec<&str> = lora.iter().copied().chain(salt).collect();
                    if keys.is_empty() {
                        write_nil(&mut self.bytes).expect(FINE);
                        continue;
                    }
                    write_array_len(&mut self.bytes, keys.len() as u32).expect(FINE);
                    for key in keys {
                        self.text(key);
                    }
                }
            }
            Said::Removed { blocks, medium } => {
                self.head("BlockRemoved", 2);
                self.field("block_hashes");
                self.all(blocks);
                self.field("medium");
                self.text(medium);
            }
            Said::Cleared => self.head("AllBlocksCleared", 0),
        }
    }
}
