//! Streams, which do one thing after the other, and events, at which one is waited for.
//!
//! Copies here return before they are done. Both ends must stay as they are until the stream, or an event behind the
//! copy, was waited for; the engine's own order sees to it (and buffers wait for the device before they go).

use super::{Buffer, Device, Pinned, Result, check};
use cudarc::driver::{result, sys};
use std::ops::Range;

/// A queue of work of a device.
#[derive(Debug)]
pub struct Stream {
    device: Device,
    stream: sys::CUstream,
}

// SAFETY: the driver takes calls about a stream from any thread.
#[expect(unsafe_code, reason = "a handle that the driver lets threads share")]
unsafe impl Send for Stream {}

impl Stream {
    /// A stream that waits for no other.
    pub fn new(device: &Device) -> Result<Self> {
        device.enter()?;
        let stream = result::stream::create(result::stream::StreamKind::NonBlocking);
        Ok(Self {
            device: device.clone(),
            stream: check("making a stream", stream)?,
        })
    }

    /// Its device.
    #[must_use]
    pub const fn device(&self) -> &Device {
        &self.device
    }

    pub(in crate::cuda) const fn raw(&self) -> sys::CUstream {
        self.stream
    }

    /// Waits until all is done.
    #[expect(unsafe_code, reason = "a call of the driver")]
    pub fn synchronize(&self) -> Result<()> {
        self.device.enter()?;
        // SAFETY: the stream lives as long as `self`.
        check("waiting for a stream", unsafe {
            result::stream::synchronize(self.stream)
        })
    }

    /// What is given to this stream from now on waits for the event.
    #[expect(unsafe_code, reason = "a call of the driver")]
    pub fn wait(&self, event: &Event) -> Result<()> {
        self.device.enter()?;
        let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        // SAFETY: both are alive.
        check("making a stream wait", unsafe {
            result::stream::wait_event(self.stream, event.event, flags)
        })
    }

    /// Copies `from` of pinned memory to `to` bytes behind the buffer's start. Panics if either does not reach.
    #[expect(unsafe_code, reason = "a call of the driver")]
    pub fn upload(
        &self,
        pinned: &Pinned,
        from: Range<usize>,
        buffer: &Buffer,
        to: usize,
    ) -> Result<()> {
        let bytes = from.len();
        assert!(
            from.end <= pinned.bytes() && to + bytes <= buffer.bytes(),
            "a copy within both"
        );
        self.device.enter()?;
        // SAFETY: both reach, and stay until the device has finished.
        let copied = unsafe {
            let from = pinned.start().add(from.start).cast();
            sys::cuMemcpyHtoDAsync_v2(buffer.address() + to as u64, from, bytes, self.stream)
        };
        check("copying to the device", copied.result())
    }

    /// Copies `from` of the buffer to `to` bytes behind the pinned memory's start. Panics if either does not reach.
    #[expect(unsafe_code, reason = "a call of the driver")]
    pub fn download(
        &self,
        buffer: &Buffer,
        from: Range<usize>,
        pinned: &mut Pinned,
        to: usize,
    ) -> Result<()> {
        let bytes = from.len();
        assert!(
            from.end <= buffer.bytes() && to + bytes <= pinned.bytes(),
            "a copy within both"
        );
        self.device.enter()?;
        // SAFETY: both reach, and stay until the device has finished.
        let copied = unsafe {
            let to = pinned.start().add(to).cast();
            sys::cuMemcpyDtoHAsync_v2(to, buffer.address() + from.start as u64, bytes, self.stream)
        };
        check("copying from the device", copied.result())
    }
}

impl Drop for Stream {
    #[expect(unsafe_code, reason = "a call of the driver")]
    fn drop(&mut self) {
        let _ = self.device.enter();
        // SAFETY: made in `new`, destroyed once; work that is under way is finished by the driver.
        let _ = unsafe { result::stream::destroy(self.stream) };
    }
}

/// A place in a stream's queue.
#[derive(Debug)]
pub struct Event {
    device: Device,
    event: sys::CUevent,
}

// SAFETY: the driver takes calls about an event from any thread.
#[expect(unsafe_code, reason = "a handle that the driver lets threads share")]
unsafe impl Send for Event {}

impl Event {
    /// An event that has no place yet. Whoever waits for it sleeps instead of spinning.
    pub fn new(device: &Device) -> Result<Self> {
        device.enter()?;
        // The flags are bits: no time is taken (2), waiting blocks (1). cudarc has no name for both.
        let mut event = std::ptr::null_mut();
        #[expect(unsafe_code, reason = "a call of the driver")]
        // SAFETY: the driver writes one handle.
        let made = unsafe { sys::cuEventCreate(&mut event, 3) };
        check("making an event", made.result())?;
        Ok(Self {
            device: device.clone(),
            event,
        })
    }

    /// Its place is behind all that the stream was given until now.
    #[expect(unsafe_code, reason = "a call of the driver")]
    pub fn record(&self, stream: &Stream) -> Result<()> {
        self.device.enter()?;
        // SAFETY: both are alive.
        check("recording an event", unsafe {
            result::event::record(self.event, stream.stream)
        })
    }

    /// Waits until the stream has come past its place.
    #[expect(unsafe_code, reason = "a call of the driver")]
    pub fn synchronize(&self) -> Result<()> {
        self.device.enter()?;
        // SAFETY: the event is alive.
        check("waiting for an event", unsafe {
            result::event::synchronize(self.event)
        })
    }
}

impl Drop for Event {
    #[expect(unsafe_code, reason = "a call of the driver")]
    fn drop(&mut self) {
        let _ = self.device.enter();
        // SAFETY: made in `new`, destroyed once.
        let _ = unsafe { result::event::destroy(self.event) };
    }
}
