//! CUDA's driver behind types that own what they name.
//!
//! Everything that can go wrong is a [`CudaError`]. cudarc loads the driver's library at the first use and panics if it
//! or one of its functions is missing; so the library and every function that is called here is looked up first
//! ([`Device::open`]), and nobody gets as far as a call without a [`Device`].
//!
//! Memory of a device and pinned memory are reached by copies alone, and are given back only when the device has
//! finished all that it was given: a buffer that is dropped early costs time, not correctness.
//!
//! Not here: which kernels there are and what they are given ([`super::kernels`]).

mod memory;
mod module;
mod stream;

pub use memory::{Buffer, Pinned};
pub(in crate::cuda) use module::{Arg, Function, Module, Shape};
pub use stream::{Event, Stream};

use super::library;
use cudarc::driver::{result, sys};
use std::ffi::CStr;
use std::fmt;
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::Arc;
use thiserror::Error;

/// What CUDA, or a library of it, refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CudaError {
    /// The library is not on this machine.
    #[error(
        "{library} is not found on the loader's path (it comes with the NVIDIA driver or the CUDA toolkit)"
    )]
    NoLibrary {
        /// Its file.
        library: &'static str,
    },
    /// The library is older than what is needed.
    #[error("{library} has no {function}, expected CUDA 11.8 or later")]
    NoFunction {
        /// Its file.
        library: &'static str,
        /// What it lacks.
        function: &'static str,
    },
    /// There is no such device.
    #[error("no device {asked}: the driver has {found}")]
    NoDevice {
        /// Which, from 0.
        asked: u32,
        /// How many there are.
        found: u32,
    },
    /// No memory is left.
    #[error("out of device memory: {asked} bytes for {what}, {free} of {total} bytes free")]
    OutOfMemory {
        /// What for.
        what: &'static str,
        /// Bytes.
        asked: usize,
        /// Bytes.
        free: usize,
        /// Bytes.
        total: usize,
    },
    /// A call failed; after an error of a kernel every later call does.
    #[error("{doing}: {name}")]
    Call {
        /// What was tried.
        doing: &'static str,
        /// CUDA's name of the error.
        name: String,
    },
    /// Kernels could not be compiled.
    #[error("compiling the kernels for {target}: {log}")]
    Compile {
        /// The architecture.
        target: String,
        /// The compiler's first lines.
        log: String,
    },
    /// A setting that cannot be.
    #[error("{what}: {found}, expected {expected}")]
    Setting {
        /// Which.
        what: &'static str,
        /// Its value.
        found: String,
        /// What it should be.
        expected: String,
    },
}

pub(in crate::cuda) type Result<T> = std::result::Result<T, CudaError>;

pub(in crate::cuda) const LIBRARY: &str = "libcuda.so";

/// Every function of the driver that is called.
const FUNCTIONS: [&str; 32] = [
    "cuCtxSetCurrent",
    "cuCtxSynchronize",
    "cuDeviceGet",
    "cuDeviceGetAttribute",
    "cuDeviceGetCount",
    "cuDeviceGetName",
    "cuDevicePrimaryCtxRelease_v2",
    "cuDevicePrimaryCtxRetain",
    "cuDeviceTotalMem_v2",
    "cuDriverGetVersion",
    "cuEventCreate",
    "cuEventDestroy_v2",
    "cuEventRecord",
    "cuEventSynchronize",
    "cuGetErrorName",
    "cuInit",
    "cuLaunchKernel",
    "cuMemAlloc_v2",
    "cuMemFreeHost",
    "cuMemFree_v2",
    "cuMemGetHandleForAddressRange",
    "cuMemGetInfo_v2",
    "cuMemHostAlloc",
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpyHtoDAsync_v2",
    "cuModuleGetFunction",
    "cuModuleLoadData",
    "cuModuleUnload",
    "cuStreamCreate",
    "cuStreamDestroy_v2",
    "cuStreamSynchronize",
    "cuStreamWaitEvent",
];

/// Turns an error of the driver into ours.
fn check<T>(doing: &'static str, result: std::result::Result<T, result::DriverError>) -> Result<T> {
    result.map_err(|error| CudaError::Call {
        doing,
        name: name(error),
    })
}

fn name(error: result::DriverError) -> String {
    error.error_name().map_or_else(
        |_| format!("{:?}", error.0),
        |name: &CStr| name.to_string_lossy().into_owned(),
    )
}

/// Is the driver here, with all that is needed of it?
#[expect(unsafe_code, reason = "looks functions up by name")]
pub(in crate::cuda) fn load() -> Result<()> {
    // SAFETY: loading the library runs its initialisers, which is what the library is for.
    let present = unsafe { sys::is_culib_present() };
    library::check(LIBRARY, present, &FUNCTIONS, |function| {
        // SAFETY: the library is present.
        let library = unsafe { sys::culib() };
        // SAFETY: only whether the symbol exists is asked; the type that it is given is never used.
        unsafe { library.get::<unsafe extern "C" fn()>(function.as_bytes()) }.is_ok()
    })?;
    match result::init() {
        Err(error) if error.0 == sys::CUresult::CUDA_ERROR_NO_DEVICE => {
            Err(CudaError::NoDevice { asked: 0, found: 0 })
        }
        started => check("starting the driver", started),
    }
}

/// The driver's version, 12040 being 12.4. Only after [`load`].
#[expect(unsafe_code, reason = "a call of the driver")]
pub(in crate::cuda) fn version() -> Result<i32> {
    let mut version = 0;
    // SAFETY: the driver writes one integer.
    check(
        "asking the driver's version",
        unsafe { sys::cuDriverGetVersion(&mut version) }.result(),
    )?;
    Ok(version)
}

