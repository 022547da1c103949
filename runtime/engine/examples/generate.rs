//! Answers one question on the CPU and says how fast.
//!
//!     cargo run --release -p conductor-engine --example generate -- MODEL [TEXT [TOKENS [THREADS]]]
//!
//! MODEL is `tiny`, a GGUF file, or a folder with `config.json`, `model.safetensors` and `tokenizer.json`.

use conductor_core::ids::{RequestId, Ticket};
use conductor_engine::kv::{BlockId, HeapRegion};
use conductor_engine::model::{Model, tiny};
use conductor_engine::sampling::Sampling;
use conductor_engine::text::{Message, Stops, Stream, TextModel};
use conductor_engine::{CpuEngine, Engine, Phase, Piece, Step};
use std::error::Error;
use std::io::Write;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

const BLOCK: u32 = 16;
const BATCH: u32 = 8;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let argument = |index: usize| arguments.get(index).map(String::as_str);
    let name = argument(0).ok_or("expected a model: tiny, a GGUF file or a folder")?;
    let question = argument(1).unwrap_or("What is the capital of France?");
    let tokens: u32 = argument(2).unwrap_or("32").parse()?;
    let threads: NonZeroUsize = argument(3).unwrap_or("1").parse()?;
    let started = Instant::now();
    let (model, text) = match name {
        "tiny" => (tiny::model(1), TextModel::tiny()),
        path => (
            Model::open(Path::new(path))?,
            TextModel::open(Path::new(path))?,
        ),
    };
    let loaded = started.elapsed();
    let prompt = text.template.render(&[Message {
        role: "user".into(),
        content: question.into(),
    }])?;
    let prompt = text.tokenizer.encode(&prompt, false)?;
    let shape = model.config().kv_shape(BLOCK)?;
    // Each sequence of the batch has its own blocks, one behind the other.
    let each = shape.blocks_for(prompt.len() + tokens as usize) as u32;
    let region = Arc::new(HeapRegion::new(shape.region_bytes(each * BATCH)));
    let mut engine = CpuEngine::new(Arc::new(model), shape, region, threads)?;
    let piece = |sequence: u32, start: u32, tokens: &[u32]| {
        let end = start as usize + tokens.len();
        let first = sequence * each;
        Piece {
            ticket: Ticket {
                request: RequestId(u64::from(sequence)),
                attempt: 0,
            },
            phase: if start == 0 {
                Phase::Prefill
            } else {
                Phase::Decode
            },
            start,
            tokens: tokens.to_vec(),
            stored: start,
            blocks: (first..first + shape.blocks_for(end) as u32)
                .map(BlockId)
                .collect(),
            sample: Some(Sampling::Greedy),
        }
    };
    let mut speeds = Vec::new();
    for batch in [1, BATCH] {
        let started = Instant::now();
        let pieces = (0..batch).map(|sequence| piece(sequence, 0, &prompt));
        let step = Step {
            pieces: pieces.collect(),
        };
        let mut last = engine.run(&step, &mut |_| ())?.sampled;
        let prefill = started.elapsed();
        let mut answer = Stream::new(&text, Stops::default());
        let started = Instant::now();
        let mut ended = false;
        for _ in 1..tokens {
            if batch == 1 && !ended {
                let written = answer.push(last[0].token);
                print!("{}", written.text);
                std::io::stdout().flush()?;
                ended = written.ended;
            }
            let pieces = last
                .iter()
                .zip(0..)
                .map(|(made, sequence)| piece(sequence, made.position, &[made.token]));
            let step = Step {
                pieces: pieces.collect(),
            };
            last = engine.run(&step, &mut |_| ())?.sampled;
        }
        let decode = started.elapsed();
        if batch == 1 {
            println!(
                "{}",
                if ended {
                    String::new()
                } else {
                    answer.finish().text
                }
            );
        }
        let count = |tokens: usize| (tokens * batch as usize) as f64;
        speeds.push(format!(
            "batch {batch}: prefill {:.0} tokens/s, decode {:.0} tokens/s",
            count(prompt.len()) / prefill.as_secs_f64(),
            count(tokens as usize - 1) / decode.as_secs_f64(),
        ));
    }
    eprintln!(
        "loaded in {:.2} s; {} threads; {}",
        loaded.as_secs_f64(),
        threads,
        speeds.join("; ")
    );
    Ok(())
}
