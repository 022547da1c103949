//! Mooncake JSONL: one row `{"timestamp": ms, "input_length": n, "output_length": n, "hash_ids": [..]}` a line.
//!
//! Source of the format: the README of github.com/kvcache-ai/Mooncake, FAST25-release/traces. `timestamp` is in
//! milliseconds since the start; an id in `hash_ids` stands for a block of the prompt *and all before it*. Fields
//! may come in any order; unknown ones are checked as JSON and ignored.

use super::error::RowProblem;
use super::json::{Scanner, is_number};
use super::{MAX_TOKENS, ReadOptions};
use conductor_core::ids::{BlockHash, ClassId};
use conductor_core::units::{Nanos, Tokens};
use conductor_core::workload::WorkloadRequest;

const TOKENS: &str = "a whole number of tokens from 1 to 16777216";
const MILLIS: &str = "milliseconds since the start, from 0 to 9200000000000";
const IDS: &str = "a list of whole numbers from 0 to 18446744073709551615";

/// Reads one row. `scratch` is only a buffer that is kept between rows.
///
/// # Errors
/// The first thing that is wrong with the row.
pub(crate) fn parse(
    line: &str,
    options: &ReadOptions,
    scratch: &mut Vec<u64>,
) -> Result<WorkloadRequest, RowProblem> {
    let mut row = Scanner::new(line);
    let mut arrival = None;
    let mut input = None;
    let mut output = None;
    let mut blocks: Option<Vec<BlockHash>> = None;
    row.expect(b'{', "`{`")?;
    if !row.take(b'}') {
        loop {
            let key = row.string()?;
            row.expect(b':', "`:` after a field's name")?;
            match key.as_ref() {
                "timestamp" => once(&mut arrival, "timestamp", timestamp(&mut row)?)?,
                "input_length" => once(
                    &mut input,
                    "input_length",
                    tokens(&mut row, "input_length")?,
                )?,
                "output_length" => once(
                    &mut output,
                    "output_length",
                    tokens(&mut row, "output_length")?,
                )?,
                "hash_ids" => once(&mut blocks, "hash_ids", ids(&mut row, input, options)?)?,
                _ => row.skip_value()?,
            }
            if !row.take(b',') {
                break;
            }
        }
        row.expect(b'}', "`,` or `}`")?;
    }
    row.end()?;
    let missing = |field, expected| RowProblem::Missing { field, expected };
    let request = WorkloadRequest {
        class: ClassId::default(),
        workflow: None,
        arrival: arrival.ok_or_else(|| missing("timestamp", MILLIS))?,
        input: input.ok_or_else(|| missing("input_length", TOKENS))?,
        output: output.ok_or_else(|| missing("output_length", TOKENS))?,
        blocks: blocks.ok_or_else(|| missing("hash_ids", IDS))?,
    };
    check_blocks(&request, options, scratch)?;
    Ok(request)
}

fn once<T>(slot: &mut Option<T>, field: &'static str, value: T) -> Result<(), RowProblem> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(RowProblem::Duplicate { field }),
    }
}

fn tokens(row: &mut Scanner<'_>, field: &'static str) -> Result<Tokens, RowProblem> {
    // The scanner takes nothing where it finds no number, so the message can show what stands there.
    let wrong = |found| RowProblem::Field {
        field,
        expected: TOKENS,
        found,
    };
    match row.whole() {
        Some(count @ 1..=MAX_TOKENS) => Ok(Tokens(count)),
        Some(other) => Err(wrong(other.to_string())),
        None => Err(wrong(row.found())),
    }
}

/// Milliseconds, whole or fractional, rounded to the nearest nanosecond.
fn timestamp(row: &mut Scanner<'_>) -> Result<Nanos, RowProblem> {
    // 2^63 ns is 292 years.
    const MAX_MILLIS: u64 = 9_200_000_000_000;
    let wrong = |found| RowProblem::Field {
        field: "timestamp",
        expected: MILLIS,
        found,
    };
    match row.whole() {
        Some(millis @ 0..=MAX_MILLIS) => return Ok(Nanos::from_millis(millis)),
        Some(other) => return Err(wrong(other.to_string())),
        None => {}
    }
    let token = row.token();
    let nanos = is_number(token).then(|| decimal_millis(token)).flatten();
    match nanos {
        Some(nanos) if nanos.0 <= MAX_MILLIS * 1_000_000 => {
            row.skip_token(token);
            Ok(nanos)
        }
        _ => Err(wrong(row.found())),
    }
}

/// A decimal number of milliseconds as nanoseconds. `None` where it is negative or too large.
fn decimal_millis(token: &str) -> Option<Nanos> {
    if token.contains(['e', 'E']) {
        // Rare; a float's 15 digits do.
        let millis: f64 = token.parse().ok()?;
        return Nanos::from_secs_f64(millis / 1e3);
    }
    let (whole, fraction) = token.split_once('.').unwrap_or((token, ""));
    let millis: u64 = whole.parse().ok()?;
    // The first six digits behind the point are nanoseconds, the seventh rounds.
    let mut digits = fraction
        .bytes()
        .map(|b| u64::from(b - b'0'))
        .chain(std::iter::repeat(0));
    let nanos = digits
        .by_ref()
        .take(6)
        .fold(0, |value, digit| value * 10 + digit);
    let carry = u64::from(digits.next().is_some_and(|digit| digit >= 5));
    millis
        .checked_mul(1_000_000)?
        .checked_add(nanos + carry)
        .map(Nanos)
}

fn ids(
    row: &mut Scanner<'_>,
    input: Option<Tokens>,
    options: &ReadOptions,
) -> Result<Vec<BlockHash>, RowProblem> {
    let wrong = |found| RowProblem::Field {
        field: "hash_ids",
        expected: IDS,
        found,
    };
    if !row.take(b'[') {
        return Err(wrong(row.found()));
    }
    // The length mostly stands before the ids; an allocation of the right size then, and a bounded one.
    let expected = input.map_or(0, |tokens| tokens.blocks(options.block_tokens).min(1 << 15));
    let mut blocks = Vec::with_capacity(expected as usize);
    if row.take(b']') {
        return Ok(blocks);
    }
    loop {
        match row.whole() {
            Some(id) => blocks.push(BlockHash(id)),
            None => return Err(wrong(row.found())),
        }
        if !row.take(b',') {
            break;
        }
    }
    if row.take(b']') {
        Ok(blocks)
    } else {
        Err(row.fault("`,` or `]` in `hash_ids`"))
    }
}

fn check_blocks(
    request: &WorkloadRequest,
    options: &ReadOptions,
    scratch: &mut Vec<u64>,
) -> Result<(), RowProblem> {
    let expected = u64::from(request.input.blocks(options.block_tokens));
    if request.blocks.len() as u64 != expected {
        return Err(RowProblem::BlockCount {
            expected,
            found: request.blocks.len() as u64,
            input_tokens: request.input.0,
            block_tokens: options.block_tokens.0,
        });
    }
    // Ids are mostly numbered by first appearance: an ascending row needs no sorting.
    if request.blocks.windows(2).all(|pair| pair[0] < pair[1]) {
        return Ok(());
    }
    scratch.clear();
    scratch.extend(request.blocks.iter().map(|block| block.0));
    scratch.sort_unstable();
    match scratch.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(RowProblem::RepeatedBlock { id: pair[0] }),
        None => Ok(()),
    }
}
