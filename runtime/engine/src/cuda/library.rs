//! Is a library of CUDA here, with all functions that are needed of it?
//!
//! cudarc panics at the first call of a library or function that is missing, so both are asked for before any call.

use super::CudaError;
use super::driver::Result;

/// Checks that `library` is `present` and `has` each of `functions`; `has` is asked only if the library is present.
pub(super) fn check(
    library: &'static str,
    present: bool,
    functions: &[&'static str],
    has: impl Fn(&'static str) -> bool,
) -> Result<()> {
    if !present {
        return Err(CudaError::NoLibrary { library });
    }
    match functions.iter().find(|&&function| !has(function)) {
        None => Ok(()),
        Some(&function) => Err(CudaError::NoFunction { library, function }),
    }
}
