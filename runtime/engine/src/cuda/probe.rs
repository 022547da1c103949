//! What this machine has for the engine on a GPU. Never fails, never panics: what is missing is part of the answer.

use super::direct::{self, Choice, Facts};
use super::driver::{self, Attribute, Card, CudaError};
use super::{blas, compile};
use std::fmt;
use std::panic::catch_unwind;

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The driver's version (12040 being 12.4) and the devices, or why there are none.
    pub driver: Result<(i32, Vec<FoundDevice>), CudaError>,
    /// The libraries beside it.
    pub libraries: Libraries,
}

/// Libraries that are loaded at run time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Libraries {
    /// NVRTC's version, or why it cannot be used.
    pub nvrtc: Result<(i32, i32), CudaError>,
    /// Whether cuBLAS can be used.
    pub cublas: Result<(), CudaError>,
}

/// A device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundDevice {
    /// What its maker calls it.
    pub name: String,
    /// Compute capability, 90 being 9.0.
    pub capability: u32,
    /// Bytes.
    pub memory: usize,
    /// GPUDirect RDMA.
    pub gpu_direct: bool,
    /// Its memory can be exported as dma-buf.
    pub dma_buf: bool,
}

/// Looks. What nobody foresaw in a library is caught.
#[must_use]
pub fn probe() -> Found {
    Found {
        driver: guarded(driver::LIBRARY, || {
            driver::load()?;
            let devices = (0..driver::count()?)
                .map(device)
                .collect::<Result<_, _>>()?;
            Ok((driver::version()?, devices))
        }),
        libraries: Libraries {
            nvrtc: guarded("libnvrtc.so", || {
                compile::load().and_then(|()| compile::version())
            }),
            cublas: guarded("libcublas.so", blas::load),
        },
    }
}

fn guarded<T>(
    library: &'static str,
    look: impl FnOnce() -> Result<T, CudaError> + std::panic::UnwindSafe,
) -> Result<T, CudaError> {
    catch_unwind(look).unwrap_or(Err(CudaError::NoLibrary { library }))
}

fn device(number: u32) -> Result<FoundDevice, CudaError> {
    let card = Card::get(number)?;
    Ok(FoundDevice {
        name: card.name()?,
        capability: (card.attribute(Attribute::Major)? * 10 + card.attribute(Attribute::Minor)?)
            as u32,
        memory: card.memory()?,
        gpu_direct: card.attribute(Attribute::GpuDirect)? != 0,
        dma_buf: card.attribute(Attribute::DmaBuf)? != 0,
    })
}

impl FoundDevice {
    /// The way of its KV, beside network cards that are there or not.
    #[must_use]
    pub fn way(&self, card: bool) -> Choice {
        direct::choose(Facts {
            card,
            gpu_direct: self.gpu_direct,
            dma_buf: self.dma_buf,
            // Only registering tells; until then it is assumed.
            card_dma_buf: card,
            peer_memory: direct::peer_memory_loaded(),
        })
    }
}

impl fmt::Display for FoundDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (major, minor) = (self.capability / 10, self.capability % 10);
        let memory = self.memory >> 20;
        let yes = |is| if is { "yes" } else { "no" };
        write!(
            f,
            "{}, compute capability {major}.{minor}, {memory} MiB, GPUDirect RDMA: {}, dma-buf: {}",
            self.name,
            yes(self.gpu_direct),
            yes(self.dma_buf)
        )
    }
}

impl Found {
    /// A line each; `card`: there are RDMA devices.
    #[must_use]
    pub fn lines(&self, card: bool) -> Vec<String> {
        let mut lines = Vec::new();
        match &self.driver {
            Err(error) => lines.push(format!("CUDA: {error}; the engine `cpu` is used")),
            Ok((version, devices)) => {
                let (major, minor) = (version / 1000, version % 1000 / 10);
                match devices.len() {
                    0 => lines.push(format!(
                        "CUDA: driver {major}.{minor}, no device; the engine `cpu` is used"
                    )),
                    count => lines.push(format!("CUDA: driver {major}.{minor}, devices: {count}")),
                }
                for (number, device) in devices.iter().enumerate() {
                    lines.push(format!(
                        "CUDA device {number}: {device}; KV goes by {}",
                        device.way(card)
                    ));
                }
            }
        }
        lines.push(match &self.libraries.nvrtc {
            Ok((major, minor)) => format!("NVRTC: {major}.{minor}"),
            Err(error) => format!("NVRTC: {error}; the engine `cuda` needs it"),
        });
        lines.push(match &self.libraries.cublas {
            Ok(()) => "cuBLAS: found".into(),
            Err(error) => format!("cuBLAS: {error}; only `products = \"cublas\"` needs it"),
        });
        lines
    }

    /// True if the engine can be started.
    #[must_use]
    pub fn usable(&self) -> bool {
        self.libraries.nvrtc.is_ok()
            && self
                .driver
                .as_ref()
                .is_ok_and(|(_, devices)| !devices.is_empty())
    }
}
