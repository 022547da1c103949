//! Shares of requests within limits: the policy's two, each alone, and the places on a curve of TBT at which FAST'25
//! reads its figures.
//!
//! Not here: both limits together (`effective_ratio`).

use crate::record::{Outcome, RequestRecord};
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

impl TbtWithin {
    /// Of these records.
    #[must_use]
    pub fn of(records: &[RequestRecord]) -> Self {
        let mut tbt: Vec<Nanos> = completed(records).filter_map(|record| record.tbt).collect();
        tbt.sort_unstable();
        let within = |millis: u64| {
            let limit = Nanos(millis * 1_000_000);
            let met = tbt.partition_point(|tbt| *tbt <= limit);
            super::ratio(met as f64, tbt.len() as f64)
        };
        Self {
            ms_50: within(50),
            ms_70: within(70),
            ms_90: within(90),
            ms_100: within(100),
            ms_150: within(150),
            ms_200: within(200),
            ms_300: within(300),
            ms_500: within(500),
            ms_1000: within(1000),
        }
    }
}

/// Share of all requests that completed with a first token within `limit`.
pub(super) fn ttft_share(records: &[RequestRecord], limit: Nanos) -> f64 {
    let met = completed(records).filter(|record| record.ttft.is_some_and(|ttft| ttft <= limit));
    super::ratio(met.count() as f64, records.len() as f64)
}

/// Share of all requests that completed with a TBT within `limit`; one without a gap meets it.
pub(super) fn tbt_share(records: &[RequestRecord], limit: Nanos) -> f64 {
    let met = completed(records).filter(|record| record.tbt.is_none_or(|tbt| tbt <= limit));
    super::ratio(met.count() as f64, records.len() as f64)
}

fn completed(records: &[RequestRecord]) -> impl Iterator<Item = &RequestRecord> {
    let completed = |record: &&RequestRecord| record.outcome == Outcome::Completed;
    records.iter().filter(completed)
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
        let found = TbtWithin::of(&records);
        is(found.ms_50, 1.0 / 3.0);
        is(found.ms_100, 2.0 / 3.0);
        is(found.ms_150, 1.0);
        is(found.ms_1000, 1.0);
        is(tbt_share(&records, Nanos(100_000_000)), 0.75);
        is(ttft_share(&records, Nanos(200_000_000)), 0.5);
        // Who is turned away after the prefill has a first token, and is within nothing.
        records[0].outcome = Outcome::RejectedAfterPrefill;
        is(ttft_share(&records, Nanos(200_000_000)), 0.25);
        is(TbtWithin::of(&records).ms_50, 0.0);
        assert_eq!(TbtWithin::of(&[]), TbtWithin::default());
    }
}
