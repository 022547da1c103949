//! `[lost]` of the policy file: how often and how long a request that was taken in is tried again.
//!
//! A request whose attempt was lost is given in again, because nodes die for reasons of their own. But some requests
//! lose every attempt by themselves (an engine that fails on this prompt, a node that dies of it), and sometimes no
//! node is left: both must end with an answer, or they would go round for ever and take nodes down one by one.

use super::ConfigError;
use super::policy::positive_seconds;
use crate::action::RejectReason;
use crate::ids::Ticket;
use crate::units::Nanos;
use serde::{Deserialize, Serialize};

/// When a request that was taken in is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LostConfig {
    /// Attempts of a request that may be lost; with the last of them it is turned away.
    pub attempts_max: u32,
    /// How long a request whose attempt was lost waits for a node that could take the next one.
    pub wait: Nanos,
}

/// `[lost]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LostText {
    /// See [`LostConfig::attempts_max`]; 1 to 1000.
    pub attempts_max: u32,
    /// Seconds; see [`LostConfig::wait`].
    pub wait_s: f64,
}

/// A request that is innocent loses an attempt with each node that dies under it. Eight in a row say that it is the
/// request: even where one attempt in ten is lost, an innocent one loses eight once in 10^8.
const ATTEMPTS_MAX: u32 = 8;
/// How long OpenAI's clients wait for an answer before they give up by themselves.
const WAIT_S: f64 = 600.0;

impl Default for LostText {
    fn default() -> Self {
        Self {
            attempts_max: ATTEMPTS_MAX,
            wait_s: WAIT_S,
        }
    }
}

impl LostText {
    /// True of the default, which a resolved file leaves out: the digest of a run without it is what it always was.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl LostConfig {
    /// Checks the text form.
    pub(super) fn from_text(text: &LostText) -> Result<Self, ConfigError> {
        let attempts_max = text.attempts_max;
        if !(1..=1000).contains(&attempts_max) {
            return Err(ConfigError::new(
                "lost.attempts_max",
                format_args!("expected 1 to 1000, found {attempts_max}"),
            ));
        }
        Ok(Self {
            attempts_max,
            wait: positive_seconds("lost.wait_s", text.wait_s)?,
        })
    }

    /// The text form.
    #[must_use]
    pub fn to_text(&self) -> LostText {
        LostText {
            attempts_max: self.attempts_max,
            wait_s: self.wait.as_secs_f64(),
        }
    }

    /// True if no attempt follows this one when it is lost.
    #[must_use]
    pub const fn is_last(&self, attempt: Ticket) -> bool {
        attempt.attempt.saturating_add(1) >= self.attempts_max
    }

    /// What a driver does with a request that lost an attempt and was turned away when it was given in again: true if
    /// it is given in once more at `again`; it has been without a node since `since`.
    #[must_use]
    pub fn comes_again(&self, reason: RejectReason, since: Nanos, again: Nanos) -> bool {
        !reason.is_final() && again.saturating_sub(since) <= self.wait
    }
}

#[cfg(test)]
mod tests {
    use crate::action::RejectReason;
    use crate::config::PolicyConfig;
    use crate::ids::{RequestId, Ticket};
    use crate::units::Nanos;
    use alloc::string::ToString;

    #[test]
    fn a_file_sets_both_bounds_and_keeps_them() {
        let text = "[lost]\nattempts_max = 3\nwait_s = 2.5\n";
        let policy = PolicyConfig::parse(text).expect("it is right");
        assert_eq!(PolicyConfig::parse(&policy.to_toml()), Ok(policy.clone()));
        let attempt = |attempt| Ticket {
            request: RequestId(0),
            attempt,
        };
        let last: [bool; 4] = [0, 1, 2, 3].map(|number| policy.lost.is_last(attempt(number)));
        assert_eq!(last, [false, false, true, true]);
        let again = |reason, at| {
            let at = Nanos::from_millis(at);
            policy.lost.comes_again(reason, Nanos::SECOND, at)
        };
        assert!(again(RejectReason::NoDecodeNode, 3_500));
        assert!(!again(RejectReason::NoDecodeNode, 3_501));
        assert!(!again(RejectReason::DecodeFull, 1_000));
    }

    #[test]
    fn the_default_is_not_written_and_nonsense_is_refused() {
        let policy = PolicyConfig::parse("").expect("it is right");
        assert!(!policy.to_toml().contains("lost"));
        for (text, expected) in [
            (
                "[lost]\nattempts_max = 0\n",
                "line 2: `lost.attempts_max`: expected 1 to 1000, found 0",
            ),
            (
                "[lost]\nwait_s = 0\n",
                "line 2: `lost.wait_s`: expected seconds above 0",
            ),
            ("[lost]\ntries = 3\n", "line 2: unknown field `tries`"),
        ] {
            let error = PolicyConfig::parse(text).expect_err(text).to_string();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