/// How many devices there are. Only after [`load`].
pub(in crate::cuda) fn count() -> Result<u32> {
    match result::device::get_count() {
        Ok(count) => Ok(count as u32),
        Err(error) if error.0 == sys::CUresult::CUDA_ERROR_NO_DEVICE => Ok(0),
        Err(error) => check("counting devices", Err(error)),
    }
}

/// What is asked of a device; numbers as of `cuda.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cuda) enum Attribute {
    Major,
    Minor,
    GpuDirect,
    DmaBuf,
}

impl Attribute {
    const fn number(self) -> sys::CUdevice_attribute {
        use sys::CUdevice_attribute_enum as E;
        match self {
            Self::Major => E::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
            Self::Minor => E::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
            Self::GpuDirect => E::CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_SUPPORTED,
            Self::DmaBuf => E::CU_DEVICE_ATTRIBUTE_DMA_BUF_SUPPORTED,
        }
    }
}

/// A device by its number, without a context.
pub(in crate::cuda) struct Card(sys::CUdevice);

impl Card {
    /// Only after [`load`].
    pub(in crate::cuda) fn get(number: u32) -> Result<Self> {
        let found = count()?;
        if number >= found {
            return Err(CudaError::NoDevice {
                asked: number,
                found,
            });
        }
        Ok(Self(check(
            "opening the device",
            result::device::get(number as i32),
        )?))
    }

    pub(in crate::cuda) fn name(&self) -> Result<String> {
        check("asking the device's name", result::device::get_name(self.0))
    }

    #[expect(unsafe_code, reason = "a call of the driver")]
    pub(in crate::cuda) fn memory(&self) -> Result<usize> {
        // SAFETY: the device came from the driver.
        check("asking the device's memory", unsafe {
            result::device::total_mem(self.0)
        })
    }

    #[expect(unsafe_code, reason = "a call of the driver")]
    pub(in crate::cuda) fn attribute(&self, attribute: Attribute) -> Result<i32> {
        // SAFETY: the device came from the driver.
        check("asking the device", unsafe {
            result::device::get_attribute(self.0, attribute.number())
        })
    }
}

/// A device with its context. Handles are shared; the last one releases it.
#[derive(Clone)]
pub struct Device(Arc<Context>);

struct Context {
    card: Card,
    context: sys::CUcontext,
    number: u32,
}

// SAFETY: a context may be current in any number of threads; each call makes it current in its own first.
#[expect(unsafe_code, reason = "a handle that the driver lets threads share")]
unsafe impl Send for Context {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "a handle that the driver lets threads share")]
unsafe impl Sync for Context {}

impl Drop for Context {
    #[expect(unsafe_code, reason = "a call of the driver")]
    fn drop(&mut self) {
        // SAFETY: retained once, in `open`. An error leaves the context to the end of the process.
        let _ = unsafe { result::primary_ctx::release(self.card.0) };
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Device({})", self.0.number)
    }
}

impl Device {
    /// Opens a device, from 0.
    #[expect(unsafe_code, reason = "a call of the driver")]
    pub fn open(number: u32) -> Result<Self> {
        load()?;
        let card = Card::get(number)?;
        // SAFETY: the device came from the driver; released when dropped.
        let context = check("making a context", unsafe {
            result::primary_ctx::retain(card.0)
        })?;
        Ok(Self(Arc::new(Context {
            card,
            context,
            number,
        })))
    }

    /// Makes the device the one that this thread's calls are about.
    #[expect(unsafe_code, reason = "a call of the driver")]
    fn enter(&self) -> Result<()> {
        // SAFETY: the context is alive as long as `self`.
        check("entering the context", unsafe {
            result::ctx::set_current(self.0.context)
        })
    }

    /// Its compute capability, 90 being 9.0.
    pub fn capability(&self) -> Result<u32> {
        let major = self.0.card.attribute(Attribute::Major)?;
        let minor = self.0.card.attribute(Attribute::Minor)?;
        Ok((major * 10 + minor) as u32)
    }

    pub(in crate::cuda) fn attribute(&self, attribute: Attribute) -> Result<i32> {
        self.0.card.attribute(attribute)
    }

    /// Bytes that are free, and all.
    pub fn memory(&self) -> Result<(usize, usize)> {
        self.enter()?;
        check("asking for free memory", result::mem_get_info())
    }

    /// Waits until the device has nothing left to do.
    pub fn synchronize(&self) -> Result<()> {
        self.enter()?;
        check("waiting for the device", result::ctx::synchronize())
    }

    /// A handle of device memory that a network card's driver can map.
    #[expect(unsafe_code, reason = "a call of the driver")]
    pub(in crate::cuda) fn export(&self, address: u64, bytes: usize) -> Result<OwnedFd> {
        self.enter()?;
        let mut handle: i32 = -1;
        // SAFETY: the driver checks address and size against its own allocations, and writes one descriptor.
        let exported = unsafe {
            sys::cuMemGetHandleForAddressRange(
                std::ptr::from_mut(&mut handle).cast(),
                address,
                bytes,
                sys::CUmemRangeHandleType::CU_MEM_RANGE_HANDLE_TYPE_DMA_BUF_FD,
                0,
            )
        };
        check("exporting the pool as dma-buf", exported.result())?;
        // SAFETY: the driver has opened it for us, and nobody else has it.
        Ok(unsafe { OwnedFd::from_raw_fd(handle) })
    }
}
