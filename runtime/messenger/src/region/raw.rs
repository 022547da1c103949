//! The unsafe code of regions: mapped memory, the copies in and out of it, and the system calls that fill and
//! send it.
//!
//! Memory that other nodes write is never borrowed: no `&[u8]` or `&mut [u8]` of it exists, because a reference
//! promises that nobody else writes. It is touched in three ways only.
//!
//! - **By the kernel** (`readv`, `sendmsg`), which is outside the language's memory model.
//! - **By tearing copies**: inline assembly (`rep movsb`) on x86-64, relaxed atomic bytes elsewhere. A copy that
//!   races with a write gives a mixture of old and new bytes, never undefined behaviour. So every function here is
//!   safe to call, at any time; who may *use* which bytes when is the protocol of [`Region`](super::Region).
//! - **By atomic words** ([`Mapping::word`]), for the few that coordinate processes. A mapping is used for words or
//!   for bytes.
//!
//! Every access is checked against the mapping's bounds here, once more than by those who call: a wrong offset must
//! be a panic, not a write into a stranger's heap.
#![allow(unsafe_code)]

use super::Span;
use rustix::fd::{AsRawFd, BorrowedFd};
use rustix::mm::{MapFlags, ProtFlags};
use std::io;
use std::ptr::{NonNull, null_mut};
use std::sync::atomic::AtomicU64;

/// As many pieces as one system call takes: far below the kernel's 1,024, enough that calls are not what costs.
pub(crate) const PIECES_MAX: usize = 64;

/// A shared mapping of a file in memory, unmapped when it is dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<u8>,
    bytes: usize,
    writable: bool,
}

// SAFETY: a mapping is an address and a length; the memory stays mapped as long as the value lives, on every thread.
unsafe impl Send for Mapping {}
// SAFETY: all accesses are system calls, tearing copies or atomics, which may race (see the header).
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `bytes` (not zero) of `file` from its beginning; `populate` takes the page faults now.
    pub(crate) fn new(
        file: BorrowedFd<'_>,
        bytes: usize,
        writable: bool,
        populate: bool,
    ) -> io::Result<Self> {
        let protection = match writable {
            true => ProtFlags::READ | ProtFlags::WRITE,
            false => ProtFlags::READ,
        };
        let mut flags = MapFlags::SHARED;
        if populate {
            flags |= MapFlags::POPULATE;
        }
        // SAFETY: the kernel chooses an address, so no mapping of anybody else is replaced.
        let base = unsafe { rustix::mm::mmap(null_mut(), bytes, protection, flags, file, 0)? };
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self {
            base,
            bytes,
            writable,
        })
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes as u64
    }

    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// The address of a piece that lies within.
    fn at(&self, piece: Span) -> *mut u8 {
        let inside = piece.end().is_some_and(|end| end <= self.bytes());
        assert!(inside, "{piece:?} is outside of {} bytes", self.bytes);
        // SAFETY: `offset <= bytes`, so the address is within the mapping or just behind it.
        unsafe { self.base.as_ptr().add(piece.offset as usize) }
    }

    /// Copies out. What others write at the same time is torn.
    pub(crate) fn load(&self, offset: u64, into: &mut [u8]) {
        let from = self.at(Span::new(offset, into.len() as u64));
        // SAFETY: both ranges are valid for the length; `into` is exclusive, so they do not overlap.
        unsafe { copy(into.as_mut_ptr(), from, into.len()) }
    }

    /// Copies in. Whoever reads at the same time gets torn bytes.
    pub(crate) fn store(&self, offset: u64, from: &[u8]) {
        assert!(self.writable, "the mapping is read-only");
        let into = self.at(Span::new(offset, from.len() as u64));
        // SAFETY: both ranges are valid for the length. `from` cannot be of this memory, which is never borrowed.
        unsafe { copy(into, from.as_ptr(), from.len()) }
    }

    /// Copies `bytes` from another mapping, or from another place of this one; overlapping ranges give any mixture.
    pub(crate) fn copy(&self, offset: u64, from: &Self, from_offset: u64, bytes: u64) {
        assert!(self.writable, "the mapping is read-only");
        let into = self.at(Span::new(offset, bytes));
        let from = from.at(Span::new(from_offset, bytes));
        // SAFETY: both ranges are valid for the length; forwards bytewise copies of overlapping ranges are defined.
        unsafe { copy(into, from, bytes as usize) }
    }

    /// One of the mapping's 64-bit words, shared with whoever else maps it.
    pub(crate) fn word(&self, index: usize) -> &AtomicU64 {
        assert!(self.writable, "the mapping is read-only");
        let address = self.at(Span::new(index as u64 * 8, 8));
        // SAFETY: in bounds, aligned (the base is aligned to a page), alive as long as `self`, and only ever an atomic.
        unsafe { AtomicU64::from_ptr(address.cast()) }
    }

    /// Receives into the pieces, in order, at most [`PIECES_MAX`] of them; zero bytes are the end of the stream.
    pub(crate) fn receive(&self, socket: BorrowedFd<'_>, pieces: &[Span]) -> io::Result<usize> {
        assert!(self.writable, "the mapping is read-only");
        let mut vectors = [EMPTY; PIECES_MAX];
        let vectors = self.vectors(pieces, &mut vectors);
        // SAFETY: the descriptor is open; each vector is memory of this mapping.
        let got = unsafe {
            libc::readv(
                socket.as_raw_fd(),
                vectors.as_ptr(),
                vectors.len() as libc::c_int,
            )
        };
        usize::try_from(got).map_err(|_| io::Error::last_os_error())
    }

    /// Sends `head` and behind it the pieces, at most `PIECES_MAX - 1` of them; says how many bytes went.
    pub(crate) fn send(
        &self,
        socket: BorrowedFd<'_>,
        head: &[u8],
        pieces: &[Span],
    ) -> io::Result<usize> {
        let mut vectors = [EMPTY; PIECES_MAX];
        vectors[0] = libc::iovec {
            iov_base: head.as_ptr().cast_mut().cast(),
            iov_len: head.len(),
        };
        let count = 1 + self.vectors(pieces, &mut vectors[1..]).len();
        // SAFETY: all zero is a valid message: no address, no control data.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_iov = vectors.as_mut_ptr();
        message.msg_iovlen = count as _;
        // SAFETY: the descriptor is open; the vectors are `head` and memory of this mapping, which are only read.
        let sent =
            unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    fn vectors<'a>(&self, pieces: &[Span], into: &'a mut [libc::iovec]) -> &'a [libc::iovec] {
        assert!(pieces.len() <= into.len(), "too many pieces for one call");
        for (vector, &piece) in into.iter_mut().zip(pieces) {
            vector.iov_base = self.at(piece).cast();
            vector.iov_len = piece.bytes as usize;
        }
        &into[..pieces.len()]
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this very range was mapped by `new`, and nothing borrows from it.
        let unmapped = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.bytes) };
        debug_assert!(unmapped.is_ok(), "unmapping what was mapped cannot fail");
    }
}

