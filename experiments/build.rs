//! Digests the sources that decide what a run gives, for the keys under which runs are kept.
//!
//! Whole crates are taken, with their built-in profiles and workloads and the versions of what they depend on, rather
//! than a list of files that somebody must remember to extend: a digest that changes too often costs a run, one that
//! does not change costs the truth. Not here: specifications, published values, drawing; they decide no run.

use std::fs;
use std::path::{Path, PathBuf};

/// What decides runs, from the folder of this crate.
const SOURCES: [&str; 8] = [
    "../core/src",
    "../core/profiles",
    "../sim/src",
    "../traces/src",
    "../traces/workloads",
    "../Cargo.lock",
    "src",
    "build.rs",
];

fn main() {
    let mut digest = Fnv(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d);
    for source in SOURCES {
        println!("cargo::rerun-if-changed={source}");
        for path in files(Path::new(source)) {
            let name = path.to_string_lossy().replace('\\', "/");
            let content = fs::read(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
            for part in [name.as_bytes(), &content] {
                digest.mix(&(part.len() as u64).to_le_bytes());
                digest.mix(part);
            }
        }
    }
    println!("cargo::rustc-env=CONDUCTOR_SOURCES={:032x}", digest.0);
}

/// All files at or below a path, in order; none if there is no such path.
fn files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_path_buf()];
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().flat_map(|path| files(path)).collect()
}

/// FNV-1a of 128 bits: what changes by accident is found.
struct Fnv(u128);

impl Fnv {
    fn mix(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u128::from(*byte)).wrapping_mul(0x0100_0000_0000_0000_0000_013b);
        }
    }
}
