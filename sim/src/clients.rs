//! Clients that try again when they are turned away.
//!
//! A rejected request does not vanish: its client waits and sends it once more, so that an overloaded cluster meets
//! the same prompts again. How long a client waits is a [`RetryConfig`]. The default parameters are those of OpenAI's
//! Python client (`openai-python`: `src/openai/_constants.py`, and `_calculate_retry_timeout` in `_base_client.py`):
//! the k-th further try comes after min(0.5 s x 2^(k-1), 8 s), up to a quarter of it less by chance, and a
//! `Retry-After` of up to 60 s is heeded. Two things are assumptions of ours: that client makes two further tries,
//! here none is made unless asked for; and it waits for just what `Retry-After` says, which would bring all who were
//! turned away together back together, while here the backoff is a lower bound of the wait.
//!
//! An answer that says that trying again cannot help (the prompt is too long: a 4xx other than 429) is final, as it
//! is for that client.
//!
//! Each wait is drawn from the stream `client-retry` under the request's and the try's number: it depends neither on
//! the policy nor on what other clients do.
//!
//! Not here: when a request is turned away (the Conductor and the nodes), and the same prompt as a new turn of a
//! conversation (the `retry` of a generated workload: that is a request of its own).

use crate::record::{Outcome, RequestRecord};
use conductor_core::action::RejectReason;
use conductor_core::config::Ratio;
use conductor_core::ids::RequestId;
use conductor_core::rng::Stream;
use conductor_core::units::Nanos;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// More further tries than this are a slip of a digit.
pub const TRIES_MAX: u32 = 1_000;
/// The longest wait that can be asked for, in seconds: a day.
const WAIT_MAX_S: f64 = 86_400.0;
/// The largest factor.
const FACTOR_MAX: f64 = 1_000.0;

/// How clients try again, as a person writes it. What is absent has its default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetryText {
    /// Further tries after the first, at most 1,000; 0, the default, for clients that give up at once.
    pub tries: u32,
    /// Wait before the first further try, in seconds, from 0 to a day.
    pub first_s: f64,
    /// Each wait is so many times the one before; from 1 to 1,000, in thousandths.
    pub factor: f64,
    /// Share of a wait that chance may take away, evenly; from 0 (none) to 1 ("full jitter"), in thousandths. 0.5 is
    /// "equal jitter".
    pub jitter: f64,
    /// No wait is longer than this, in seconds, from 0 to a day; a heeded `Retry-After` may be.
    pub most_s: f64,
    /// Wait at least as long as the Conductor asks for when it turns a request away, at arrival or after its prefill.
    pub honour_retry_after: bool,
    /// A `Retry-After` of more seconds than this is not heeded, from 0 to a day.
    pub retry_after_most_s: f64,
}

impl Default for RetryText {
    fn default() -> Self {
        Self {
            tries: 0,
            first_s: 0.5,
            factor: 2.0,
            jitter: 0.25,
            most_s: 8.0,
            honour_retry_after: true,
            retry_after_most_s: 60.0,
        }
    }
}

/// Why a [`RetryText`] is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}`: expected {expected}, found {found}")]
pub struct RetryError {
    /// Which value.
    pub key: &'static str,
    /// Its range.
    pub expected: &'static str,
    /// What it is.
    pub found: String,
}

/// How clients try again, checked. By default they do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryConfig {
    tries: u32,
    first: Nanos,
    factor: Ratio,
    jitter: Ratio,
    most: Nanos,
    honour_retry_after: bool,
    retry_after_most: Nanos,
}

impl Default for RetryConfig {
    fn default() -> Self {
        Self::from_text(&RetryText::default()).expect("the defaults are in their ranges")
    }
}

