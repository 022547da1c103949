//! cuBLAS: products that are fast, and whose rows may depend on the batch.
//!
//! `CUBLAS_PEDANTIC_MATH` keeps products in 32 bits (no TF32), but not their order: the library chooses a kernel, and
//! how the sum is split, by the sizes, the number of rows among them. NVIDIA promises equal results for equal calls on
//! equal hardware, not for equal rows in different batches.

use super::driver::{CudaError, Result, Stream};
use super::kernels::Product;
use super::library;
use cudarc::cublas::{result, sys};

const LIBRARY: &str = "libcublas.so";

const FUNCTIONS: [&str; 5] = [
    "cublasCreate_v2",
    "cublasDestroy_v2",
    "cublasSetMathMode",
    "cublasSetStream_v2",
    "cublasSgemm_v2",
];

/// A handle of cuBLAS, for one stream.
pub(super) struct Blas(sys::cublasHandle_t);

// SAFETY: a handle may be used by one thread at a time, whichever that is; calls need `&mut self`.
#[expect(unsafe_code, reason = "a handle that moves between threads")]
unsafe impl Send for Blas {}

fn call<T>(doing: &'static str, result: std::result::Result<T, result::CublasError>) -> Result<T> {
    result.map_err(|error| CudaError::Call {
        doing,
        name: format!("{:?}", error.0),
    })
}

/// Is cuBLAS here, with all that is needed of it?
#[expect(unsafe_code, reason = "looks functions up by name")]
pub(super) fn load() -> Result<()> {
    // SAFETY: loading the library runs its initialisers, which is what the library is for.
    let present = unsafe { sys::is_culib_present() };
    library::check(LIBRARY, present, &FUNCTIONS, |function| {
        // SAFETY: the library is present.
        let library = unsafe { sys::culib() };
        // SAFETY: only whether the symbol exists is asked; the type that it is given is never used.
        unsafe { library.get::<unsafe extern "C" fn()>(function.as_bytes()) }.is_ok()
    })
}

impl Blas {
    /// A handle on the stream's device; that device is the thread's current one.
    #[expect(unsafe_code, reason = "calls of cuBLAS")]
    pub(super) fn new(stream: &Stream) -> Result<Self> {
        load()?;
        stream.synchronize()?;
        let handle = Self(call("starting cuBLAS", result::create_handle())?);
        // SAFETY: the handle is alive, and its owner keeps the stream as long as it.
        call("giving cuBLAS its stream", unsafe {
            result::set_stream(handle.0, stream.raw().cast())
        })?;
        // SAFETY: the handle is alive.
        let set =
            unsafe { sys::cublasSetMathMode(handle.0, sys::cublasMath_t::CUBLAS_PEDANTIC_MATH) };
        call("setting cuBLAS's precision", set.result())?;
        Ok(handle)
    }

    /// out = x times matrix. cuBLAS thinks in columns: what is [row][number] here is its [number][row].
    #[expect(unsafe_code, reason = "a call of cuBLAS")]
    pub(super) fn product(&mut self, product: &Product<'_>) -> Result<()> {
        product.check();
        let (one, zero) = (1.0_f32, 0.0_f32);
        let none = sys::cublasOperation_t::CUBLAS_OP_N;
        let [rows, inputs, outputs] =
            [product.rows, product.inputs, product.outputs].map(|size| size as i32);
        // SAFETY: the three matrices have the sizes that are named, which `check` has seen to.
        let called = unsafe {
            result::sgemm(
                self.0,
                none,
                none,
                outputs,
                rows,
                inputs,
                &one,
                product.matrix.address() as *const f32,
                outputs,
                product.x.address() as *const f32,
                inputs,
                &zero,
                product.out.address() as *mut f32,
                outputs,
            )
        };
        call("a product by cuBLAS", called)
    }
}

impl Drop for Blas {
    #[expect(unsafe_code, reason = "a call of cuBLAS")]
    fn drop(&mut self) {
        // SAFETY: made once, destroyed once.
        let _ = unsafe { result::destroy_handle(self.0) };
    }
}
