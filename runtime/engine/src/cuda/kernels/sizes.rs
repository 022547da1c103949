//! A part of a buffer, for one kernel.

use crate::cuda::driver::{Arg, Buffer};

/// From some byte of a buffer to its end.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    buffer: &'a Buffer,
    from: usize,
}

impl<'a> View<'a> {
    /// The buffer from byte `from` on. Panics if it has no such byte, or the byte is not a multiple of 4.
    #[must_use]
    pub fn new(buffer: &'a Buffer, from: usize) -> Self {
        assert!(
            from.is_multiple_of(4) && from <= buffer.bytes(),
            "a view within its buffer"
        );
        Self { buffer, from }
    }

    /// Where it is for the device.
    pub(in crate::cuda) const fn address(&self) -> u64 {
        self.buffer.address() + self.from as u64
    }

    /// What is so many numbers of 32 bits behind.
    pub(super) fn behind(&self, numbers: usize) -> Self {
        Self::new(self.buffer, self.from + 4 * numbers)
    }

    /// As an argument.
    pub(super) const fn arg(&self) -> Arg {
        Arg::Wide(self.address())
    }

    /// Panics if it has not so many numbers of 32 bits.
    pub(super) fn holds(&self, numbers: usize) {
        let room = (self.buffer.bytes() - self.from) / 4;
        assert!(
            numbers <= room,
            "a view of {room} numbers, expected {numbers}"
        );
    }
}
