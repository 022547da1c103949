//! The kernels as machine code: compiled by NVRTC at start, and kept in a folder.
//!
//! A device gets machine code of its own architecture where the compiler knows it: nothing depends then on which PTX
//! the driver takes. A device that is younger than the compiler gets PTX of the latest architecture that it knows. The
//! options are part of the arithmetic: nothing is fused, flushed or approximated.
//!
//! What is kept is named by the digest of sources and options, the architecture and the compiler's version, and begins
//! with its own digest: a file that is damaged, or cannot be written, costs compiling again and nothing else.

use super::driver::{CudaError, Result};
use super::library;
use conductor_core::digest::Digest;
use cudarc::nvrtc::{result, sys};
use std::ffi::{CStr, CString, c_char};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// What is compiled, in this order, as one text.
const SOURCES: [&str; 6] = [
    include_str!("kernels/common.cuh"),
    include_str!("kernels/rows.cu"),
    include_str!("kernels/product.cu"),
    include_str!("kernels/paged.cu"),
    include_str!("kernels/attention.cu"),
    include_str!("kernels/sampling.cu"),
];

/// No fused multiply-add, numbers below the normal ones kept, division and square root of IEEE.
const OPTIONS: [&str; 5] = [
    "--std=c++17",
    "--fmad=false",
    "--ftz=false",
    "--prec-div=true",
    "--prec-sqrt=true",
];

const LIBRARY: &str = "libnvrtc.so";

/// Every function of NVRTC that is called.
const FUNCTIONS: [&str; 12] = [
    "nvrtcCompileProgram",
    "nvrtcCreateProgram",
    "nvrtcDestroyProgram",
    "nvrtcGetCUBIN",
    "nvrtcGetCUBINSize",
    "nvrtcGetNumSupportedArchs",
    "nvrtcGetPTX",
    "nvrtcGetPTXSize",
    "nvrtcGetProgramLog",
    "nvrtcGetProgramLogSize",
    "nvrtcGetSupportedArchs",
    "nvrtcVersion",
];

/// What is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Machine code of this architecture, 90 being sm_90.
    Machine(u32),
    /// PTX of this architecture, for a device that is younger than the compiler.
    Portable(u32),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Machine(capability) => write!(f, "sm_{capability}"),
            Self::Portable(capability) => write!(f, "compute_{capability}"),
        }
    }
}

/// What a device of this compute capability gets from a compiler that knows `supported`; `None` if it is older than
/// all.
#[must_use]
pub fn target(capability: u32, supported: &[u32]) -> Option<Target> {
    if supported.contains(&capability) {
        return Some(Target::Machine(capability));
    }
    let below = supported
        .iter()
        .copied()
        .filter(|&known| known < capability);
    below.max().map(Target::Portable)
}

/// Compiled kernels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// What for.
    pub target: Target,
    /// A cubin, or PTX with a zero byte at its end.
    pub bytes: Vec<u8>,
    /// True if it was not compiled now.
    pub kept: bool,
}

impl Image {
    /// The kernels for a device of this compute capability; from `folder` if they are there, else left there.
    pub fn get(capability: u32, folder: Option<&Path>) -> Result<Self> {
        let supported = supported()?;
        let target = target(capability, &supported).ok_or_else(|| CudaError::Setting {
            what: "compute capability of the device",
            found: capability.to_string(),
            expected: format!("one that NVRTC compiles for: {supported:?}"),
        })?;
        let file = match folder {
            Some(folder) => Some(folder.join(name(target)?)),
            None => None,
        };
        if let Some(bytes) = file.as_deref().and_then(kept) {
            return Ok(Self {
                target,
                bytes,
                kept: true,
            });
        }
        let image = Self::compile(target)?;
        if let Some(file) = file {
            keep(&file, &image.bytes);
        }
        Ok(image)
    }

    /// Compiles them now. No device is needed.
    pub fn compile(target: Target) -> Result<Self> {
        load()?;
        let text = CString::new(SOURCES.concat()).expect("sources without zero bytes");
        let program = result::create_program(&text, Some(c"conductor.cu"));
        let program = Program(call("handing the kernels to NVRTC", program)?);
        let mut options = vec![format!("--gpu-architecture={target}")];
        options.extend(OPTIONS.map(String::from));
        #[expect(unsafe_code, reason = "a call of NVRTC")]
        // SAFETY: the program is alive.
        let compiled = unsafe { result::compile_program(program.0, &options) };
        if compiled.is_err() {
            return Err(CudaError::Compile {
                target: target.to_string(),
                log: program.log(),
            });
        }
        Ok(Self {
            target,
            bytes: program.image(target)?,
            kept: false,
        })
    }

