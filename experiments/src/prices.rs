//! What tokens cost on a cluster that has a price.
//!
//! A cluster costs the same an hour whether it is busy or not, so the price of a token is that of the time in which it
//! is served: the price an hour over the tokens an hour. The time is the span of the arrivals, as in requests a second:
//! in steady operation the next requests come when these have, and nobody pays for an end. Tokens are those of prompts
//! and of answers, of completed requests; a prompt's count whether they were cached or computed, as users are billed.

use crate::execute::Done;
use conductor_core::config::Price;
use conductor_core::units::Nanos;
use conductor_sim::record::{Outcome, RequestRecord};
use conductor_sim::report::effective;
use serde::Serialize;

/// What a run served, and in which time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Served {
    /// From the beginning of what is measured to the last arrival, seconds.
    pub span_s: f64,
    /// Requests that arrived.
    pub requests: u64,
    /// Prompt and answer tokens of completed requests.
    pub tokens: u64,
    /// The same of those within their limits.
    pub tokens_within: u64,
}

/// What it costs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// In what; empty if the cluster file does not say.
    pub currency: String,
    /// The cluster, an hour.
    pub per_hour: f64,
    /// A million tokens; none if nothing was served.
    pub per_million_tokens: Option<f64>,
    /// A million tokens of requests within their limits.
    pub per_million_tokens_within: Option<f64>,
}

impl Served {
    /// What a run served.
    #[must_use]
    pub fn of(done: &Done) -> Self {
        let records = &done.result.records;
        let tokens = |record: &RequestRecord| record.input.0 + record.output.0;
        let completed = records
            .iter()
            .filter(|record| record.outcome == Outcome::Completed);
        let last = records.iter().map(|record| record.arrival).max();
        let begins = done
            .report
            .measured
            .map_or(0.0, |measured| measured.begins_s);
        Self {
            span_s: last.map_or(0.0, Nanos::as_secs_f64) - begins,
            requests: records.len() as u64,
            tokens: completed.map(tokens).sum(),
            tokens_within: effective(&done.config.policy, records).map(tokens).sum(),
        }
    }

    /// Requests a second.
    #[must_use]
    pub fn rps(&self) -> f64 {
        if self.span_s > 0.0 {
            self.requests as f64 / self.span_s
        } else {
            0.0
        }
    }
}

impl Cost {
    /// Of what several runs served one after the other.
    #[must_use]
    pub fn of(price: &Price, served: &[Served]) -> Self {
        let spent = price.per_hour * served.iter().map(|one| one.span_s).sum::<f64>() / 3600.0;
        let of = |tokens: fn(&Served) -> u64| {
            let tokens: u64 = served.iter().map(tokens).sum();
            (tokens > 0).then(|| spent / tokens as f64 * 1e6)
        };
        Self {
            currency: price.currency.clone(),
            per_hour: price.per_hour,
            per_million_tokens: of(|one| one.tokens),
            per_million_tokens_within: of(|one| one.tokens_within),
        }
    }
}

/// The place of the cheapest by tokens within the limits, of at least two that have a price in the same currency.
#[must_use]
pub fn cheapest(costs: &[Option<Cost>]) -> Option<usize> {
    let priced = || {
        costs
            .iter()
            .enumerate()
            .filter_map(|(i, cost)| Some((i, cost.as_ref()?)))
    };
    let (_, first) = priced().next()?;
    if priced().count() < 2 || priced().any(|(_, cost)| cost.currency != first.currency) {
        return None;
    }
    let within = priced().filter_map(|(i, cost)| Some((i, cost.per_million_tokens_within?)));
    within
        .min_by(|(_, a), (_, b)| a.total_cmp(b))
        .map(|(i, _)| i)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(per_hour: f64, currency: &str, tokens_within: u64) -> Cost {
        let price = Price {
            per_hour,
            currency: currency.to_string(),
        };
        let served = Served {
            span_s: 1800.0,
            requests: 10,
            tokens: 4_000_000,
            tokens_within,
        };
        Cost::of(&price, &[served, served])
    }

    #[test]
    fn time_is_spent_and_tokens_are_bought() {
        let cost = cost(20.0, "EUR", 1_000_000);
        // An hour for 8 million tokens, 2 million of them within the limits.
        assert!((cost.per_million_tokens.expect("some") - 2.5).abs() < 1e-12);
        assert!((cost.per_million_tokens_within.expect("some") - 10.0).abs() < 1e-12);
    }

    #[test]
    fn only_like_is_compared_with_like() {
        let of = |costs: &[Option<Cost>]| cheapest(costs);
        let (dear, cheap) = (cost(30.0, "EUR", 1_000), cost(20.0, "EUR", 1_000));
        assert_eq!(
            of(&[Some(dear.clone()), None, Some(cheap.clone())]),
            Some(2)
        );
        assert_eq!(
            of(&[Some(dear.clone()), Some(cost(20.0, "USD", 1_000))]),
            None
        );
        assert_eq!(of(&[Some(dear.clone()), None]), None);
        assert_eq!(of(&[Some(cost(10.0, "EUR", 0)), Some(dear)]), Some(1));
    }
}
