//! What the device's pool and its copies carry: `bandwidth [DEVICE] [MIB]`, one line a way, GB/s and microseconds.
//!
//! Blocks are those of an 8-billion-parameter Llama's (32 layers, 8 KV heads of 128, 16 tokens: 4 MiB; 128 KiB a
//! layer). Times are the host's, over many copies at once for bandwidth and over single ones for latency.
//! `tests/hardware.sh` of the repository prints them beside what the network carries.

use conductor_engine::cuda::kernels::{Kernels, Move, View};
use conductor_engine::cuda::{
    Buffer, CudaError, Device, DevicePool, Image, Pinned, StagingSize, Stream,
};
use conductor_engine::kv::{BlockId, KvRegion, KvShape};
use std::process::ExitCode;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("bandwidth: {message}");
            ExitCode::from(2)
        }
    }
}

fn number(arguments: &[String], place: usize, otherwise: u32) -> Result<u32, String> {
    match arguments.get(place) {
        None => Ok(otherwise),
        Some(text) => text
            .parse()
            .ok()
            .filter(|&n| n <= 1 << 16)
            .ok_or_else(|| format!("{text}, expected a number up to 65536")),
    }
}

fn run(arguments: &[String]) -> Result<(), String> {
    let (device, mib) = (number(arguments, 0, 0)?, number(arguments, 1, 256)?.max(4));
    measure(device, mib).map_err(|error| error.to_string())
}

fn measure(device: u32, mib: u32) -> Result<(), CudaError> {
    let shape = KvShape::new(32, 8, 128, 16).expect("a shape");
    let device = Device::open(device)?;
    let image = Image::get(device.capability()?, Image::folder().as_deref())?;
    let kernels = Kernels::load(&device, &image)?;
    let blocks = mib / 4;
    let pool = DevicePool::new(&device, shape, blocks, StagingSize::default())?;
    let stream = Stream::new(&device)?;
    let bytes = shape.region_bytes(blocks);
    let mut pinned = Pinned::new(&device, bytes)?;
    let room = Buffer::new(&device, bytes, "a measurement")?;

    report("host to device, pinned", bytes, &mut || {
        stream.upload(&pinned, 0..bytes, &room, 0)?;
        stream.synchronize()
    })?;
    report(
        "host to device, one layer of a block",
        shape.slice_bytes(),
        &mut || {
            stream.upload(&pinned, 0..shape.slice_bytes(), &room, 0)?;
            stream.synchronize()
        },
    )?;
    report("device to host, pinned", bytes, &mut || {
        stream.download(&room, 0..bytes, &mut pinned, 0)?;
        stream.synchronize()
    })?;
    report(
        "device to host, one layer of a block",
        shape.slice_bytes(),
        &mut || {
            stream.download(&room, 0..shape.slice_bytes(), &mut pinned, 0)?;
            stream.synchronize()
        },
    )?;

    // Every second block, so that nothing lies in a row.
    let list: Vec<u32> = (0..blocks)
        .step_by(2)
        .chain((1..blocks).step_by(2))
        .collect();
    let mut order = Pinned::new(&device, 4 * list.len())?;
    for (block, into) in list.iter().zip(order.write().chunks_exact_mut(4)) {
        into.copy_from_slice(&block.to_ne_bytes());
    }
    let table = Buffer::new(&device, 4 * list.len(), "a measurement")?;
    stream.upload(&order, 0..4 * list.len(), &table, 0)?;
    let part = |numbers: usize| Move {
        pool: pool.view(),
        contiguous: View::new(&room, 0),
        blocks: View::new(&table, 0),
        count: list.len(),
        block_numbers: shape.block_bytes() / 4,
        within: 0,
        numbers,
    };
    let whole = part(shape.block_bytes() / 4);
    let layer = part(shape.slice_bytes() / 4);
    let slices = list.len() * shape.slice_bytes();
    report("gather of blocks on the device", bytes, &mut || {
        kernels.gather(&stream, &whole)?;
        stream.synchronize()
    })?;
    report("scatter of blocks on the device", bytes, &mut || {
        kernels.scatter(&stream, &whole)?;
        stream.synchronize()
    })?;
    report("gather of a layer, then to the host", slices, &mut || {
        kernels.gather(&stream, &layer)?;
        stream.download(&room, 0..slices, &mut pinned, 0)?;
        stream.synchronize()
    })?;
    let mut block = vec![0_u8; shape.block_bytes()];
    report("the pool as bytes: a block read", block.len(), &mut || {
        pool.read(shape.block(BlockId(blocks / 2)).start, &mut block);
        pool.failed().map_or(Ok(()), Err)
    })
}

/// Repeats it for a quarter of a second, at least three times after a first one, and prints the median.
fn report(
    what: &str,
    bytes: usize,
    once: &mut dyn FnMut() -> Result<(), CudaError>,
) -> Result<(), CudaError> {
    once()?;
    let began = Instant::now();
    let mut times = Vec::new();
    while times.len() < 3 || (began.elapsed() < Duration::from_millis(250) && times.len() < 10_000)
    {
        let start = Instant::now();
        once()?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    let median = times[times.len() / 2].as_secs_f64();
    println!(
        "{what}: {:.2} GB/s, {:.1} us for {bytes} bytes",
        bytes as f64 / median / 1e9,
        median * 1e6
    );
    Ok(())
}
