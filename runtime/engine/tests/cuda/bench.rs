//! A device with compiled kernels, and numbers that go there and come back.

use conductor_core::rng::Stream as Chance;
use conductor_engine::cuda::kernels::{Kernels, View};
use conductor_engine::cuda::{Buffer, Device, Image, Pinned, Stream};

/// What a test of a kernel needs.
pub(crate) struct Bench {
    pub(crate) device: Device,
    pub(crate) stream: Stream,
    pub(crate) kernels: Kernels,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let device = Device::open(0).expect("a device: run tests/cuda/run.sh of the repository");
        let image =
            Image::get(device.capability().expect("a capability"), None).expect("compiled kernels");
        Self {
            stream: Stream::new(&device).expect("a stream"),
            kernels: Kernels::load(&device, &image).expect("loaded kernels"),
            device,
        }
    }

    /// Numbers on the device.
    pub(crate) fn put<T: bytemuck::NoUninit>(&self, numbers: &[T]) -> Buffer {
        let bytes: &[u8] = bytemuck::cast_slice(numbers);
        let buffer = Buffer::new(&self.device, bytes.len(), "a test").expect("memory");
        let mut pinned = Pinned::new(&self.device, bytes.len()).expect("pinned memory");
        pinned.write()[..bytes.len()].copy_from_slice(bytes);
        self.stream
            .upload(&pinned, 0..bytes.len(), &buffer, 0)
            .expect("a copy");
        self.stream.synchronize().expect("copied");
        buffer
    }

    /// Room for so many numbers, which hold none.
    pub(crate) fn room(&self, numbers: usize) -> Buffer {
        self.put(&vec![f32::NAN; numbers])
    }

    /// What is on the device.
    pub(crate) fn get(&self, buffer: &Buffer) -> Vec<f32> {
        let mut pinned = Pinned::new(&self.device, buffer.bytes()).expect("pinned memory");
        self.stream
            .download(buffer, 0..buffer.bytes(), &mut pinned, 0)
            .expect("a copy");
        self.stream.synchronize().expect("copied");
        let (numbers, _) = pinned.read().as_chunks::<4>();
        numbers
            .iter()
            .map(|number| f32::from_ne_bytes(*number))
            .collect()
    }
}

pub(crate) fn view(buffer: &Buffer) -> View<'_> {
    View::new(buffer, 0)
}

/// Random numbers of up to `size`.
pub(crate) fn random(name: &str, count: usize, size: f32) -> Vec<f32> {
    let chance = Chance::new(11, name);
    let number = |i| ((chance.draw(i) >> 40) as f32 / (1 << 23) as f32 - 1.0) * size;
    (0..count as u64).map(number).collect()
}

/// The worst difference, which is printed; equal bits are 0, and numbers that are none differ from all others.
pub(crate) fn worst(what: &str, found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len(), "{what}");
    let error = |(found, expected): (&f32, &f32)| match found.to_bits() == expected.to_bits() {
        true => 0.0,
        false => {
            let difference = (f64::from(*found) - f64::from(*expected)).abs();
            if difference.is_nan() {
                f64::INFINITY
            } else {
                difference.max(f64::MIN_POSITIVE)
            }
        }
    };
    let worst = found.iter().zip(expected).map(error).fold(0.0, f64::max);
    println!("{what}: {} numbers, worst error {worst:e}", found.len());
    worst
}
