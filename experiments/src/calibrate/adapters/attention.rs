//! Mixed-batch attention of LLMServingSim (github.com/casys-kaist/LLMServingSim, MIT), in microseconds.
//!
//! One layer's attention over a piece of a prompt (`prefill_chunk` tokens behind `kv_prefill`) and `n_decode`
//! requests with `kv_decode` tokens each, in one kernel; either half may be absent. The only grid of its kind, so it
//! says what a mixed batch costs beside its parts ([`crate::calibrate::additivity`]); it is no machine's profile.

use crate::calibrate::CalibrateError;
use crate::calibrate::sheet::Sheet;

pub(super) const COLUMNS: [&str; 5] = [
    "prefill_chunk",
    "kv_prefill",
    "n_decode",
    "kv_decode",
    "time_us",
];

/// One timing of an attention kernel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionPoint {
    /// Tokens of a prompt; 0 for none.
    pub chunk: u64,
    /// Tokens before them.
    pub chunk_cached: u64,
    /// Requests that decode; 0 for none.
    pub batch: u64,
    /// KV tokens of each.
    pub context: u64,
    /// How long it took.
    pub seconds: f64,
}

pub(super) fn read(sheet: &Sheet) -> Result<Vec<AttentionPoint>, CalibrateError> {
    let point = |row| {
        Ok(AttentionPoint {
            chunk: sheet.whole(row, "prefill_chunk", 0)?,
            chunk_cached: sheet.whole(row, "kv_prefill", 0)?,
            batch: sheet.whole(row, "n_decode", 0)?,
            context: sheet.whole(row, "kv_decode", 0)?,
            seconds: sheet.positive(row, "time_us")? / 1e6,
        })
    };
    sheet.rows.iter().map(point).collect()
}
