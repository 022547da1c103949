//! Shares of requests within limits: the policy's two, each alone, and the places on a curve of TBT at which FAST'25
//! reads its figures.
//!
//! Not here: both limits together (`effective_ratio`).

use crate::record::{Outcome, RequestRecord};
use conductor_core::config::Slo;
use conductor_core::units::Nanos;
use serde::{Deserialize, Serialize};

/// Share of completed requests with a gap whose TBT is at most so long. 0 if there are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TbtWithin {
    /// 50 ms.
    pub ms_50: f64,
    /// 70 ms.
    pub ms_70: f64,
    /// 90 ms.
    pub ms_90: f64,
    /// 100 ms.
    pub ms_100: f64,
    /// 150 ms.
    pub ms_150: f64,
    /// 200 ms.
    pub ms_200: f64,
    /// 300 ms.
    pub ms_300: f64,
    /// 500 ms.
    pub ms_500: f64,
    /// 1 s.
    pub ms_1000: f64,
}

/// The limits of [`TbtWithin`], in milliseconds.
const LIMITS_MS: [u64; 9] = [50, 70, 90, 100, 150, 200, 300, 500, 1000];

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Within {
    requests: u64,
    ttft: u64,
    tbt: u64,
    /// Completed requests with a gap, and how many of them are within each of the limits.
    with_gap: u64,
    within: [u64; LIMITS_MS.len()],
}

impl Within {
    pub(super) fn add(&mut self, record: &RequestRecord, slo: Slo) {
        self.requests += 1;
        if record.outcome != Outcome::Completed {
            return;
        }
        self.ttft += u64::from(record.ttft.is_some_and(|ttft| ttft <= slo.ttft));
        self.tbt += u64::from(record.tbt.is_none_or(|tbt| tbt <= slo.tbt));
        if let Some(tbt) = record.tbt {
            self.with_gap += 1;
            for (within, limit) in self.within.iter_mut().zip(LIMITS_MS) {
                *within += u64::from(tbt <= Nanos::from_millis(limit));
            }
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.ttft += other.ttft;
        self.tbt += other.tbt;
        self.with_gap += other.with_gap;
        for (within, other) in self.within.iter_mut().zip(other.within) {
            *within += other;
        }
    }

    /// Share of all requests that completed with a first token within the policy's limit.
    pub(super) fn ttft_share(&self) -> f64 {
        super::ratio(self.ttft as f64, self.requests as f64)
    }

    /// Share of all requests that completed with a TBT within the policy's limit; one without a gap meets it.
    pub(super) fn tbt_share(&self) -> f64 {
        super::ratio(self.tbt as f64, self.requests as f64)
    }

    pub(super) fn report(&self) -> TbtWithin {
        let shares = self
            .within
            .map(|within| super::ratio(within as f64, self.with_gap as f64));
        let [
            ms_50,
            ms_70,
            ms_90,
            ms_100,
            ms_150,
            ms_200,
            ms_300,
            ms_500,
            ms_1000,
        ] = shares;
        TbtWithin {
            ms_50,
            ms_70,
            ms_90,
            ms_100,
            ms_150,
            ms_200,
            ms_300,
            ms_500,
            ms_1000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use conductor_core::ids::{ClassId, RequestId};
    use conductor_core::units::Tokens;
    use conductor_core::workload::WorkloadRequest;

    #[test]
    fn shares_count_the_limit_itself_and_who_has_no_gap() {
        let request = WorkloadRequest {
            arrival: Nanos::ZERO,
            input: Tokens(10),
            output: Tokens(2),
            blocks: Vec::new(),
            class: ClassId::default(),
            workflow: None,
        };
        let record = |ttft_ms: u64, tbt_ms: Option<u64>| RequestRecord {
            ttft: Some(Nanos(ttft_ms * 1_000_000)),
            tbt: tbt_ms.map(|ms| Nanos(ms * 1_000_000)),
            ..RequestRecord::new(RequestId(0), &request)
        };
        let mut records = vec![
            record(100, Some(50)),
            record(200, Some(100)),
            record(300, None),
            record(400, Some(101)),
        ];
        let is = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found}");
        let slo = |ttft_ms, tbt_ms| Slo {
            ttft: Nanos::from_millis(ttft_ms),
            tbt: Nanos::from_millis(tbt_ms),
        };
        let of = |records: &[RequestRecord], slo| {
            let mut within = Within::default();
            records.iter().for_each(|record| within.add(record, slo));
            within
        };
        let within = of(&records, slo(200, 100));
        let found = within.report();
        is(found.ms_50, 1.0 / 3.0);
        is(found.ms_100, 2.0 / 3.0);
        is(found.ms_150, 1.0);
        is(found.ms_1000, 1.0);
        is(within.tbt_share(), 0.75);
        is(within.ttft_share(), 0.5);
        // Who is turned away after the prefill has a first token, and is within nothing.
        records[0].outcome = Outcome::RejectedAfterPrefill;
        let within = of(&records, slo(200, 100));
        is(within.ttft_share(), 0.25);
        is(within.report().ms_50, 0.0);
        assert_eq!(Within::default().report(), TbtWithin::default());
    }
}