impl RetryConfig {
    /// Checks what a person wrote.
    ///
    /// # Errors
    /// Names the value that is out of its range.
    pub fn from_text(text: &RetryText) -> Result<Self, RetryError> {
        if text.tries > TRIES_MAX {
            return Err(RetryError {
                key: "tries",
                expected: "a whole number from 0 to 1000",
                found: text.tries.to_string(),
            });
        }
        Ok(Self {
            tries: text.tries,
            first: seconds("first_s", text.first_s)?,
            factor: thousandths("factor", text.factor, 1.0, FACTOR_MAX)?,
            jitter: thousandths("jitter", text.jitter, 0.0, 1.0)?,
            most: seconds("most_s", text.most_s)?,
            honour_retry_after: text.honour_retry_after,
            retry_after_most: seconds("retry_after_most_s", text.retry_after_most_s)?,
        })
    }

    /// As a person would write it.
    #[must_use]
    pub fn to_text(&self) -> RetryText {
        RetryText {
            tries: self.tries,
            first_s: self.first.as_secs_f64(),
            factor: f64::from(self.factor.0) / 1000.0,
            jitter: f64::from(self.jitter.0) / 1000.0,
            most_s: self.most.as_secs_f64(),
            honour_retry_after: self.honour_retry_after,
            retry_after_most_s: self.retry_after_most.as_secs_f64(),
        }
    }

    /// The wait before further try number `further` (from 1), before chance takes anything away.
    fn backoff(&self, further: u32) -> Nanos {
        let most = u128::from(self.most.0);
        let mut wait = u128::from(self.first.0).min(most);
        for _ in 1..further {
            let longer = (wait * u128::from(self.factor.0) / 1000).min(most);
            if longer == wait {
                break;
            }
            wait = longer;
        }
        Nanos(wait as u64)
    }
}

fn seconds(key: &'static str, value: f64) -> Result<Nanos, RetryError> {
    let found = Nanos::from_secs_f64(value).filter(|_| value <= WAIT_MAX_S);
    found.ok_or_else(|| RetryError {
        key,
        expected: "seconds from 0 to 86400",
        found: value.to_string(),
    })
}

fn thousandths(key: &'static str, value: f64, low: f64, high: f64) -> Result<Ratio, RetryError> {
    if !(low..=high).contains(&value) {
        let expected = if low > 0.0 {
            "a number from 1 to 1000"
        } else {
            "a share from 0 to 1"
        };
        let found = value.to_string();
        return Err(RetryError {
            key,
            expected,
            found,
        });
    }
    Ok(Ratio((value * 1000.0 + 0.5) as u32))
}

/// All clients of a run, and who of them waits to try again.
#[derive(Clone, Debug)]
pub(crate) struct Clients {
    config: RetryConfig,
    jitter: Stream,
    /// First by time, then by number.
    waiting: BinaryHeap<Reverse<(Nanos, RequestId)>>,
}

impl Clients {
    pub(crate) fn new(config: RetryConfig, seed: u64) -> Self {
        Self {
            config,
            jitter: Stream::new(seed, "client-retry"),
            waiting: BinaryHeap::new(),
        }
    }

    /// What the client does about a try that ended at `now` as `record` says: true if it will come again.
    /// `retry_after` is what it was asked to wait.
    pub(crate) fn ended(
        &mut self,
        now: Nanos,
        record: &RequestRecord,
        retry_after: Option<Nanos>,
    ) -> bool {
        let again = match record.outcome {
            Outcome::Completed
            | Outcome::Cancelled
            | Outcome::Rejected(
                RejectReason::PromptTooLong | RejectReason::TooLate | RejectReason::TooManyAttempts,
            ) => false,
            Outcome::Rejected(_) | Outcome::RejectedAfterPrefill => {
                record.tries <= self.config.tries
            }
        };
        if again {
            let wait = self.wait(record.id, record.tries, retry_after);
            self.waiting.push(Reverse((now + wait, record.id)));
        }
        again
    }

    /// How long the client waits before further try number `further`, from 1.
    fn wait(&self, request: RequestId, further: u32, retry_after: Option<Nanos>) -> Nanos {
        let backoff = self.config.backoff(further);
        let share = (u128::from(backoff.0) * u128::from(self.config.jitter.0) / 1000) as u64;
        // Every try of every request has a number of its own: tries are below 1024.
        let draw = request.0 << 10 | u64::from(further);
        let wait = backoff - Nanos(self.jitter.below(draw, share + 1));
        let config = &self.config;
        let asked = retry_after
            .filter(|&asked| config.honour_retry_after && asked <= config.retry_after_most);
        wait.max(asked.unwrap_or(Nanos::ZERO))
    }

