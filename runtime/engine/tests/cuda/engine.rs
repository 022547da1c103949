//! The whole engine, beside the CPU engine: the same tokens, the same logits to the bit, under whatever a scheduler
//! does.

use crate::node::{Node, Sequence};
use crate::plain::Plain;
use crate::schedule::{Dice, any_schedule, odd};
use conductor_engine::cuda::{CudaEngine, Device, DevicePool, Products, Settings, StagingSize};
use conductor_engine::kv::{BlockId, HeapRegion, KvRegion, KvShape};
use conductor_engine::model::{Model, tiny};
use conductor_engine::sampling::Sampling;
use conductor_engine::{Engine, Phase, Piece, Step};
use std::num::NonZeroUsize;
use std::sync::Arc;

/// Small slots, so that copies come in several portions.
fn staging() -> StagingSize {
    let size = |number| NonZeroUsize::new(number).expect("not zero");
    StagingSize {
        slots: size(2),
        bytes: size(2048),
    }
}

fn pool(shape: KvShape, blocks: u32) -> Arc<DevicePool> {
    let device = Device::open(0).expect("a device: run tests/cuda/run.sh of the repository");
    Arc::new(DevicePool::new(&device, shape, blocks, staging()).expect("a pool"))
}

/// A node whose KV is in the device's memory alone.
fn on_device(model: &Model, block: u32, blocks: u32, products: Products) -> Node {
    let shape = model.config().kv_shape(block).expect("a shape");
    let pool = pool(shape, blocks);
    let settings = Settings {
        products,
        kernels: None,
    };
    let engine = CudaEngine::new(model, Arc::clone(&pool), &settings).expect("an engine");
    Node::over(shape, blocks, pool, Box::new(engine))
}

/// A node whose KV is in host memory too, for messengers that cannot reach the device.
fn staged(model: &Model, block: u32, blocks: u32) -> Node {
    let shape = model.config().kv_shape(block).expect("a shape");
    let pool = pool(shape, blocks);
    // What was never written in the device's pool are numbers that would be seen, too.
    pool.write(0, &vec![0xff; pool.len()]);
    let region = Arc::new(HeapRegion::new(pool.len()));
    let host = Arc::clone(&region) as Arc<dyn KvRegion>;
    let engine = CudaEngine::staged(model, pool, host, &Settings::default()).expect("an engine");
    Node::over(shape, blocks, region, Box::new(engine))
}

#[test]
fn tokens_equal_the_definitions_under_any_schedule_on_the_device_and_beside_the_cpu() {
    let models = [Arc::new(tiny::model(1)), Arc::new(tiny::random(odd(), 2))];
    for seed in 0..6 {
        let model = &models[seed as usize % 2];
        any_schedule(model, seed, 4, |block, blocks| match seed / 2 {
            // Two devices; a device and a CPU that send each other KV; the same through the host's memory.
            0 => [0, 1].map(|_| on_device(model, block, blocks, Products::Exact)),
            1 => [
                on_device(model, block, blocks, Products::Exact),
                Node::new(model, block, blocks, 1),
            ],
            _ => [
                staged(model, block, blocks),
                Node::new(model, block, blocks, 1),
            ],
        });
    }
}

/// Steps of a lone sequence: a chunk, a chunk behind it, then tokens one by one. Returns logits after each.
fn logits(model: &Model, products: Products, prompt: &[u32]) -> Vec<Vec<f32>> {
    let shape = model.config().kv_shape(5).expect("a shape");
    let blocks = shape.blocks_for(prompt.len());
    let settings = Settings {
        products,
        kernels: None,
    };
    let mut engine =
        CudaEngine::new(model, pool(shape, blocks as u32), &settings).expect("an engine");
    let mut out = Vec::new();
    let mut start = 0;
    for length in [40, 23].into_iter().chain(std::iter::repeat(1)) {
        if start == prompt.len() {
            return out;
        }
        let end = start + length;
        let piece = Piece {
            ticket: Sequence::new(1, prompt, Sampling::Greedy).ticket,
            phase: Phase::Prefill,
            start: start as u32,
            tokens: prompt[start..end].to_vec(),
            stored: start as u32,
            blocks: (0..shape.blocks_for(end) as u32).map(BlockId).collect(),
            sample: Some(Sampling::Greedy),
        };
        engine
            .run(
                &Step {
                    pieces: vec![piece],
                },
                &mut |_| {},
            )
            .expect("a valid step");
        out.push(engine.logits(1).expect("logits"));
        start = end;
    }
    unreachable!("the lengths go on")
}

