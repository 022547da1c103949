//! Weights in the form of llama.cpp: one GGUF file with sizes, tokenizer and quantised tensors.
//!
//! candle reads the header and gives 32-bit floats for whatever quantisation a tensor has. Two things are undone here.
//! llama.cpp stores the rows of queries and keys so that rotary embedding turns neighbours (`2i`, `2i + 1`), while this
//! engine turns the halves of a head, as Hugging Face does; and names differ.
//!
//! Sizes are compared before a tensor is read, and a broken alignment is looked for before candle divides by it: so a
//! damaged file is an error and not a panic.

use super::{Config, LayerPart, LoadError, Model, Part, Source, first_line};
use crate::math::attention::Heads;
use candle_core::Device;
use candle_core::quantized::gguf_file::{Content, Value};
use std::fs;
use std::io::{BufReader, Read, Seek};
use std::path::{Path, PathBuf};

/// Reads a model from a file.
pub fn open(path: &Path) -> Result<Model, LoadError> {
    let (mut file, content) = header(path)?;
    let config = config(path, &content)?;
    let heads = config.heads;
    Model::load(
        config,
        &mut File {
            path: path.into(),
            file: &mut file,
            content: &content,
            heads,
        },
    )
}

/// Reads what stands before the tensors: sizes and tokenizer.
pub fn header(path: &Path) -> Result<(BufReader<fs::File>, Content), LoadError> {
    let failed = |error| LoadError::File {
        path: path.into(),
        error,
    };
    let damaged = |what: String| LoadError::Format {
        path: path.into(),
        what,
    };
    let mut file = BufReader::new(fs::File::open(path).map_err(failed)?);
    if alignment_is_zero(&mut file).map_err(failed)? {
        return Err(damaged(
            "general.alignment is 0, expected a power of two".into(),
        ));
    }
    file.rewind().map_err(failed)?;
    let content = Content::read(&mut file)
        .map_err(|error| damaged(format!("expected a GGUF file: {}", first_line(error))))?;
    Ok((file, content))
}

/// Looks for the one value that candle divides by.
fn alignment_is_zero(file: &mut impl Read) -> std::io::Result<bool> {
    const KEY: &[u8] = b"general.alignment";
    // General keys come first; behind a megabyte there are tokens.
    let mut start = Vec::new();
    file.take(1 << 20).read_to_end(&mut start)?;
    let found = start.windows(KEY.len()).position(|bytes| bytes == KEY);
    let value = found.and_then(|at| start.get(at + KEY.len()..)?.split_first_chunk::<4>());
    let Some((kind, value)) = value else {
        return Ok(false);
    };
    // The types of integers, and how many bytes each has.
    let bytes = match u32::from_le_bytes(*kind) {
        0 | 1 => 1,
        2 | 3 => 2,
        4 | 5 => 4,
        _ => return Ok(false),
    };
    Ok(value
        .get(..bytes)
        .is_some_and(|value| value.iter().all(|&byte| byte == 0)))
}

/// The model's sizes.
pub fn config(path: &Path, content: &Content) -> Result<Config, LoadError> {
    let damaged = |what: String| LoadError::Format {
        path: path.into(),
        what,
    };
    let value = |key: &str| content.metadata.get(key);
    match value("general.architecture") {
        Some(Value::String(name)) if name == "llama" => {}
        found => {
            return Err(damaged(format!(
                "general.architecture is {}, expected llama",
                found.map_or_else(|| "missing".into(), said)
            )));
        }
    }
    let whole = |key: &str| {
        let found = value(key).ok_or_else(|| damaged(format!("{key} is missing")))?;
        let size = whole(found).ok_or_else(|| {
            let found = said(found);
            damaged(format!("{key} is {found}, expected a whole number"))
        })?;
        Ok::<usize, LoadError>(size)
    };
    let real = |key: &str| match value(key) {
        Some(Value::F32(number)) => Ok(*number),
        found => Err(damaged(format!(
            "{key} is {}, expected a number",
            found.map_or_else(|| "missing".into(), said)
        ))),
    };
    let scaling = value("llama.rope.scaling.type");
    if let Some(kind) = scaling.filter(|kind| kind.to_string().is_ok_and(|kind| kind != "none")) {
        let kind = said(kind);
        return Err(damaged(format!(
            "llama.rope.scaling.type is {kind}, expected none"
        )));
    }
    if content.tensor_infos.contains_key("rope_freqs.weight") {
        return Err(damaged(
            "rope_freqs.weight is there: scaled rotary embedding is not supported".into(),
        ));
    }
    let hidden = whole("llama.embedding_length")?;
    let query = whole("llama.attention.head_count")?;
    let or = |key: &str, other: usize| match value(key) {
        Some(_) => whole(key),
        None => Ok(other),
    };
    let embedding = content.tensor_infos.get("token_embd.weight");
    let rows = embedding.and_then(|info| info.shape.dims().first().copied());
    let config = Config {
        hidden,
        intermediate: whole("llama.feed_forward_length")?,
        layers: whole("llama.block_count")?,
        heads: Heads {
            query,
            kv: or("llama.attention.head_count_kv", query)?,
            dim: or("llama.attention.key_length", hidden / query.max(1))?,
        },
        vocabulary: rows.ok_or_else(|| damaged("tensor token_embd.weight is missing".into()))?,
        positions: whole("llama.context_length")?,
        epsilon: real("llama.attention.layer_norm_rms_epsilon")?,
        rope_base: match value("llama.rope.freq_base") {
            Some(_) => f64::from(real("llama.rope.freq_base")?),
            None => 10_000.0,
        },
        tied: !content.tensor_infos.contains_key("output.weight"),
        ends: match value("tokenizer.ggml.eos_token_id") {
            Some(_) => vec![whole("tokenizer.ggml.eos_token_id")? as u32],
            None => Vec::new(),
        },
    };
    config.check().map_err(|error| LoadError::Config {
        path: path.into(),
        error,
    })?;
    Ok(config)
}

