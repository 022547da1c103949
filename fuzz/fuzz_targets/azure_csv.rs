//! Any text behind the header of an Azure trace: an error or rows without blocks, in order, from zero on.
#![no_main]

use conductor_core::units::Nanos;
use conductor_traces::formats::{ReadOptions, TraceReader};
use libfuzzer_sys::fuzz_target;
use std::io::{Cursor, Read};

fuzz_target!(|input: (bool, Vec<u8>)| {
    let (sort, bytes) = input;
    let options = ReadOptions { sort, ..ReadOptions::default() };
    let header = Cursor::new(b"TIMESTAMP,ContextTokens,GeneratedTokens\n");
    let Ok(reader) = TraceReader::from_bytes("fuzz", header.chain(Cursor::new(bytes)), &options) else { return };
    let mut latest = None;
    for row in reader {
        let Ok(row) = row else { return };
        assert!(row.blocks.is_empty());
        assert!(latest <= Some(row.arrival) && (latest.is_some() || row.arrival == Nanos::ZERO));
        latest = Some(row.arrival);
    }
});
