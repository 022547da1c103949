//! One request, from its head to its end, whatever the end is: one that is dropped without one was cancelled.

use super::{Metrics, Outcome};
use crate::gateway::generation::Usage;
use crate::gateway::log::Log;
use conductor_core::action::RejectReason;
use conductor_core::units::Nanos;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// See the module.
pub(in crate::gateway) struct Observed {
    metrics: Arc<Metrics>,
    log: Arc<Log>,
    id: String,
    began: Instant,
    first: Option<Duration>,
    last: Option<Nanos>,
    tokens: u64,
    outcome: Option<Outcome>,
    reason: Option<RejectReason>,
}

impl Observed {
    /// A request that came at `began`.
    pub(in crate::gateway) fn new(
        metrics: &Arc<Metrics>,
        log: &Arc<Log>,
        id: &str,
        began: Instant,
    ) -> Self {
        Self {
            metrics: Arc::clone(metrics),
            log: Arc::clone(log),
            id: id.to_owned(),
            began,
            first: None,
            last: None,
            tokens: 0,
            outcome: None,
            reason: None,
        }
    }

    /// A token, which the driver took then.
    pub(in crate::gateway) fn token(&mut self, at: Nanos) {
        self.tokens += 1;
        match self.last.replace(at) {
            None => {
                let first = self.began.elapsed();
                self.first = Some(first);
                self.metrics.ttft.observe(first);
            }
            Some(last) => {
                let gap = at.saturating_sub(last);
                self.metrics.tbt.observe(Duration::from_nanos(gap.0));
            }
        }
    }

    pub(in crate::gateway) fn completed(&mut self, usage: Usage) {
        self.outcome = Some(Outcome::Completed);
        self.metrics.e2e.observe(self.began.elapsed());
        for (counter, tokens) in [
            (&self.metrics.prompt_tokens, usage.prompt),
            (&self.metrics.cached_tokens, usage.cached),
            (&self.metrics.output_tokens, usage.output),
        ] {
            counter.fetch_add(tokens, Ordering::Relaxed);
        }
    }

    pub(in crate::gateway) fn rejected(&mut self, reason: RejectReason) {
        self.outcome = Some(Outcome::Rejected);
        self.reason = Some(reason);
        self.metrics.rejected(reason);
    }

    pub(in crate::gateway) const fn failed(&mut self) {
        self.outcome = Some(Outcome::Failed);
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        let outcome = self.outcome.unwrap_or(Outcome::Cancelled);
        self.metrics.ended(outcome);
        self.log.line(|| {
            let names = super::OUTCOMES.iter();
            let mut names = names.filter(|&&(other, _)| other == outcome);
            let name = names.next().map_or("", |&(_, name)| name);
            let millis = |duration: Duration| duration.as_secs_f64() * 1e3;
            let mut line = format!("request {} {name}", self.id);
            if let Some(reason) = self.reason {
                let _ = write!(line, " {}", reason.name());
            }
            let _ = write!(line, ": {} tokens", self.tokens);
            if let Some(first) = self.first {
                let _ = write!(line, ", first after {:.1} ms", millis(first));
            }
            let _ = write!(line, ", {:.1} ms in all", millis(self.began.elapsed()));
            line
        });
    }
}
