//! `[rdma]` of a node's configuration: names and numbers as a file has them.

use conductor_messenger::verbs::{Completion, Settings};
use serde::Deserialize;
use std::time::Duration;

/// RDMA settings. What is not said has a default that works: see `conductor_messenger::verbs::Settings`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RdmaConfig {
    /// Devices by name, in order of preference; none: all whose port is active.
    #[serde(default)]
    pub devices: Vec<String>,
    /// The port of each device, from 1.
    pub port: Option<u8>,
    /// The place of the address in the port's GID table.
    pub gid_index: Option<u8>,
    /// The NUMA node that the KV pool is on.
    pub numa: Option<u32>,
    /// Bytes of the largest packet.
    pub mtu: Option<u16>,
    /// A packet is sent again after 4.096 us x 2^timeout.
    pub timeout: Option<u8>,
    /// How often.
    pub retries: Option<u8>,
    /// Class of the packets.
    pub traffic_class: Option<u8>,
    /// Work requests under way on one queue pair.
    pub depth: Option<u16>,
    /// Bytes of one work request.
    pub slice_bytes: Option<u64>,
    /// Queue pairs that this node has opened at a time.
    pub endpoints_max: Option<u32>,
    /// How long a path that failed is left alone, in milliseconds.
    pub pause_ms: Option<u64>,
    /// `events` or `polling`.
    #[serde(default)]
    pub completion: CompletionKind,
}

/// How completions are noticed.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CompletionKind {
    /// The device wakes the runtime.
    #[default]
    Events,
    /// The runtime looks again and again while something is under way.
    Polling,
}

impl RdmaConfig {
    /// The messenger's settings.
    ///
    /// # Errors
    /// If a number is not one that verbs know: which key, what it is, what was expected.
    pub fn settings(&self) -> Result<Settings, conductor_messenger::Error> {
        let default = Settings::default();
        let settings = Settings {
            devices: self.devices.clone(),
            port: self.port.unwrap_or(default.port),
            gid_index: self.gid_index,
            numa: self.numa,
            mtu: self.mtu,
            timeout: self.timeout.unwrap_or(default.timeout),
            retries: self.retries.unwrap_or(default.retries),
            traffic_class: self.traffic_class.unwrap_or(default.traffic_class),
            depth: self.depth.unwrap_or(default.depth),
            slice_bytes: self.slice_bytes.unwrap_or(default.slice_bytes),
            endpoints_max: self.endpoints_max.unwrap_or(default.endpoints_max),
            pause: self.pause_ms.map_or(default.pause, Duration::from_millis),
            completion: match self.completion {
                CompletionKind::Events => Completion::Events,
                CompletionKind::Polling => Completion::Polling,
            },
            ..default
        };
        settings.check()?;
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_says_what_differs_and_wrong_numbers_are_named() {
        let parse = |text: &str| toml::from_str::<RdmaConfig>(text);
        let nothing = parse("").expect("a table").settings();
        assert_eq!(nothing, Ok(Settings::default()));
        let text =
            "devices = [\"mlx5_0\"]\ntraffic_class = 106\ncompletion = \"polling\"\nmtu = 1024";
        let settings = parse(text).expect("a table").settings().expect("valid");
        assert_eq!(settings.devices, ["mlx5_0"]);
        assert_eq!((settings.traffic_class, settings.mtu), (106, Some(1024)));
        assert_eq!(settings.completion, Completion::Polling);
        let why = parse("retries = 7").expect("a table").settings();
        let why = why.expect_err("too many").to_string();
        assert!(why.contains("retries: 7, expected 0 to 6"), "{why}");
        assert!(
            parse("device = \"mlx5_0\"").is_err(),
            "unknown keys are errors"
        );
    }
}
