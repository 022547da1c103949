//! Loaded machine code and its launches.

use super::{Device, Result, Stream, check};
use cudarc::driver::{result, sys};
use std::ffi::{CString, c_void};
use std::sync::Arc;

/// Machine code on a device.
pub(in crate::cuda) struct Module {
    device: Device,
    module: sys::CUmodule,
}

// SAFETY: modules belong to the context, which threads share.
#[expect(unsafe_code, reason = "a handle that the driver lets threads share")]
unsafe impl Send for Module {}
// SAFETY: as above.
#[expect(unsafe_code, reason = "a handle that the driver lets threads share")]
unsafe impl Sync for Module {}

impl Module {
    /// Loads an image of NVRTC's: a cubin, or PTX that ends with a zero byte.
    #[expect(unsafe_code, reason = "a call of the driver")]
    pub(in crate::cuda) fn load(device: &Device, image: &[u8]) -> Result<Arc<Self>> {
        device.enter()?;
        // SAFETY: the image is NVRTC's own output, whole; the driver checks its format.
        let module = unsafe { result::module::load_data(image.as_ptr().cast()) };
        Ok(Arc::new(Self {
            device: device.clone(),
            module: check("loading the kernels", module)?,
        }))
    }

    /// A kernel by its name.
    #[expect(unsafe_code, reason = "a call of the driver")]
    pub(in crate::cuda) fn function(self: &Arc<Self>, name: &'static str) -> Result<Function> {
        self.device.enter()?;
        let c_name = CString::new(name).expect("a name without zeros");
        // SAFETY: the module is loaded.
        let function = unsafe { result::module::get_function(self.module, c_name) };
        Ok(Function {
            module: Arc::clone(self),
            function: check(name, function)?,
            name,
        })
    }
}

impl Drop for Module {
    #[expect(unsafe_code, reason = "a call of the driver")]
    fn drop(&mut self) {
        let _ = self.device.synchronize();
        // SAFETY: loaded once, unloaded once, when no kernel of it runs.
        let _ = unsafe { result::module::unload(self.module) };
    }
}

/// A kernel.
pub(in crate::cuda) struct Function {
    module: Arc<Module>,
    function: sys::CUfunction,
    name: &'static str,
}

// SAFETY: functions belong to their module.
#[expect(unsafe_code, reason = "a handle that the driver lets threads share")]
unsafe impl Send for Function {}

/// What a kernel is given.
#[derive(Clone, Copy, Debug)]
pub(in crate::cuda) enum Arg {
    /// An address of the device, or a 64-bit number.
    Wide(u64),
    /// A 32-bit number.
    Word(u32),
    /// A float.
    Float(f32),
}

/// How many threads, in which order, with how much shared memory.
#[derive(Clone, Copy, Debug)]
pub(in crate::cuda) struct Shape {
    /// Blocks.
    pub(in crate::cuda) grid: (usize, usize),
    /// Threads of a block.
    pub(in crate::cuda) threads: usize,
    /// Numbers of shared memory.
    pub(in crate::cuda) shared: usize,
}

impl Function {
    /// Starts the kernel. An empty grid is nothing to do.
    ///
    /// Sizes must be those that the kernel's source names, which is for [`super::super::kernels`] to see to: an address
    /// that is not the device's is an error of the device, not of this process.
    #[expect(unsafe_code, reason = "a call of the driver")]
    pub(in crate::cuda) fn launch(
        &self,
        stream: &Stream,
        shape: Shape,
        args: &[Arg],
    ) -> Result<()> {
        let Shape {
            grid: (x, y),
            threads,
            shared,
        } = shape;
        if x == 0 || y == 0 {
            return Ok(());
        }
        self.module.device.enter()?;
        let mut pointers: Vec<*mut c_void> = args
            .iter()
            .map(|arg| match arg {
                Arg::Wide(number) => std::ptr::from_ref(number).cast_mut().cast(),
                Arg::Word(number) => std::ptr::from_ref(number).cast_mut().cast(),
                Arg::Float(number) => std::ptr::from_ref(number).cast_mut().cast(),
            })
            .collect();
        // SAFETY: arguments have the types of the kernel's source and are copied by the call; the device checks
        // addresses by itself.
        let launched = unsafe {
            result::launch_kernel(
                self.function,
                (x as u32, y as u32, 1),
                (threads as u32, 1, 1),
                (shared * size_of::<f32>()) as u32,
                stream.raw(),
                &mut pointers,
            )
        };
        check(self.name, launched)
    }
}
