//! The memory that KV blocks live in: one region per node, page aligned, in a file that only exists in memory.
//!
//! A memory file (memfd) can be mapped by a neighbour process (`shm`), sent from and received into by the kernel
//! (`tcp`), and pinned for a NIC later. Here a region is bytes with offsets; what a block is, the engine knows.
//!
//! **Who may use which bytes when.** The type cannot know it, so this is a protocol:
//! 1. The owner hands out a range by a [`Grant`](crate::Grant). From then on bytes in it may change at any time if the
//!    grant allows writes.
//! 2. The owner does not *use* bytes that a peer is writing until the peer's notice (an immediate) says that they are
//!    there, and does not change bytes that a peer may read while it has them pinned.
//! 3. Bytes are the owner's alone again when the grant is revoked ([`Transport::revoke`](crate::Transport::revoke) has
//!    returned `Ok`).
//! 4. An initiator leaves its local bytes alone until the operation's ticket resolves.
//!
//! Who breaks it gets wrong bytes, not undefined behaviour: see `raw.rs`. Nothing is read or written here by
//! reference; an engine that computes in place takes [`Region::base`] and makes its own promises.

pub(crate) mod raw;

use raw::{Mapping, PIECES_MAX};
use rustix::fd::{AsFd, AsRawFd, OwnedFd};
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use std::io;
use std::ptr::NonNull;
use std::sync::Arc;

/// Huge pages are of this size on every machine that we know.
const HUGE_PAGE: u64 = 2 << 20;

/// A range of a region, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Where it begins, from the region's beginning.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
}

impl Span {
    /// `bytes` from `offset` on.
    #[must_use]
    pub const fn new(offset: u64, bytes: u64) -> Self {
        Self { offset, bytes }
    }

    /// Where it ends, if that is a number.
    #[must_use]
    pub const fn end(self) -> Option<u64> {
        self.offset.checked_add(self.bytes)
    }

    /// True if it lies wholly within `outer`.
    #[must_use]
    pub fn is_within(self, outer: Self) -> bool {
        match (self.end(), outer.end()) {
            (Some(end), Some(outer_end)) => self.offset >= outer.offset && end <= outer_end,
            _ => false,
        }
    }

    /// The bytes of all `spans`, if that is a number.
    #[must_use]
    pub fn total(spans: &[Self]) -> Option<u64> {
        spans
            .iter()
            .try_fold(0u64, |sum, span| sum.checked_add(span.bytes))
    }
}

/// How a region is allocated.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pages {
    /// Pages of 2 MiB, which the administrator has to have set aside (`vm.nr_hugepages`); without them it is an error.
    pub huge: bool,
    /// Take all page faults now, so that none comes in the middle of a transfer.
    pub populate: bool,
}

/// Registered memory. Clones are the same memory; it is unmapped when the last one is gone.
#[derive(Clone, Debug)]
pub struct Region(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    mapping: Mapping,
    file: OwnedFd,
    id: u64,
}

impl Region {
    /// Allocates `bytes` of zeros, rounded up to whole pages.
    ///
    /// # Errors
    /// The kernel's: no memory, or no huge pages.
    pub fn allocate(bytes: u64, pages: Pages) -> io::Result<Self> {
        let mut flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let mut page = rustix::param::page_size() as u64;
        if pages.huge {
            flags |= MemfdFlags::HUGETLB | MemfdFlags::HUGE_2MB;
            page = HUGE_PAGE;
        }
        let bytes = bytes
            .max(1)
            .checked_next_multiple_of(page)
            .ok_or(io::ErrorKind::InvalidInput)?;
        let length = usize::try_from(bytes).map_err(|_| io::ErrorKind::InvalidInput)?;
        let file = rustix::fs::memfd_create("kv", flags)?;
        rustix::fs::ftruncate(&file, bytes)?;
        // Whoever maps it may rely on its size: a file that shrinks kills its readers (SIGBUS).
        rustix::fs::fcntl_add_seals(&file, SIZE_IS_FIXED)?;
        let mapping = Mapping::new(file.as_fd(), length, true, pages.populate)?;
        let id = crate::secret::random_u64();
        Ok(Self(Arc::new(Inner { mapping, file, id })))
    }

