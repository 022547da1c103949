//! What goes wrong is an error of one line, never a panic; what needs another world runs in a process of its own.

use crate::bench::{Bench, view};
use conductor_engine::cuda::kernels::{Embed, Move};
use conductor_engine::cuda::{
    CudaEngine, CudaError, Device, DevicePool, Settings, StagingSize, probe,
};
use conductor_engine::kv::{KvRegion, KvShape};
use conductor_engine::model::tiny;
use conductor_engine::{Engine, Phase, Piece, Step};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

/// Runs a test of this binary by itself in a process with these settings, and returns what it printed.
fn elsewhere(test: &str, settings: &[(&str, &str)]) -> String {
    let binary = std::env::current_exe().expect("this binary");
    let mut command = Command::new(binary);
    command.args([
        &format!("errors::{test}"),
        "--exact",
        "--ignored",
        "--nocapture",
    ]);
    command.envs(settings.iter().copied());
    let output = command.output().expect("a process");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{test}: {text}{errors}");
    assert!(!errors.contains("panicked"), "{errors}");
    assert!(text.contains("1 passed"), "{text}");
    text
}

fn standin() -> PathBuf {
    std::env::var_os("CONDUCTOR_STANDIN")
        .expect("set by tests/cuda/run.sh of the repository")
        .into()
}

fn says(text: &str, line: &str) {
    assert!(
        text.lines().any(|found| found.contains(line)),
        "expected {line:?} in\n{text}"
    );
}

#[test]
#[ignore = "run by others, in their worlds"]
fn tell_what_is_there() {
    for line in probe().lines(true) {
        println!("{line}");
    }
    println!("usable: {}", probe().usable());
    if let Err(error) = Device::open(0) {
        println!("opening: {error}");
    }
}

#[test]
fn a_probe_tells_of_devices_and_libraries() {
    let text = elsewhere("tell_what_is_there", &[]);
    says(&text, "CUDA: driver 12.8, devices: 1");
    says(
        &text,
        "CUDA device 0: stand-in, compute capability 9.0, 256 MiB, GPUDirect RDMA: yes, dma-buf: yes; \
         KV goes by dma-buf: device and card support it",
    );
    says(&text, "NVRTC: 12.8");
    says(&text, "cuBLAS: found");
    says(&text, "usable: true");
    let text = elsewhere("tell_what_is_there", &[("STANDIN_DMABUF", "0")]);
    says(
        &text,
        "dma-buf: no; KV goes by pinned staging: no dma-buf of the device's memory",
    );
}

#[test]
fn without_a_device_a_library_or_a_function_the_cpu_goes_on() {
    let text = elsewhere("tell_what_is_there", &[("STANDIN_DEVICES", "0")]);
    says(
        &text,
        "CUDA: no device 0: the driver has 0; the engine `cpu` is used",
    );
    says(&text, "opening: no device 0: the driver has 0");
    says(&text, "usable: false");

    let none = standin().join("none");
    let text = elsewhere(
        "tell_what_is_there",
        &[("LD_LIBRARY_PATH", none.to_str().expect("a path"))],
    );
    says(&text, "CUDA: libcuda.so is not found");
    says(&text, "NVRTC: libnvrtc.so is not found");
    says(&text, "cuBLAS: libcublas.so is not found");
    says(&text, "opening: libcuda.so is not found");

    let old = standin().join("old");
    let text = elsewhere(
        "tell_what_is_there",
        &[("LD_LIBRARY_PATH", old.to_str().expect("a path"))],
    );
    says(
        &text,
        "CUDA: libcuda.so has no cuLaunchKernel, expected CUDA 11.8 or later",
    );
    says(&text, "opening: libcuda.so has no cuLaunchKernel");
}

fn shape() -> KvShape {
    tiny::config().kv_shape(16).expect("a shape")
}

#[test]
fn no_memory_is_an_error_that_says_for_what() {
    let device = Device::open(0).expect("a device");
    let refused = DevicePool::new(&device, shape(), 100_000, StagingSize::default());
    let error = refused.expect_err("3 GiB of 256 MiB");
    let CudaError::OutOfMemory {
        what, asked, total, ..
    } = &error
    else {
        panic!("{error}");
    };
    assert_eq!(
        (*what, *asked, *total),
        (
            "the KV pool",
            (100_000 * shape().block_bytes()).next_multiple_of(2 << 20),
            256 << 20
        )
    );
    assert!(
        error.to_string().starts_with("out of device memory: "),
        "{error}"
    );
    // The device is as good as before.
    DevicePool::new(&device, shape(), 10, StagingSize::default()).expect("a small pool");
}

#[test]
fn settings_that_cannot_be_are_errors() {
    let device = Device::open(0).expect("a device");
    assert_eq!(
        Device::open(7).expect_err("one device"),
        CudaError::NoDevice { asked: 7, found: 1 }
    );
    let none = DevicePool::new(&device, shape(), 0, StagingSize::default()).expect_err("no block");
    assert_eq!(
        none.to_string(),
        "blocks of the pool: 0, expected 1 to 268435455 (of 16 tokens)"
    );
    let bytes = std::num::NonZeroUsize::new(6).expect("six");
    let odd = StagingSize {
        bytes,
        ..StagingSize::default()
    };
    let crooked = DevicePool::new(&device, shape(), 1, odd).expect_err("not a multiple of 4");
    assert_eq!(
        crooked.to_string(),
        "bytes of a staging slot: 6, expected a multiple of 4"
    );
}

