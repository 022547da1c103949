//! What the gateway counts, as Prometheus reads it.
//!
//! Labels come from closed lists and node numbers, so the number of series is known beforehand. What the scheduler
//! counts is asked of the driver when somebody reads.

mod histogram;
mod observed;
mod text;

pub(super) use observed::Observed;

use crate::task::Status;
use conductor_core::action::RejectReason;
use histogram::Histogram;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use text::Page;

/// All reasons for which the Conductor turns requests away.
const REASONS: [RejectReason; 9] = [
    RejectReason::NoPrefillNode,
    RejectReason::NoDecodeNode,
    RejectReason::PromptTooLong,
    RejectReason::TooManyRequests,
    RejectReason::PrefillLoad,
    RejectReason::DecodeLoad,
    RejectReason::DecodeFull,
    RejectReason::TooLate,
    RejectReason::TooManyAttempts,
];

/// How requests end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// Answered whole.
    Completed,
    /// Turned away by the Conductor.
    Rejected,
    /// Not put before the Conductor: the request is wrong, or the gateway is full or shutting down.
    Refused,
    /// The client has gone.
    Cancelled,
    /// The scheduler has ended before the answer.
    Failed,
}

const OUTCOMES: [(Outcome, &str); 5] = [
    (Outcome::Completed, "completed"),
    (Outcome::Rejected, "rejected"),
    (Outcome::Refused, "refused"),
    (Outcome::Cancelled, "cancelled"),
    (Outcome::Failed, "failed"),
];

/// See the module.
pub(super) struct Metrics {
    outcomes: [AtomicU64; OUTCOMES.len()],
    rejections: [AtomicU64; REASONS.len()],
    /// Errors that requests were answered with, by code: a closed list of words.
    errors: Mutex<BTreeMap<&'static str, u64>>,
    prompt_tokens: AtomicU64,
    cached_tokens: AtomicU64,
    output_tokens: AtomicU64,
    ttft: Histogram,
    tbt: Histogram,
    e2e: Histogram,
    /// Answers that were given again for their key.
    pub(super) repeated: AtomicU64,
    /// Connections that found no room.
    pub(super) connections_refused: AtomicU64,
}

impl Metrics {
    pub(super) fn new() -> Self {
        Self {
            outcomes: Default::default(),
            rejections: Default::default(),
            errors: Mutex::default(),
            prompt_tokens: AtomicU64::new(0),
            cached_tokens: AtomicU64::new(0),
            output_tokens: AtomicU64::new(0),
            ttft: Histogram::of_seconds(),
            tbt: Histogram::of_gaps(),
            e2e: Histogram::of_seconds(),
            repeated: AtomicU64::new(0),
            connections_refused: AtomicU64::new(0),
        }
    }

