//! Azure CSV: `TIMESTAMP,ContextTokens,GeneratedTokens`, one request a line, wall clock with up to nine digits.
//!
//! Source of the format: github.com/Azure/AzurePublicDataset, LLM inference traces of 2023 (and of 2024, whose
//! stamps end in `+00:00`). The file says nothing of prefixes, so rows carry no blocks. A row here is stamped
//! with nanoseconds since 1970; the reader moves the first (or earliest) row to zero.

use super::MAX_TOKENS;
use super::error::{RowProblem, excerpt};
use conductor_core::units::{Nanos, Tokens};
use conductor_core::workload::WorkloadRequest;

/// The header by which the format is recognised.
pub(crate) const HEADER: &str = "TIMESTAMP,ContextTokens,GeneratedTokens";

const STAMP: &str = "a wall clock time such as 2023-11-16 18:15:46.6805900 from 1970 to 2200";
const TOKENS: &str = "a whole number of tokens from 1 to 16777216";

/// Reads one row, stamped with its absolute time.
///
/// # Errors
/// The first thing that is wrong with the row.
pub(crate) fn parse(line: &str) -> Result<WorkloadRequest, RowProblem> {
    let mut fields = line.trim_end_matches('\r').split(',');
    let stamp = fields.next().unwrap_or_default();
    let arrival = wall_clock(stamp.trim()).ok_or_else(|| RowProblem::Field {
        field: "TIMESTAMP",
        expected: STAMP,
        found: excerpt(stamp.as_bytes()),
    })?;
    let input = tokens(fields.next(), "ContextTokens")?;
    let output = tokens(fields.next(), "GeneratedTokens")?;
    if let Some(extra) = fields.next() {
        let column = extra.as_ptr() as usize - line.as_ptr() as usize + 1;
        let found = format!("`{}`", excerpt(extra.as_bytes()));
        return Err(RowProblem::Syntax {
            column,
            expected: "three fields",
            found,
        });
    }
    Ok(WorkloadRequest {
        class: conductor_core::ids::ClassId::default(),
        workflow: None,
        arrival,
        input,
        output,
        blocks: Vec::new(),
    })
}

fn tokens(text: Option<&str>, field: &'static str) -> Result<Tokens, RowProblem> {
    let text = text
        .ok_or(RowProblem::Missing {
            field,
            expected: TOKENS,
        })?
        .trim();
    let count = text
        .bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten();
    match count {
        Some(count @ 1..=MAX_TOKENS) => Ok(Tokens(count)),
        _ => Err(RowProblem::Field {
            field,
            expected: TOKENS,
            found: excerpt(text.as_bytes()),
        }),
    }
}

/// `2023-11-16 18:15:46.6805900` (or with `T`, and with `Z` or `+00:00` behind) as nanoseconds since 1970.
fn wall_clock(text: &str) -> Option<Nanos> {
    let text = text
        .strip_suffix("+00:00")
        .or_else(|| text.strip_suffix('Z'))
        .unwrap_or(text);
    if !text.is_ascii() || text.len() < 19 {
        return None;
    }
    let (head, tail) = text.split_at(19);
    let bytes = head.as_bytes();
    let shape = bytes[4] == b'-' && bytes[7] == b'-' && matches!(bytes[10], b' ' | b'T');
    if !shape || bytes[13] != b':' || bytes[16] != b':' {
        return None;
    }
    let (year, month, day) = (
        digits(&head[..4])?,
        digits(&head[5..7])?,
        digits(&head[8..10])?,
    );
    let (hour, minute, second) = (
        digits(&head[11..13])?,
        digits(&head[14..16])?,
        digits(&head[17..19])?,
    );
    if !(1970..2200).contains(&year) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days_since_1970(year, month, day)?;
    let fraction = match tail.strip_prefix('.') {
        Some(fraction) if (1..=9).contains(&fraction.len()) => {
            let scale = 10_u64.pow(9 - fraction.len() as u32);
            digits(fraction)? * scale
        }
        None if tail.is_empty() => 0,
        _ => return None,
    };
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second;
    Some(Nanos(seconds * 1_000_000_000 + fraction))
}

fn digits(text: &str) -> Option<u64> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

/// Days from 1970-01-01 to a date of the Gregorian calendar; `None` where there is no such date.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    let leap = |year: u64| {
        (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400)
    };
    let february = if leap(year) { 29 } else { 28 };
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let length = *months.get(usize::try_from(month.checked_sub(1)?).ok()?)?;
    if day == 0 || day > length {
        return None;
    }
    let years: u64 = (1970..year).map(|y| if leap(y) { 366 } else { 365 }).sum();
    let before: u64 = months.iter().take(month as usize - 1).sum();
    Some(years + before + day - 1)
}

/// The date that lies `days` after 1970-01-01, as year, month, day.
pub(crate) fn date(days: u64) -> (u64, u64, u64) {
    let mut year = 1970;
    // `days_since_1970` of a first of January always exists.
    while days_since_1970(year + 1, 1, 1).is_some_and(|next| next <= days) {
        year += 1;
    }
    let mut month = 1;
    while days_since_1970(year, month + 1, 1).is_some_and(|next| next <= days) {
        month += 1;
    }
    let first = days_since_1970(year, month, 1).unwrap_or(days);
    (year, month, days - first + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_calendar_counts_leap_days() {
        assert_eq!(days_since_1970(1970, 1, 1), Some(0));
        assert_eq!(days_since_1970(2000, 3, 1), Some(11_017));
        assert_eq!(days_since_1970(2023, 11, 16), Some(19_677));
        for days in [0, 58, 59, 364, 365, 11_016, 11_017, 18_262, 19_677] {
            let (year, month, day) = date(days);
            assert_eq!(days_since_1970(year, month, day), Some(days));
        }
        for bad in [
            (2023, 2, 29),
            (2023, 0, 1),
            (2023, 13, 1),
            (2023, 4, 31),
            (2023, 4, 0),
        ] {
            assert_eq!(days_since_1970(bad.0, bad.1, bad.2), None, "{bad:?}");
        }
    }
}
