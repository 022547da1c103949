//! What an operator may say about RDMA, with defaults that work on RoCE v2 and on InfiniBand.
//!
//! | setting | why this default |
//! |---|---|
//! | `timeout` 17 | 4.096 us x 2^17 = 0.54 s before a packet is sent again. Shorter: a busy peer looks dead |
//! | `retries` 6 | with 7 some devices (Soft-RoCE) try for ever, and a dead peer is never noticed |
//! | `reads` 16 | reads under way on a queue pair; the verbs' own default of 1 leaves the wire empty between reads |
//! | `slice_bytes` 1 MiB | what is sent again after a failure, what NICs share; below 64 KiB posting costs |
//! | `depth` 128 | work requests of a queue pair; with slices of 512 KiB far more than any wire holds |
//! | `traffic_class` 0 | the network's administrator knows the class that is lossless (often 106 or 162) |

use crate::error::Error;
use std::time::Duration;

/// How completions are noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Completion {
    /// The device wakes the runtime by an event: no processor time while nothing happens.
    #[default]
    Events,
    /// The runtime looks again and again as long as something is under way: less latency for a processor.
    Polling,
}

/// RDMA settings of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Devices by name, in order of preference; none: all whose port is active.
    pub devices: Vec<String>,
    /// The port of each device, from 1.
    pub port: u8,
    /// The place of the address in the port's GID table; by default a routable RoCE v2 address is looked for.
    pub gid_index: Option<u8>,
    /// The node of memory that the KV pool is on: its NICs are preferred, all others are used when those fail.
    pub numa: Option<u32>,
    /// The largest packet, in bytes: 256, 512, 1024, 2048 or 4096; by default what both ports can.
    pub mtu: Option<u16>,
    /// A packet that is not acknowledged for 4.096 us x 2^timeout is sent again: 1 to 31.
    pub timeout: u8,
    /// How often, at most: 0 to 6.
    pub retries: u8,
    /// Class of the packets (DSCP and ECN bits).
    pub traffic_class: u8,
    /// Routers that a packet may pass.
    pub hop_limit: u8,
    /// Reads under way on one queue pair.
    pub reads: u8,
    /// Work requests under way on one queue pair.
    pub depth: u16,
    /// Local pieces of one work request.
    pub pieces: u8,
    /// Bytes of one work request.
    pub slice_bytes: u64,
    /// Queue pairs that this node has opened at a time; beyond that the least useful one is closed.
    pub endpoints_max: u32,
    /// How completions are noticed.
    pub completion: Completion,
    /// How long a path that failed is left alone; doubled with each further failure, up to 32 times.
    pub pause: Duration,
    /// Failures of one operation, or of one path in a row, after which it is given up.
    pub tries: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            devices: Vec::new(),
            port: 1,
            gid_index: None,
            numa: None,
            mtu: None,
            timeout: 17,
            retries: 6,
            traffic_class: 0,
            hop_limit: 64,
            reads: 16,
            depth: 128,
            pieces: 16,
            slice_bytes: 1 << 20,
            endpoints_max: 256,
            completion: Completion::default(),
            pause: Duration::from_millis(500),
            tries: 4,
        }
    }
}

/// Packets that verbs know, in bytes.
const MTUS: [u16; 5] = [256, 512, 1024, 2048, 4096];

impl Settings {
    /// Says what is wrong, if something is.
    ///
    /// # Errors
    /// One line: which key, what it is, what was expected.
    pub fn check(&self) -> Result<(), Error> {
        let wrong = |key: &str, is: u64, expected: &str| {
            let why = format!("{key}: {is}, expected {expected}");
            Err(Error::system("RDMA settings", why))
        };
        if self.port == 0 {
            return wrong("port", 0, "1 or more");
        }
        if let Some(mtu) = self.mtu.filter(|mtu| !MTUS.contains(mtu)) {
            return wrong("mtu", mtu.into(), "256, 512, 1024, 2048 or 4096");
        }
        // Zero waits for ever.
        if !(1..=31).contains(&self.timeout) {
            return wrong("timeout", self.timeout.into(), "1 to 31");
        }
        if self.retries > 6 {
            return wrong("retries", self.retries.into(), "0 to 6");
        }
        if !(1..=128).contains(&self.reads) {
            return wrong("reads", self.reads.into(), "1 to 128");
        }
        if !(1..=8192).contains(&self.depth) {
            return wrong("depth", self.depth.into(), "1 to 8192");
        }
        if !(1..=30).contains(&self.pieces) {
            return wrong("pieces", self.pieces.into(), "1 to 30");
        }
        if !(4096..=1 << 30).contains(&self.slice_bytes) {
            return wrong("slice_bytes", self.slice_bytes, "4096 to 1073741824");
        }
        if self.endpoints_max == 0 {
            return wrong("endpoints_max", 0, "1 or more");
        }
        if self.tries == 0 {
            return wrong("tries", 0, "1 or more");
        }
        Ok(())
    }

    /// The packet size of a path between two ports.
    #[cfg(any(test, feature = "rdma"))]
    pub(crate) fn path_mtu(&self, here: u16, there: u16) -> u16 {
        let most = self.mtu.unwrap_or(4096).min(here).min(there);
        let fits = MTUS.iter().rev().find(|&&mtu| mtu <= most);
        fits.copied().unwrap_or(256)
    }
}

/// A first packet's number: 24 bits. Drawn anew for each queue pair, so that packets of an earlier one do not fit.
#[cfg(any(test, feature = "rdma"))]
pub(crate) fn sequence(random: u64) -> u32 {
    (random & 0x00ff_ffff) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_right_and_what_is_wrong_is_named() {
        assert_eq!(Settings::default().check(), Ok(()));
        let wrong = [
            (
                Settings {
                    retries: 7,
                    ..Settings::default()
                },
                "retries: 7, expected 0 to 6",
            ),
            (
                Settings {
                    timeout: 0,
                    ..Settings::default()
                },
                "timeout: 0, expected 1 to 31",
            ),
            (
                Settings {
                    mtu: Some(1500),
                    ..Settings::default()
                },
                "mtu: 1500",
            ),
            (
                Settings {
                    slice_bytes: 1,
                    ..Settings::default()
                },
                "slice_bytes: 1",
            ),
            (
                Settings {
                    port: 0,
                    ..Settings::default()
                },
                "port: 0",
            ),
        ];
        for (settings, says) in wrong {
            let error = settings.check().expect_err(says).to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_path_has_the_packets_that_both_ends_can() {
        let settings = Settings::default();
        assert_eq!(settings.path_mtu(4096, 1024), 1024);
        assert_eq!(settings.path_mtu(4096, 4096), 4096);
        assert_eq!(
            settings.path_mtu(1500, 4096),
            1024,
            "not a size that verbs know"
        );
        let small = Settings {
            mtu: Some(512),
            ..settings
        };
        assert_eq!(small.path_mtu(4096, 4096), 512);
        assert_eq!(sequence(u64::MAX), 0x00ff_ffff);
    }
}
