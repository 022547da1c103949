//! Any bytes as a trace: an error or rows. Rows hold what a reader promises; compressed input is reached too.
#![no_main]

use conductor_core::units::Tokens;
use conductor_traces::formats::{MAX_TOKENS, ReadOptions, TraceReader};
use libfuzzer_sys::fuzz_target;
use std::io::Cursor;

fuzz_target!(|input: (bool, Vec<u8>)| {
    let (sort, bytes) = input;
    let options = ReadOptions { sort, ..ReadOptions::default() };
    let Ok(reader) = TraceReader::from_bytes("fuzz", Cursor::new(bytes), &options) else { return };
    let mut latest = None;
    for row in reader {
        let Ok(row) = row else { return };
        assert!((1..=MAX_TOKENS).contains(&row.input.0) && (1..=MAX_TOKENS).contains(&row.output.0));
        assert!(row.blocks.is_empty() || row.blocks.len() as u32 == row.input.blocks(Tokens(512)));
        assert!(latest <= Some(row.arrival));
        latest = Some(row.arrival);
    }
});
