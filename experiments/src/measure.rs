//! What a run costs the machine: wall time, processor time of this thread, memory of this process.
//!
//! Processor time and memory come from `/proc`, where there is one; elsewhere processor time is wall time and memory
//! is 0.

use std::fs;
use std::time::Instant;

/// Measures from its start.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    started: Instant,
    cpu_ns: Option<u64>,
}

/// What was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Wall time, seconds.
    pub wall_s: f64,
    /// Processor time of the measuring thread, seconds.
    pub cpu_s: f64,
    /// Largest memory of the process so far, in 10^6 bytes.
    pub peak_rss_mb: f64,
}

impl Stopwatch {
    /// Starts now, on this thread.
    #[must_use]
    pub fn start() -> Self {
        Self {
            started: Instant::now(),
            cpu_ns: thread_cpu_ns(),
        }
    }

    /// Reads it, on the thread that started it.
    #[must_use]
    pub fn read(&self) -> Cost {
        let wall_s = self.started.elapsed().as_secs_f64();
        let cpu_s = match (self.cpu_ns, thread_cpu_ns()) {
            (Some(before), Some(now)) => now.saturating_sub(before) as f64 / 1e9,
            _ => wall_s,
        };
        Cost {
            wall_s,
            cpu_s,
            peak_rss_mb: peak_rss_mb().unwrap_or(0.0),
        }
    }
}

/// Nanoseconds that this thread has run.
fn thread_cpu_ns() -> Option<u64> {
    fs::read_to_string("/proc/thread-self/schedstat")
        .ok()?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

fn peak_rss_mb() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024.0 / 1e6)
}