fn whole(value: &Value) -> Option<usize> {
    match *value {
        Value::I32(number) => usize::try_from(number).ok(),
        Value::I64(number) => usize::try_from(number).ok(),
        ref other => other
            .to_u64()
            .ok()
            .and_then(|number| usize::try_from(number).ok()),
    }
}

/// A value for a message, of one line and not long.
fn said(value: &Value) -> String {
    format!("{value:?}").chars().take(60).collect()
}

struct File<'a, R> {
    path: PathBuf,
    file: &'a mut R,
    content: &'a Content,
    heads: Heads,
}

impl<R: Read + Seek> Source for File<'_, R> {
    fn tensor(&mut self, part: Part, sizes: &[usize]) -> Result<Vec<f32>, LoadError> {
        let name = name(part);
        let wrong = |what: String| LoadError::Tensor {
            path: self.path.clone(),
            name: name.clone(),
            what,
        };
        let Some(info) = self.content.tensor_infos.get(&name) else {
            return Err(wrong(format!("not in the file, expected sizes {sizes:?}")));
        };
        if info.shape.dims() != sizes {
            let found = info.shape.dims();
            return Err(wrong(format!("has sizes {found:?}, expected {sizes:?}")));
        }
        let start = self.content.tensor_data_offset;
        let numbers = info
            .read(self.file, start, &Device::Cpu)
            .and_then(|tensor| tensor.dequantize(&Device::Cpu)?.flatten_all()?.to_vec1())
            .map_err(|error| wrong(first_line(error)))?;
        Ok(match part {
            Part::Layer(_, LayerPart::Query | LayerPart::Key) => {
                halves(&numbers, self.heads.dim, sizes[1])
            }
            _ => numbers,
        })
    }
}

/// Rows of heads whose pairs are neighbours, with pairs half a head apart.
fn halves(rows: &[f32], head_dim: usize, inputs: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(rows.len());
    for head in rows.chunks_exact(head_dim * inputs) {
        for second in 0..2 {
            for pair in 0..head_dim / 2 {
                out.extend_from_slice(&head[(2 * pair + second) * inputs..][..inputs]);
            }
        }
    }
    out
}

fn name(part: Part) -> String {
    match part {
        Part::Embedding => "token_embd.weight".into(),
        Part::Norm => "output_norm.weight".into(),
        Part::Head => "output.weight".into(),
        Part::Layer(layer, part) => {
            let part = match part {
                LayerPart::AttentionNorm => "attn_norm",
                LayerPart::Query => "attn_q",
                LayerPart::Key => "attn_k",
                LayerPart::Value => "attn_v",
                LayerPart::Output => "attn_output",
                LayerPart::MlpNorm => "ffn_norm",
                LayerPart::Gate => "ffn_gate",
                LayerPart::Up => "ffn_up",
                LayerPart::Down => "ffn_down",
            };
            format!("blk.{layer}.{part}.weight")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_neighbours_become_halves_of_a_head() {
        // Two heads of four rows of one number.
        let rows = [0.0, 2.0, 1.0, 3.0, 10.0, 12.0, 11.0, 13.0];
        let expected = [0.0, 1.0, 2.0, 3.0, 10.0, 11.0, 12.0, 13.0];
        assert!(halves(&rows, 4, 1).iter().eq(&expected));
    }
}
