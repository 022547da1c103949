//! Files that are there whole or not at all.
//!
//! A file is written beside its place under a name of its own and then renamed. Whoever is killed, or writes at the
//! same time, leaves no half of it: of two writers the last one wins. What a power cut can still lose is found by
//! whoever reads, where that matters ([`crate::cache`]).

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

/// Tries at a name that nobody else has.
const NAMES_MAX: u32 = 1_000;

/// Writes a file, or leaves what is there.
///
/// # Errors
/// If the folder cannot be written.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    for _ in 0..NAMES_MAX {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mine = path.with_file_name(format!(".{name}.{}-{number}.part", std::process::id()));
        // A process of the same number on another machine may share the folder: whose name it is, the file system
        // says.
        let mut file = match OpenOptions::new().write(true).create_new(true).open(&mine) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
            Err(error) => return Err(error),
        };
        let written = file.write_all(content);
        drop(file);
        let written = written.and_then(|()| fs::rename(&mine, path));
        if written.is_err() {
            let _ = fs::remove_file(&mine);
        }
        return written;
    }
    let message = format!("{NAMES_MAX} names beside it are taken");
    Err(io::Error::new(ErrorKind::AlreadyExists, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("f");
        write_whole(&path, b"one").expect("written");
        write_whole(&path, b"two").expect("written");
        assert_eq!(fs::read(&path).expect("there"), b"two");
        assert_eq!(dir.path().read_dir().expect("a folder").count(), 1);
        assert!(write_whole(&dir.path().join("no/f"), b"").is_err());
    }
}