    /// When the next client comes again.
    pub(crate) fn next(&self) -> Option<Nanos> {
        self.waiting.peek().map(|&Reverse((at, _))| at)
    }

    /// The client that comes again next.
    pub(crate) fn pop(&mut self) -> Option<RequestId> {
        self.waiting.pop().map(|Reverse((_, request))| request)
    }

    /// A client that waits goes for good.
    pub(crate) fn go(&mut self, request: RequestId) {
        self.waiting.retain(|&Reverse((_, other))| other != request);
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(text: &RetryText) -> Clients {
        Clients::new(RetryConfig::from_text(text).expect("in range"), 1)
    }

    const FIRST: RequestId = RequestId(0);

    #[test]
    fn waits_double_up_to_the_most() {
        let plain = clients(&RetryText {
            jitter: 0.0,
            ..RetryText::default()
        });
        let waits = [1, 2, 3, 4, 5, 6, 1_000].map(|further| plain.wait(FIRST, further, None));
        let expected = [500, 1_000, 2_000, 4_000, 8_000, 8_000, 8_000].map(Nanos::from_millis);
        assert_eq!(waits, expected);
    }

    #[test]
    fn chance_takes_up_to_its_share_and_is_the_same_every_time() {
        let jittered = clients(&RetryText::default());
        let waits: Vec<_> = (0..1_000)
            .map(|request| jittered.wait(RequestId(request), 2, None))
            .collect();
        let (least, most) = (waits.iter().min(), waits.iter().max());
        let (least, most) = (least.expect("1,000"), most.expect("1,000"));
        let near =
            |found: &Nanos, millis| found.0.abs_diff(Nanos::from_millis(millis).0) < 5_000_000;
        assert!(near(least, 750) && near(most, 1_000), "{least} to {most}");
        let text = RetryConfig::default().to_text();
        assert_eq!(text, RetryText::default());
        let again = clients(&text);
        assert_eq!(waits[7], again.wait(RequestId(7), 2, None));
        // The backoff has reached its cap at both: only a draw of its own can differ.
        let capped = [6, 7].map(|further| again.wait(RequestId(7), further, None));
        assert_ne!(capped[0], capped[1], "each try has a draw of its own");
    }

    #[test]
    fn retry_after_is_a_lower_bound_unless_it_is_ignored_or_absurd() {
        let wait = |honour_retry_after, asked| {
            let text = RetryText {
                jitter: 0.0,
                honour_retry_after,
                ..RetryText::default()
            };
            clients(&text).wait(FIRST, 1, Some(asked))
        };
        let (own, asked) = (Nanos::from_millis(500), Nanos::from_secs(3));
        assert_eq!(wait(true, asked), asked);
        assert_eq!(wait(true, Nanos::from_millis(1)), own);
        assert_eq!(wait(true, Nanos::from_secs(61)), own);
        assert_eq!(wait(false, asked), own);
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        let check = |change: fn(&mut RetryText), expected: &str| {
            let mut text = RetryText::default();
            change(&mut text);
            let error = RetryConfig::from_text(&text).expect_err(expected);
            assert_eq!(error.to_string(), expected);
        };
        check(
            |text| text.tries = 1_001,
            "`tries`: expected a whole number from 0 to 1000, found 1001",
        );
        check(
            |text| text.first_s = -1.0,
            "`first_s`: expected seconds from 0 to 86400, found -1",
        );
        check(
            |text| text.factor = 0.5,
            "`factor`: expected a number from 1 to 1000, found 0.5",
        );
        check(
            |text| text.jitter = f64::NAN,
            "`jitter`: expected a share from 0 to 1, found NaN",
        );
        check(
            |text| text.most_s = 1e9,
            "`most_s`: expected seconds from 0 to 86400, found 1000000000",
        );
    }
}