fn worst(found: &[Vec<f32>], expected: &[Vec<f32>]) -> f64 {
    let pairs = found.iter().flatten().zip(expected.iter().flatten());
    pairs
        .map(|(found, expected)| (f64::from(*found) - f64::from(*expected)).abs())
        .fold(0.0, f64::max)
}

#[test]
fn logits_equal_the_definitions_to_the_bit_and_those_of_cublas_to_rounding() {
    for (name, model) in [("tiny", tiny::model(3)), ("odd", tiny::random(odd(), 4))] {
        let mut dice = Dice::new(8);
        let prompt: Vec<u32> = (0..80)
            .map(|_| dice.below(model.config().vocabulary) as u32)
            .collect();
        let all = Plain::new(&model).logits(&prompt);
        let expected: Vec<Vec<f32>> = [39]
            .into_iter()
            .chain(62..80)
            .map(|last| all[last].clone())
            .collect();
        let bits = |rows: &[Vec<f32>]| {
            rows.iter()
                .flatten()
                .map(|x| x.to_bits())
                .collect::<Vec<_>>()
        };
        let exact = logits(&model, Products::Exact, &prompt);
        println!(
            "logits of {name}, exact products: worst error {:e}",
            worst(&exact, &expected)
        );
        assert_eq!(bits(&exact), bits(&expected));
        let cublas = logits(&model, Products::Cublas, &prompt);
        let error = worst(&cublas, &expected);
        let largest = expected
            .iter()
            .flatten()
            .fold(0.0_f32, |largest, x| largest.max(x.abs()));
        println!(
            "logits of {name} (up to {largest}), products in another order: worst error {error:e}"
        );
        assert!(
            error > 0.0,
            "the stand-in adds up in another order: equal bits mean that it was not asked"
        );
        assert!(error < 1e-3, "{error}");
    }
}

#[test]
fn greedy_tokens_with_other_products_are_those_of_the_cpu_on_the_tiny_model() {
    let model = tiny::model(0);
    let prompt: Vec<u32> = "Hello, who is there?".bytes().map(u32::from).collect();
    let expected = Plain::new(&model).answer(&prompt, 12, Sampling::Greedy);
    let mut node = on_device(&model, 4, 32, Products::Cublas);
    let mut sequence = Sequence::new(1, &prompt, Sampling::Greedy);
    while sequence.answered() < 12 {
        node.run(&mut [(&mut sequence, 9)]);
    }
    assert_eq!(&sequence.tokens[prompt.len()..], expected);
}

#[test]
fn the_pool_is_bytes_to_everybody_else_and_can_be_exported() {
    let shape = KvShape::new(2, 1, 8, 16).expect("a shape");
    let pool = pool(shape, 9);
    let bytes: Vec<u8> = (0..pool.len()).map(|i| (i * 31 % 251) as u8).collect();
    std::thread::scope(|threads| {
        // More threads than slots: they wait for each other.
        for part in 0..9 {
            let (pool, bytes) = (&pool, &bytes);
            threads.spawn(move || {
                let own = shape.block(BlockId(part));
                pool.write(own.start, &bytes[own]);
            });
        }
    });
    let mut back = vec![0; pool.len()];
    pool.read(0, &mut back);
    assert!(back == bytes);
    assert_eq!(pool.failed(), None);
    let exported = pool.export().expect("a dma-buf");
    assert_eq!(exported.address, pool.address());
    assert!(exported.address.is_multiple_of(2 << 20) && exported.bytes.is_multiple_of(2 << 20));
    assert!(exported.bytes >= pool.len());
    let (choice, handle) = pool.way(true, true).expect("a way");
    assert_eq!(choice.to_string(), "dma-buf: device and card support it");
    assert!(handle.is_some());
    let (choice, handle) = pool.way(false, false).expect("a way");
    assert_eq!(
        (choice.to_string().as_str(), handle.is_some()),
        ("pinned staging: no RDMA device", false)
    );
}
