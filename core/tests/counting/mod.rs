//! Counts the allocations of a thread, by the allocator of the test's binary. Used by core and sim.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, which counts for the threads that ask it to.
struct Counting;

thread_local! {
    /// Allocations of this thread while it counts; constant initialisation and no destructor, so that looking at it
    /// does not allocate itself.
    static COUNT: Cell<Option<u64>> = const { Cell::new(None) };
}

fn count() {
    COUNT.set(COUNT.get().map(|count| count + 1));
}

#[expect(
    unsafe_code,
    reason = "the allocator's trait is unsafe; each method hands its arguments on unchanged"
)]
// SAFETY: the contract is kept by `System`, which gets every call as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often `work` allocates.
pub(crate) fn allocations(work: impl FnOnce()) -> u64 {
    COUNT.set(Some(0));
    work();
    COUNT.take().expect("nobody else stops counting")
}
