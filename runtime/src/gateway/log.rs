//! The request log: one line a request on stderr, written by a thread of its own.
//!
//! Who answers clients never waits for a terminal or a pipe: lines that find no room are counted as lost.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};

/// Lines that wait at most.
const LINES_MAX: usize = 4096;

/// See the module.
pub(super) struct Log {
    lines: Option<SyncSender<String>>,
    lost: AtomicU64,
}

impl Log {
    /// A log, or one that keeps nothing.
    ///
    /// # Errors
    /// If no thread can be started.
    pub(super) fn start(wanted: bool) -> std::io::Result<Self> {
        let lines = match wanted {
            false => None,
            true => {
                let (sender, lines) = sync_channel::<String>(LINES_MAX);
                // It ends with the last line, when nobody can write one any more.
                std::thread::Builder::new()
                    .name("request-log".into())
                    .spawn(move || {
                        for line in lines {
                            let _ = writeln!(std::io::stderr(), "{line}");
                        }
                    })?;
                Some(sender)
            }
        };
        Ok(Self {
            lines,
            lost: AtomicU64::new(0),
        })
    }

    /// Writes a line, which is made if anybody wants it.
    pub(super) fn line(&self, line: impl FnOnce() -> String) {
        if let Some(lines) = &self.lines
            && lines.try_send(line()).is_err()
        {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Lines that found no room.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}