    /// The folder in which kernels are kept if nothing else is said: of the user's cache.
    #[must_use]
    pub fn folder() -> Option<PathBuf> {
        let set = |name| {
            std::env::var_os(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let cache =
            set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")))?;
        Some(cache.join("conductor/kernels"))
    }
}

/// A program that is destroyed at its end.
struct Program(sys::nvrtcProgram);

impl Drop for Program {
    #[expect(unsafe_code, reason = "a call of NVRTC")]
    fn drop(&mut self) {
        // SAFETY: made once, destroyed once.
        let _ = unsafe { result::destroy_program(self.0) };
    }
}

impl Program {
    #[expect(unsafe_code, reason = "calls of NVRTC")]
    fn image(&self, target: Target) -> Result<Vec<u8>> {
        const DOING: &str = "taking the kernels from NVRTC";
        let mut size = 0_usize;
        // SAFETY: the program is alive and compiled; a size is written.
        let asked = unsafe {
            match target {
                Target::Machine(_) => sys::nvrtcGetCUBINSize(self.0, &mut size),
                Target::Portable(_) => sys::nvrtcGetPTXSize(self.0, &mut size),
            }
        };
        call(DOING, asked.result())?;
        let mut bytes = vec![0_u8; size];
        let to = bytes.as_mut_ptr().cast::<c_char>();
        // SAFETY: as above; there is room for as many bytes as were announced.
        let taken = unsafe {
            match target {
                Target::Machine(_) => sys::nvrtcGetCUBIN(self.0, to),
                Target::Portable(_) => sys::nvrtcGetPTX(self.0, to),
            }
        };
        call(DOING, taken.result())?;
        Ok(bytes)
    }

    /// The first lines of what the compiler says.
    #[expect(unsafe_code, reason = "a call of NVRTC")]
    fn log(&self) -> String {
        // SAFETY: the program is alive.
        let log = unsafe { result::get_program_log(self.0) }.unwrap_or_default();
        let bytes: Vec<u8> = log.into_iter().map(|byte| byte as u8).collect();
        let text = CStr::from_bytes_until_nul(&bytes)
            .map(CStr::to_string_lossy)
            .unwrap_or_default();
        text.lines().take(3).collect::<Vec<_>>().join("; ")
    }
}

fn call<T>(doing: &'static str, result: std::result::Result<T, result::NvrtcError>) -> Result<T> {
    result.map_err(|error| CudaError::Call {
        doing,
        name: error.to_string(),
    })
}

/// Is NVRTC here, with all that is needed of it?
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

/// NVRTC's version. Only after [`load`].
#[expect(unsafe_code, reason = "a call of NVRTC")]
pub(super) fn version() -> Result<(i32, i32)> {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: two integers are written.
    call(
        "asking NVRTC's version",
        unsafe { sys::nvrtcVersion(&mut major, &mut minor) }.result(),
    )?;
    Ok((major, minor))
}

/// The architectures that NVRTC compiles for, in order.
#[expect(unsafe_code, reason = "calls of NVRTC")]
fn supported() -> Result<Vec<u32>> {
    load()?;
    let mut count = 0;
    // SAFETY: one integer is written.
    call(
        "asking NVRTC for architectures",
        unsafe { sys::nvrtcGetNumSupportedArchs(&mut count) }.result(),
    )?;
    let mut known = vec![0; count.max(0) as usize];
    // SAFETY: as many integers are written as were announced.
    let asked = unsafe { sys::nvrtcGetSupportedArchs(known.as_mut_ptr()) };
    call("asking NVRTC for architectures", asked.result())?;
    Ok(known.into_iter().map(|known| known as u32).collect())
}

/// The name of the file for a target.
fn name(target: Target) -> Result<String> {
    let (major, minor) = version()?;
    let mut text = SOURCES.concat();
    text.push_str(&OPTIONS.concat());
    Ok(format!(
        "{}-{target}-nvrtc{major}.{minor}",
        digest(text.as_bytes())
    ))
}

/// In 32 letters.
fn digest(bytes: &[u8]) -> String {
    let mut digest = Digest::default();
    digest.word(bytes.len() as u64);
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        digest.word(u64::from_le_bytes(word));
    }
    digest.to_string()
}

/// What the file has, if it is whole.
fn kept(file: &Path) -> Option<Vec<u8>> {
    let all = fs::read(file).ok()?;
    let (sum, bytes) = all.split_first_chunk::<32>()?;
    (sum == digest(bytes).as_bytes()).then(|| bytes.to_vec())
}

/// Leaves a file that others see whole or not at all; that it cannot is no error.
fn keep(file: &Path, bytes: &[u8]) {
    let mut all = digest(bytes).into_bytes();
    all.extend_from_slice(bytes);
    let own = file.with_extension(format!("{}.part", std::process::id()));
    let written = file
        .parent()
        .is_some_and(|folder| fs::create_dir_all(folder).is_ok())
        && fs::write(&own, all).is_ok();
    if !written || fs::rename(&own, file).is_err() {
        let _ = fs::remove_file(&own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_gets_its_own_code_or_the_latest_that_it_understands() {
        let known = [80, 86, 90, 100];
        assert_eq!(target(90, &known), Some(Target::Machine(90)));
        assert_eq!(target(103, &known), Some(Target::Portable(100)));
        assert_eq!(target(89, &known), Some(Target::Portable(86)));
        assert_eq!(target(75, &known), None);
        assert_eq!(Target::Portable(86).to_string(), "compute_86");
    }

    #[test]
    fn a_kept_file_is_whole_or_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("below/kernels-1.0");
        keep(&file, b"machine code");
        assert_eq!(kept(&file).as_deref(), Some(b"machine code".as_slice()));
        let mut bytes = fs::read(&file).expect("a file");
        bytes.pop();
        fs::write(&file, bytes).expect("written");
        assert_eq!(kept(&file), None);
        let others = fs::read_dir(folder.path().join("below"))
            .expect("a folder")
            .count();
        assert_eq!(others, 1, "nothing is left lying");
    }
}