    fn ended(&self, outcome: Outcome) {
        self.outcomes[outcome as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn rejected(&self, reason: RejectReason) {
        if let Some(i) = REASONS.iter().position(|&other| other == reason) {
            self.rejections[i].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A request was not put before the Conductor.
    pub(super) fn refused(&self) {
        self.ended(Outcome::Refused);
    }

    /// Somebody was answered with an error.
    pub(super) fn error(&self, code: &'static str) {
        let mut errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        *errors.entry(code).or_default() += 1;
    }

    /// The page; `under_way` are requests that the gateway has room taken for.
    pub(super) fn page(&self, status: &Status, under_way: usize, log_lost: u64) -> String {
        let mut page = Page::default();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let outcomes = OUTCOMES.iter().zip(&self.outcomes);
        page.labelled(
            "requests_total",
            "Requests by how they ended.",
            "outcome",
            outcomes.map(|(&(_, name), count)| (name, read(count))),
        );
        let reasons = REASONS.iter().zip(&self.rejections);
        page.labelled(
            "rejections_total",
            "Requests that the Conductor turned away, by reason.",
            "reason",
            reasons.map(|(reason, count)| (reason.name(), read(count))),
        );
        let errors = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        let errors = errors.clone();
        page.labelled(
            "errors_total",
            "Errors that requests were answered with, by code.",
            "code",
            errors,
        );
        let tokens = [
            ("prompt", &self.prompt_tokens),
            ("cached", &self.cached_tokens),
            ("output", &self.output_tokens),
        ];
        page.labelled(
            "tokens_total",
            "Tokens of completed requests: of prompts, of those cached before, of answers.",
            "kind",
            tokens.map(|(name, count)| (name, read(count))),
        );
        page.histogram(
            "time_to_first_token_seconds",
            "From a request's head to its first token.",
            &self.ttft,
        );
        page.histogram(
            "time_between_tokens_seconds",
            "Between one token of an answer and the next, as the driver took them.",
            &self.tbt,
        );
        page.histogram(
            "request_seconds",
            "From a request's head to the end of its answer.",
            &self.e2e,
        );
        let gateway = [
            (
                "repeated_total",
                "Requests answered from another with the same Idempotency-Key.",
                &self.repeated,
            ),
            (
                "connections_refused_total",
                "Connections that found no room.",
                &self.connections_refused,
            ),
        ];
        for (name, help, count) in gateway {
            page.counter(name, help, read(count));
        }
        page.counter(
            "log_lost_total",
            "Lines that the request log could not take.",
            log_lost,
        );
        page.gauge(
            "requests_under_way",
            "Requests in the gateway.",
            under_way as f64,
        );
        scheduler(&mut page, status);
        page.finish()
    }
}

/// What the driver and the core have counted.
fn scheduler(page: &mut Page, status: &Status) {
    page.gauge(
        "live_requests",
        "Requests that the driver has not answered.",
        status.live as f64,
    );
    let up = status.up.iter().filter(|&&up| up).count();
    page.gauge("nodes_up", "Nodes that are connected.", up as f64);
    page.nodes(
        "node_up",
        "1 for a node that is connected.",
        status.up.iter().map(|&up| f64::from(u8::from(up))),
    );
    page.nodes(
        "node_load",
        "A node's predicted latency over its limit.",
        status.loads.load.iter().copied(),
    );
    page.gauge(
        "prefill_load",
        "Mean load of prefill nodes that are up.",
        status.loads.prefill,
    );
    page.gauge(
        "decode_load",
        "Mean load of decode nodes that are up.",
        status.loads.decode,
    );
    let (core, driver) = (&status.counters, &status.counts);
    let counters = [
        (
            "arrived_total",
            "Requests put before the Conductor.",
            core.arrived,
        ),
        (
            "dispatched_total",
            "Attempts dispatched to nodes.",
            core.dispatched,
        ),
        (
            "lost_attempts_total",
            "Attempts lost with a node, or failed.",
            core.lost,
        ),
        (
            "given_up_total",
            "Requests turned away because as many attempts were lost as may be.",
            core.given_up,
        ),
        (
            "resubmitted_total",
            "Attempts given in again.",
            driver.resubmitted,
        ),
        (
            "replications_total",
            "Copies of hot blocks that were ordered.",
            core.replications,
        ),
        (
            "role_switches_total",
            "Nodes that have changed their role.",
            core.role_switches,
        ),
        (
            "stale_facts_total",
            "Facts about attempts that had ended.",
            core.stale,
        ),
        (
            "within_slo_total",
            "Finished requests that met both limits.",
            core.within_slo,
        ),
        (
            "decisions_executed_total",
            "Orders carried out.",
            driver.executed,
        ),
        (
            "decisions_journaled_total",
            "Orders given to the journal.",
            driver.journaled,
        ),
        (
            "journal_lost_lines_total",
            "Lines that the journal could not take.",
            status.journal_lost,
        ),
        (
            "cache_resyncs_total",
            "Whole caches asked for because a report was missing.",
            driver.resyncs,
        ),
        (
            "differing_tokens_total",
            "Tokens of a later attempt that differ from what the client has: engines are not deterministic.",
            driver.differing_tokens,
        ),
    ];
    for (name, help, count) in counters {
        page.counter(name, help, count);
    }
}
