//! The model's weights on the device: matrices as `[input][output]`, so that neighbouring threads read neighbours.
//!
//! They go through one pinned buffer of a few megabytes: the model is in the host's memory once more only in the order
//! of one matrix at a time.

use super::driver::{Buffer, Device, Pinned, Result, Stream};
use super::kernels::View;
use crate::math::matrix::Matrix;
use crate::model::Model;

/// Bytes that go to the device at once.
const PORTION: usize = 8 << 20;

/// A matrix on the device.
pub(super) struct DeviceMatrix {
    numbers: Buffer,
    pub(super) inputs: usize,
    pub(super) outputs: usize,
}

impl DeviceMatrix {
    pub(super) fn view(&self) -> View<'_> {
        View::new(&self.numbers, 0)
    }
}

/// A layer on the device; names are those of [`crate::model::Layer`].
pub(super) struct DeviceLayer {
    pub(super) attention_norm: Buffer,
    pub(super) query: DeviceMatrix,
    pub(super) key: DeviceMatrix,
    pub(super) value: DeviceMatrix,
    pub(super) output: DeviceMatrix,
    pub(super) mlp_norm: Buffer,
    pub(super) gate: DeviceMatrix,
    pub(super) up: DeviceMatrix,
    pub(super) down: DeviceMatrix,
}

/// All of it.
pub(super) struct Weights {
    pub(super) embedding: DeviceMatrix,
    pub(super) layers: Vec<DeviceLayer>,
    pub(super) norm: Buffer,
    /// `None` if it is the embedding.
    head: Option<DeviceMatrix>,
}

impl Weights {
    pub(super) fn new(model: &Model, device: &Device) -> Result<Self> {
        let mut uploader = Uploader {
            stream: Stream::new(device)?,
            pinned: Pinned::new(device, PORTION)?,
        };
        let layers = model.layers().iter().map(|layer| {
            Ok(DeviceLayer {
                attention_norm: uploader.numbers(&layer.attention_norm)?,
                query: uploader.matrix(&layer.query)?,
                key: uploader.matrix(&layer.key)?,
                value: uploader.matrix(&layer.value)?,
                output: uploader.matrix(&layer.output)?,
                mlp_norm: uploader.numbers(&layer.mlp_norm)?,
                gate: uploader.matrix(&layer.gate)?,
                up: uploader.matrix(&layer.up)?,
                down: uploader.matrix(&layer.down)?,
            })
        });
        let layers = layers.collect::<Result<_>>()?;
        Ok(Self {
            layers,
            embedding: uploader.matrix(model.embedding())?,
            norm: uploader.numbers(model.norm())?,
            head: match model.config().tied {
                true => None,
                false => Some(uploader.matrix(model.head())?),
            },
        })
    }

    pub(super) fn head(&self) -> &DeviceMatrix {
        self.head.as_ref().unwrap_or(&self.embedding)
    }
}

struct Uploader {
    stream: Stream,
    pinned: Pinned,
}

impl Uploader {
    fn numbers(&mut self, numbers: &[f32]) -> Result<Buffer> {
        let bytes: &[u8] = bytemuck::cast_slice(numbers);
        let buffer = Buffer::new(self.stream.device(), bytes.len(), "weights")?;
        for (index, portion) in bytes.chunks(PORTION).enumerate() {
            self.pinned.write()[..portion.len()].copy_from_slice(portion);
            self.stream
                .upload(&self.pinned, 0..portion.len(), &buffer, index * PORTION)?;
            self.stream.synchronize()?;
        }
        Ok(buffer)
    }

    fn matrix(&mut self, matrix: &Matrix) -> Result<DeviceMatrix> {
        let (inputs, outputs) = (matrix.inputs(), matrix.outputs());
        let mut numbers = vec![0.0_f32; inputs * outputs];
        for output in 0..outputs {
            for (input, number) in matrix.row(output).enumerate() {
                numbers[input * outputs + output] = number;
            }
        }
        Ok(DeviceMatrix {
            numbers: self.numbers(&numbers)?,
            inputs,
            outputs,
        })
    }
}
