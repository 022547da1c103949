//! `[[engine]]` of the gateway's file: one for each node of the cluster, in its order.

use conductor_core::config::{ClusterConfig, Role};
use conductor_events::source::SourceConfig;
use conductor_events::tree::TreeConfig;
use serde::Deserialize;
use thiserror::Error;

/// An engine.
///
/// ```toml
/// [[engine]]
/// url = "http://10.0.0.5:8000"
/// model = "llama-3.1-8b"
/// kv_events = "tcp://10.0.0.5:5557"
/// kv_replay = "tcp://10.0.0.5:5558"
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EngineFile {
    /// Where it answers: `http://HOST:PORT`.
    pub url: String,
    /// The model's name there.
    pub model: String,
    /// Where it publishes KV events; without it nothing is known of its cache.
    pub kv_events: Option<String>,
    /// Where it can be asked for events that were missed.
    pub kv_replay: Option<String>,
    /// Tokens in a block of its cache; without it those of the first block that it publishes.
    pub block_tokens: Option<u32>,
    /// Between two looks at its health, in milliseconds.
    #[serde(default = "default_health")]
    pub health_ms: u64,
    /// An answer of which nothing has come for so long has failed, in seconds; a prompt may wait for so long, too.
    #[serde(default = "default_silent")]
    pub silent_s: u64,
}

const fn default_health() -> u64 {
    1_000
}

const fn default_silent() -> u64 {
    300
}

/// What is wrong with the list of engines.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("engine {number}: {key}: {found}, expected {expected}")]
pub struct EngineFileError {
    /// Which, from 0.
    pub number: usize,
    /// The key.
    pub key: &'static str,
    /// What it is.
    pub found: String,
    /// What it could be.
    pub expected: String,
}

impl EngineFile {
    /// Checks a list of engines against the cluster whose nodes they are.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(engines: &[Self], cluster: &ClusterConfig) -> Result<(), EngineFileError> {
        let wrong = |number, key, found: String, expected: &str| EngineFileError {
            number,
            key,
            found,
            expected: expected.into(),
        };
        let nodes = cluster.nodes.len();
        if engines.len() != nodes {
            let expected = format!("one for each of the cluster's {nodes} nodes");
            let found = format!("{} engines", engines.len());
            return Err(wrong(engines.len(), "engine", found, &expected));
        }
        for (number, (engine, node)) in engines.iter().zip(&cluster.nodes).enumerate() {
            if node.role != Role::Coupled {
                let found = "its node's role is another".into();
                return Err(wrong(number, "cluster", found, "coupled nodes"));
            }
            let uri: Result<hyper::Uri, _> = engine.url.parse();
            let fine = uri.is_ok_and(|uri| {
                uri.scheme_str() == Some("http") && uri.authority().is_some() && uri.path() == "/"
            });
            if !fine {
                let found = format!("\"{}\"", engine.url);
                return Err(wrong(number, "url", found, "http://HOST:PORT"));
            }
            if engine.kv_replay.is_some() && engine.kv_events.is_none() {
                let found = "kv_replay alone".into();
                return Err(wrong(
                    number,
                    "kv_events",
                    found,
                    "both, or kv_events alone",
                ));
            }
            if let Some(events) = &engine.kv_events {
                let tree = TreeConfig::new(&engine.model, cluster.block);
                let source = SourceConfig::new(events, engine.kv_replay.as_deref(), tree);
                if source.is_err() {
                    let replay = engine.kv_replay.as_deref().unwrap_or("no kv_replay");
                    let found = format!("\"{events}\" and {replay}");
                    return Err(wrong(number, "kv_events", found, "tcp://HOST:PORT"));
                }
            }
            let bounds = [
                ("health_ms", engine.health_ms, 10, 60_000),
                ("silent_s", engine.silent_s, 1, 86_400),
            ];
            for (key, found, low, high) in bounds {
                if !(low..=high).contains(&found) {
                    let expected = format!("{low} to {high}");
                    return Err(wrong(number, key, found.to_string(), &expected));
                }
            }
            let own = cluster.block.0;
            if let Some(size) = engine.block_tokens.map(u64::from)
                && (size == 0 || !(size.is_multiple_of(own) || own.is_multiple_of(size)))
            {
                let expected = format!("a multiple or a divisor of the cluster's {own}");
                return Err(wrong(number, "block_tokens", size.to_string(), &expected));
            }
        }
        Ok(())
    }
}
