//! Memory: of a device, and of the host where devices reach it by themselves.

use super::{CudaError, Device, Result, check};
use cudarc::driver::{result, sys};

/// Memory of a device, from `cuMemAlloc`: from the driver's pools for streams it could not be exported.
#[derive(Debug)]
pub struct Buffer {
    device: Device,
    address: sys::CUdeviceptr,
    bytes: usize,
}

impl Buffer {
    /// At least one byte; what is in it is left from others.
    #[expect(unsafe_code, reason = "a call of the driver")]
    pub fn new(device: &Device, bytes: usize, what: &'static str) -> Result<Self> {
        device.enter()?;
        // SAFETY: nothing is read before it is written: kernels and copies see to it, and it is only numbers.
        let allocated = unsafe { result::malloc_sync(bytes.max(1)) };
        let address = match allocated {
            Ok(address) => address,
            Err(error) if error.0 == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => {
                let (free, total) = device.memory()?;
                return Err(CudaError::OutOfMemory {
                    what,
                    asked: bytes,
                    free,
                    total,
                });
            }
            Err(error) => return check("allocating device memory", Err(error)),
        };
        Ok(Self {
            device: device.clone(),
            address,
            bytes,
        })
    }

    /// Where it is for the device.
    #[must_use]
    pub const fn address(&self) -> u64 {
        self.address
    }

    /// Its size.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Its device.
    #[must_use]
    pub const fn device(&self) -> &Device {
        &self.device
    }
}

impl Drop for Buffer {
    #[expect(unsafe_code, reason = "a call of the driver")]
    fn drop(&mut self) {
        // Nothing that uses it may be under way. After an error of the device nothing is, and freeing fails, too: the
        // memory goes with the process.
        let _ = self.device.synchronize();
        // SAFETY: allocated in `new`, freed once.
        let _ = unsafe { result::free_sync(self.address) };
    }
}

/// Memory of the host that does not move, which devices copy to and from by themselves.
#[derive(Debug)]
pub struct Pinned {
    device: Device,
    start: *mut u8,
    bytes: usize,
}

// SAFETY: it owns its memory, and is reached through `&mut self` or copies of bytes.
#[expect(unsafe_code, reason = "an owned allocation")]
unsafe impl Send for Pinned {}

impl Pinned {
    /// At least one byte, zeros.
    #[expect(unsafe_code, reason = "a call of the driver")]
    pub fn new(device: &Device, bytes: usize) -> Result<Self> {
        device.enter()?;
        // SAFETY: zeroed below, before anybody sees it.
        let start = check("allocating pinned memory", unsafe {
            result::malloc_host(bytes.max(1), 0)
        })?;
        let start = start.cast::<u8>();
        // SAFETY: the driver gave at least `bytes` bytes.
        unsafe { start.write_bytes(0, bytes.max(1)) };
        Ok(Self {
            device: device.clone(),
            start,
            bytes,
        })
    }

    /// Its size.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The device that it was allocated with.
    #[must_use]
    pub const fn device(&self) -> &Device {
        &self.device
    }

    /// Where it is; for copies by the device.
    pub(super) const fn start(&self) -> *mut u8 {
        self.start
    }

    /// What is in it. Call it when no copy into it is under way: what is read then is old or new bytes.
    #[expect(unsafe_code, reason = "memory that the driver allocated")]
    #[must_use]
    pub fn read(&self) -> &[u8] {
        // SAFETY: allocated and initialised in `new`.
        unsafe { std::slice::from_raw_parts(self.start, self.bytes) }
    }

    /// To be filled. Call it when no copy out of it is under way.
    #[expect(unsafe_code, reason = "memory that the driver allocated")]
    pub fn write(&mut self) -> &mut [u8] {
        // SAFETY: allocated and initialised in `new`; borrowed from `&mut self`.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.bytes) }
    }
}

impl Drop for Pinned {
    #[expect(unsafe_code, reason = "a call of the driver")]
    fn drop(&mut self) {
        let _ = self.device.synchronize();
        // SAFETY: allocated in `new`, freed once.
        let _ = unsafe { result::free_host(self.start.cast()) };
    }
}
