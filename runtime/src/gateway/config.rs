//! The gateway's limits: section `[gateway]` of a daemon's file.
//!
//! Every size, count and wait has a bound, and every bound a default that is safe on a small machine. What is wrong is
//! said with its key and with what was expected.
//!
//! Not here: addresses, the cluster and the policy, which are the daemon's.

use serde::Deserialize;
use std::path::PathBuf;
use std::time::Duration;
use thiserror::Error;

/// Section `[gateway]`; every key may be left out.
///
/// ```toml
/// [gateway]
/// model = "tiny"
/// concurrent_max = 256
/// api_key_file = "/etc/conductor/keys"
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayConfig {
    /// The name by which requests ask for the model.
    pub model: String,
    /// Names of adapters of the model that requests may ask for. Each has prefixes of its own; which weights a name
    /// means is known to the nodes.
    pub adapters: Vec<String>,
    /// Largest body of a request, bytes; a larger one is answered 413.
    pub body_bytes_max: usize,
    /// Longest prompt, tokens; a longer one is answered 400.
    pub prompt_tokens_max: u64,
    /// Longest answer that may be asked for, tokens.
    pub output_tokens_max: u64,
    /// Length of a chat's answer for which none was asked for, tokens; of a completion it is OpenAI's 16.
    pub output_tokens_default: u64,
    /// Requests that may be under way; one more is answered 429 before its body is read.
    pub concurrent_max: usize,
    /// Connections that may be open; one more is answered 503 and closed.
    pub connections_max: usize,
    /// Seconds for a request's headers to come, counted from when the connection waits for them: a kept connection that
    /// is idle for longer is closed, too.
    pub header_read_s: u64,
    /// Seconds for a request's body to come.
    pub body_read_s: u64,
    /// Seconds for which a client may take nothing of its answer.
    pub write_stall_s: u64,
    /// Seconds that answers under way have to be finished when the gateway shuts down.
    pub drain_s: u64,
    /// Prompts above [`super::prepare::INLINE_MAX`] that may be read and tokenized at once, each on a thread of its
    /// own.
    pub tokenizers: usize,
    /// Seconds for which an answer is kept for its `Idempotency-Key`.
    pub idempotency_s: u64,
    /// Answers that are kept at most.
    pub idempotency_entries_max: usize,
    /// Text of kept answers at most, bytes.
    pub idempotency_bytes_max: usize,
    /// A file with the keys that clients may show (`Authorization: Bearer …`), one a line; without it nobody is asked.
    pub api_key_file: Option<PathBuf>,
    /// One line a request on stderr.
    pub log_requests: bool,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            model: "tiny".into(),
            adapters: Vec::new(),
            body_bytes_max: 8 << 20,
            prompt_tokens_max: 131_072,
            output_tokens_max: 32_768,
            output_tokens_default: 1024,
            concurrent_max: 1024,
            connections_max: 4096,
            header_read_s: 30,
            body_read_s: 30,
            write_stall_s: 30,
            drain_s: 30,
            tokenizers: 4,
            idempotency_s: 600,
            idempotency_entries_max: 1024,
            idempotency_bytes_max: 64 << 20,
            api_key_file: None,
            log_requests: true,
        }
    }
}

/// A setting that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`gateway.{key}`: {found}, expected {expected}")]
pub struct GatewayConfigError {
    /// Which.
    pub key: &'static str,
    /// What it is.
    pub found: String,
    /// What it could be.
    pub expected: String,
}

impl GatewayConfig {
    /// Checks the bounds of all settings.
    ///
    /// # Errors
    /// The first one that is out of its bounds.
    pub fn check(&self) -> Result<(), GatewayConfigError> {
        let day = 86_400;
        let numbers = [
            ("body_bytes_max", self.body_bytes_max as u64, 1024, 1 << 30),
            ("prompt_tokens_max", self.prompt_tokens_max, 1, 1 << 24),
            ("output_tokens_max", self.output_tokens_max, 1, 1 << 24),
            (
                "output_tokens_default",
                self.output_tokens_default,
                1,
                self.output_tokens_max,
            ),
            ("concurrent_max", self.concurrent_max as u64, 1, 1 << 20),
            ("connections_max", self.connections_max as u64, 1, 1 << 20),
            ("header_read_s", self.header_read_s, 1, day),
            ("body_read_s", self.body_read_s, 1, day),
            ("write_stall_s", self.write_stall_s, 1, day),
            ("drain_s", self.drain_s, 0, day),
            ("tokenizers", self.tokenizers as u64, 1, 1024),
            ("idempotency_s", self.idempotency_s, 0, day),
            (
                "idempotency_entries_max",
                self.idempotency_entries_max as u64,
                0,
                1 << 20,
            ),
            (
                "idempotency_bytes_max",
                self.idempotency_bytes_max as u64,
                0,
                1 << 40,
            ),
        ];
        for (key, found, low, high) in numbers {
            if found < low || found > high {
                return Err(GatewayConfigError {
                    key,
                    found: found.to_string(),
                    expected: format!("a number from {low} to {high}"),
                });
            }
        }
        let names = self.adapters.iter().map(|name| ("adapters", name));
        let mut seen: Vec<&String> = Vec::new();
        for (key, name) in [("model", &self.model)].into_iter().chain(names) {
            let error = |expected: &str| GatewayConfigError {
                key,
                found: format!("{name:?}"),
                expected: expected.into(),
            };
            let visible = |c: char| !c.is_whitespace() && !c.is_control() && c != '"';
            if name.is_empty() || name.len() > 256 || !name.chars().all(visible) {
                return Err(error("a name of 1 to 256 bytes without blanks"));
            }
            if seen.contains(&name) {
                return Err(error("names that differ"));
            }
            seen.push(name);
        }
        Ok(())
    }

    pub(super) const fn body_read(&self) -> Duration {
        Duration::from_secs(self.body_read_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_hold() {
        assert_eq!(GatewayConfig::default().check(), Ok(()));
        let parsed: GatewayConfig = toml::from_str("").expect("nothing is needed");
        assert_eq!(parsed, GatewayConfig::default());
    }

    #[test]
    fn what_is_wrong_is_said_with_its_key() {
        let error = |text: &str| {
            let config: GatewayConfig = toml::from_str(text).expect("parses");
            config.check().expect_err("wrong").to_string()
        };
        assert_eq!(
            error("tokenizers = 0"),
            "`gateway.tokenizers`: 0, expected a number from 1 to 1024"
        );
        assert_eq!(
            error("adapters = [\"tiny\"]"),
            "`gateway.adapters`: \"tiny\", expected names that differ"
        );
        assert_eq!(
            error("model = \"a b\""),
            "`gateway.model`: \"a b\", expected a name of 1 to 256 bytes without blanks"
        );
        let unknown = toml::from_str::<GatewayConfig>("bodies = 1").expect_err("unknown");
        assert!(unknown.message().contains("unknown field `bodies`"));
    }
}