const EMPTY: libc::iovec = libc::iovec {
    iov_base: null_mut(),
    iov_len: 0,
};

/// Copies bytes that others may touch at the same time.
///
/// # Safety
/// Both ranges must be mapped for `bytes`.
#[cfg(all(target_arch = "x86_64", not(miri)))]
unsafe fn copy(into: *mut u8, from: *const u8, bytes: usize) {
    // SAFETY: the caller's. The string instruction is as fast as any loop on processors with ERMS, which all servers
    // are by now; the direction flag is clear by the ABI.
    unsafe {
        std::arch::asm!(
            "rep movsb",
            inout("rcx") bytes => _,
            inout("rdi") into => _,
            inout("rsi") from => _,
            options(nostack, preserves_flags),
        );
    }
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
use portable as copy;

/// The same where there is no assembly: slower, and what tests compare with.
///
/// # Safety
/// Both ranges must be mapped for `bytes`.
#[cfg(any(test, miri, not(target_arch = "x86_64")))]
unsafe fn portable(into: *mut u8, from: *const u8, bytes: usize) {
    use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
    let mut at = 0;
    // Words where both sides are aligned alike, bytes at the ends and everywhere else.
    let aligned = (into as usize) % 8 == (from as usize) % 8;
    while at < bytes {
        // SAFETY: `at` and what is copied are below `bytes`; the words are aligned; all accesses are atomic.
        unsafe {
            let (to, source) = (into.add(at), from.add(at).cast_mut());
            if aligned && (to as usize).is_multiple_of(8) && bytes - at >= 8 {
                let word = AtomicU64::from_ptr(source.cast()).load(Relaxed);
                AtomicU64::from_ptr(to.cast()).store(word, Relaxed);
                at += 8;
            } else {
                let byte = AtomicU8::from_ptr(source).load(Relaxed);
                AtomicU8::from_ptr(to).store(byte, Relaxed);
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_copies_are_copies() {
        let from: Vec<u8> = (0..1000u32).map(|i| (i * 7 % 251) as u8).collect();
        for (start, bytes, shift) in [
            (0, 1000, 0),
            (1, 990, 0),
            (3, 64, 5),
            (0, 0, 0),
            (7, 1, 1),
            (5, 16, 3),
        ] {
            let (mut fast, mut slow) = (vec![0; 1010], vec![0; 1010]);
            // SAFETY: all ranges are within the vectors.
            unsafe {
                copy(
                    fast.as_mut_ptr().add(start + shift),
                    from.as_ptr().add(start),
                    bytes,
                );
                portable(
                    slow.as_mut_ptr().add(start + shift),
                    from.as_ptr().add(start),
                    bytes,
                );
            }
            let mut expected = vec![0; 1010];
            expected[start + shift..start + shift + bytes]
                .copy_from_slice(&from[start..start + bytes]);
            assert_eq!(fast, expected);
            assert_eq!(slow, expected);
        }
    }
}
