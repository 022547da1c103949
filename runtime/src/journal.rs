//! Where the driver writes its steps down.
//!
//! A decision never waits for a disk: lines go through a bounded queue to a thread of its own, and those that do not
//! find room are counted as lost, which the end of the journal says (a journal with lost lines cannot be audited beyond
//! the first of them). The thread rotates files by size and syncs them as the configuration says.
//!
//! Not here: what a line is (the core's).

mod file;

pub use file::{FileJournal, JournalConfig, SyncPolicy};

use std::sync::{Arc, Mutex, PoisonError};

/// Takes lines, in order.
pub trait Journal: Send {
    /// False if lines are not kept: the driver then does not make them.
    fn wants_lines(&self) -> bool {
        true
    }

    /// One line, without its end. Never blocks.
    fn line(&mut self, line: String);

    /// All lines so far shall be on disk; waits for that.
    fn flush(&mut self) {}

    /// Lines that were lost.
    fn lost(&self) -> u64 {
        0
    }
}

/// Keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoJournal;

impl Journal for NoJournal {
    fn wants_lines(&self) -> bool {
        false
    }

    fn line(&mut self, _line: String) {}
}

/// Keeps lines in memory, for tests.
#[derive(Clone, Debug, Default)]
pub struct MemoryJournal(Arc<Mutex<Vec<String>>>);

impl MemoryJournal {
    /// The lines so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Journal for MemoryJournal {
    fn line(&mut self, line: String) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line);
    }
}