    /// Its size: whole pages.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.mapping.bytes()
    }

    /// Its first byte in this process, for those who compute in place, and for registration with a device.
    ///
    /// The address is valid as long as this region or a clone of it lives. Reading and writing through it is the
    /// caller's unsafe code, and the protocol of this module's header is what it has to prove.
    #[must_use]
    pub fn base(&self) -> NonNull<u8> {
        self.0.mapping.base()
    }

    /// The whole region as a span.
    #[must_use]
    pub fn whole(&self) -> Span {
        Span::new(0, self.bytes())
    }

    /// Copies bytes out.
    ///
    /// # Panics
    /// If they are not all within the region.
    pub fn read(&self, offset: u64, into: &mut [u8]) {
        self.0.mapping.load(offset, into);
    }

    /// Copies bytes in.
    ///
    /// # Panics
    /// If they do not all fit into the region.
    pub fn write(&self, offset: u64, from: &[u8]) {
        self.0.mapping.store(offset, from);
    }

    /// The bytes of a span, copied.
    ///
    /// # Panics
    /// If it is not within the region.
    #[must_use]
    pub fn to_vec(&self, span: Span) -> Vec<u8> {
        assert!(span.is_within(self.whole()), "{span:?} is outside");
        let mut bytes = vec![0; span.bytes as usize];
        self.read(span.offset, &mut bytes);
        bytes
    }

    /// Copies from another region (or from elsewhere in this one).
    ///
    /// # Panics
    /// If either range is not within its region.
    pub fn copy_from(&self, offset: u64, other: &Self, span: Span) {
        self.0
            .mapping
            .copy(offset, &other.0.mapping, span.offset, span.bytes);
    }

    pub(crate) fn mapping(&self) -> &Mapping {
        &self.0.mapping
    }

    /// Tells regions apart, on one machine and in all likelihood anywhere.
    pub(crate) fn id(&self) -> u64 {
        self.0.id
    }

    /// A descriptor to give to another process: one that cannot be mapped for writing, unless it may write.
    pub(crate) fn file_for(&self, writing: bool) -> io::Result<OwnedFd> {
        let own = self.0.file.as_fd();
        if writing {
            return Ok(rustix::io::fcntl_dupfd_cloexec(own, 0)?);
        }
        let path = format!("/proc/self/fd/{}", own.as_raw_fd());
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        Ok(rustix::fs::open(path, flags, Mode::empty())?)
    }
}

/// Seals that make a file's size final.
pub(crate) const SIZE_IS_FIXED: SealFlags = SealFlags::SHRINK
    .union(SealFlags::GROW)
    .union(SealFlags::SEAL);

/// Walks through spans piece by piece as bytes come and go.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    spans: &'a [Span],
    within: u64,
    left: u64,
}

impl<'a> Cursor<'a> {
    /// At the beginning of `spans`, whose total is a number.
    pub(crate) fn new(spans: &'a [Span]) -> Self {
        let left = Span::total(spans).unwrap_or(0);
        Self {
            spans,
            within: 0,
            left,
        }
    }

    pub(crate) fn left(&self) -> u64 {
        self.left
    }

    /// What comes next: at most `count` pieces (and what fits into `into`) of at most `bytes` in all.
    pub(crate) fn pieces<'b>(
        &self,
        into: &'b mut [Span; PIECES_MAX],
        count: usize,
        bytes: u64,
    ) -> &'b [Span] {
        let (mut used, mut room, mut within) = (0, bytes, self.within);
        for span in self.spans {
            if used == count.min(PIECES_MAX) || room == 0 {
                break;
            }
            let take = (span.bytes - within).min(room);
            if take > 0 {
                into[used] = Span::new(span.offset + within, take);
                used += 1;
            }
            room -= take;
            within = 0;
        }
        &into[..used]
    }

    /// The next piece alone, of at most `bytes`.
    pub(crate) fn piece(&self, bytes: u64) -> Option<Span> {
        let mut within = self.within;
        self.spans.iter().find_map(|span| {
            let offset = span.offset + within;
            let take = (span.bytes - within).min(bytes);
            within = 0;
            (take > 0).then(|| Span::new(offset, take))
        })
    }

    /// Goes on by `bytes`, which are not more than are left.
    pub(crate) fn advance(&mut self, bytes: u64) {
        self.left -= bytes;
        let mut to = self.within + bytes;
        while let Some(first) = self.spans.first() {
            if to < first.bytes {
                break;
            }
            to -= first.bytes;
            self.spans = &self.spans[1..];
        }
        self.within = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_whole_pages_and_keeps_what_is_written() {
        let region = Region::allocate(5000, Pages::default()).expect("memory");
        assert_eq!(region.bytes(), 8192);
        region.write(4090, &[1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(
            region.to_vec(Span::new(4089, 4)),
            [0, 1, 2, 3],
            "what is written is read"
        );
        let other = Region::allocate(1, Pages::default()).expect("memory");
        other.copy_from(10, &region, Span::new(4090, 8));
        assert_eq!(other.to_vec(Span::new(10, 8)), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_ne!(region.id(), other.id());
    }

    #[test]
    fn huge_pages_are_given_or_refused() {
        let huge = Pages {
            huge: true,
            populate: true,
        };
        if let Ok(region) = Region::allocate(1, huge) {
            assert_eq!(region.bytes() % HUGE_PAGE, 0);
        }
    }

    #[test]
    #[should_panic(expected = "outside")]
    fn outside_is_a_panic_not_a_write() {
        let region = Region::allocate(4096, Pages::default()).expect("memory");
        region.write(4090, &[0; 8]);
    }

    #[test]
    fn a_cursor_visits_every_byte_once_in_order() {
        let spans = [(10, 3), (100, 0), (50, 7), (0, 1)].map(|(o, b)| Span::new(o, b));
        let expected: Vec<u64> = spans
            .iter()
            .flat_map(|s| s.offset..s.offset + s.bytes)
            .collect();
        for step in 1..=11u64 {
            let (mut cursor, mut seen) = (Cursor::new(&spans), Vec::new());
            while cursor.left() > 0 {
                let mut pieces = [Span::new(0, 0); PIECES_MAX];
                let pieces = cursor.pieces(&mut pieces, 2, step).to_vec();
                let bytes: u64 = pieces.iter().map(|p| p.bytes).sum();
                assert!(bytes > 0 && bytes <= step);
                seen.extend(pieces.iter().flat_map(|p| p.offset..p.offset + p.bytes));
                cursor.advance(bytes);
            }
            assert_eq!(seen, expected);
        }
    }
}