#[test]
#[ignore = "run by others, in their worlds"]
fn break_the_device() {
    let model = tiny::model(0);
    let device = Device::open(0).expect("a device");
    let pool =
        Arc::new(DevicePool::new(&device, shape(), 4, StagingSize::default()).expect("a pool"));
    let mut engine =
        CudaEngine::new(&model, Arc::clone(&pool), &Settings::default()).expect("an engine");
    let piece = Piece {
        ticket: conductor_core::ids::Ticket {
            request: conductor_core::ids::RequestId(1),
            attempt: 0,
        },
        phase: Phase::Prefill,
        start: 0,
        tokens: vec![1, 2, 3],
        stored: 0,
        blocks: vec![conductor_engine::kv::BlockId(1)],
        sample: None,
    };
    let step = Step {
        pieces: vec![piece],
    };
    engine.run(&step, &mut |_| {}).expect("a step before");

    let bench = Bench::new();
    let (blocks, out) = (bench.put(&[1_u32 << 30]), bench.room(8));
    let part = Move {
        pool: pool.view(),
        contiguous: view(&out),
        blocks: view(&blocks),
        count: 1,
        block_numbers: shape().block_bytes() / 4,
        within: 0,
        numbers: 8,
    };
    bench
        .kernels
        .gather(&bench.stream, &part)
        .expect("starting is no error");
    println!(
        "gather: {}",
        bench.stream.synchronize().expect_err("block 2^30 of 4")
    );
    let mut layers = 0;
    let failed = engine.run(&step, &mut |_| layers += 1);
    println!(
        "step: {}, layers told of: {layers}",
        failed.expect_err("the device is of no use")
    );
    let mut bytes = [0; 4];
    pool.read(0, &mut bytes);
    println!("read: {:x}", u32::from_ne_bytes(bytes));
    println!(
        "again: {}",
        engine.run(&step, &mut |_| {}).expect_err("still")
    );
    println!(
        "pool: {}",
        DevicePool::new(&device, shape(), 4, StagingSize::default()).expect_err("still")
    );
}

#[test]
fn an_illegal_address_is_an_error_of_whatever_waits_and_of_all_that_comes_after() {
    let text = elsewhere("break_the_device", &[]);
    says(
        &text,
        "gather: waiting for a stream: CUDA_ERROR_ILLEGAL_ADDRESS",
    );
    says(&text, "CUDA_ERROR_ILLEGAL_ADDRESS, layers told of: 0");
    says(&text, "read: ffffffff");
    says(&text, "again: the device: ");
    says(
        &text,
        "pool: allocating pinned memory: CUDA_ERROR_ILLEGAL_ADDRESS",
    );
}

#[test]
#[ignore = "run by others, in their worlds"]
fn overrun_a_table() {
    let bench = Bench::new();
    let (table, tokens, out) = (bench.room(64 * 11), bench.put(&[11_u32]), bench.room(64));
    let embed = Embed {
        table: view(&table),
        tokens: view(&tokens),
        out: view(&out),
        rows: 1,
        hidden: 64,
        vocabulary: 11,
    };
    bench
        .kernels
        .embed(&bench.stream, &embed)
        .expect("starting is no error");
    println!(
        "embed: {}",
        bench.stream.synchronize().expect_err("token 11 of 11")
    );
}

#[test]
fn one_number_beyond_a_buffer_is_seen() {
    let text = elsewhere("overrun_a_table", &[]);
    says(
        &text,
        "embed: waiting for a stream: CUDA_ERROR_ILLEGAL_ADDRESS",
    );
}

#[test]
#[ignore = "run by others, in their worlds"]
fn start_an_engine() {
    let device = Device::open(0).expect("a device");
    let pool =
        Arc::new(DevicePool::new(&device, shape(), 4, StagingSize::default()).expect("a pool"));
    let kernels = std::env::var_os("KERNELS").map(PathBuf::from);
    match CudaEngine::new(
        &tiny::model(0),
        pool,
        &Settings {
            kernels,
            ..Settings::default()
        },
    ) {
        Ok(_) => println!("started"),
        Err(error) => println!("refused: {error}"),
    }
}

#[test]
fn kernels_are_compiled_once_and_again_when_what_was_kept_is_damaged() {
    let folder = tempfile::tempdir().expect("a folder");
    let (kept, count) = (
        folder.path().join("kernels"),
        folder.path().join("compiled"),
    );
    let settings = [
        ("KERNELS", kept.to_str().expect("a path")),
        ("STANDIN_COMPILED", count.to_str().expect("a path")),
    ];
    let compiled = || {
        std::fs::read_to_string(&count)
            .expect("compiled once at least")
            .lines()
            .count()
    };
    for _ in 0..2 {
        says(&elsewhere("start_an_engine", &settings), "started");
        assert_eq!(compiled(), 1);
    }
    let files: Vec<_> = std::fs::read_dir(&kept)
        .expect("a folder")
        .map(|entry| entry.expect("a file").path())
        .collect();
    assert_eq!(files.len(), 1);
    assert!(
        files[0].to_string_lossy().ends_with("-sm_90-nvrtc12.8"),
        "{files:?}"
    );
    std::fs::write(&files[0], "damaged").expect("written");
    says(&elsewhere("start_an_engine", &settings), "started");
    assert_eq!(compiled(), 2);
}

#[test]
fn a_compiler_that_refuses_is_an_error_with_its_words() {
    let text = elsewhere("start_an_engine", &[("STANDIN_NVRTC", "0")]);
    says(
        &text,
        "refused: compiling the kernels for sm_90: conductor.cu(1): error: not the kernels",
    );
}
