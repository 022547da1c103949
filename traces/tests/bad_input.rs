//! Everything that can be wrong with a trace file: one clear error each, never a panic, never a skipped row.

use conductor_core::units::{Nanos, Tokens};
use conductor_core::workload::WorkloadRequest;
use conductor_traces::formats::{
    Format, ReadOptions, TraceError, TraceReader, TraceWriter, open, read_all,
};
use flate2::Compression;
use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use std::io::{Cursor, Read, Write};

const GOOD: &str =
    r#"{"timestamp": 5, "input_length": 600, "output_length": 7, "hash_ids": [3, 9]}"#;

fn rows(bytes: impl Into<Vec<u8>>) -> Result<Vec<WorkloadRequest>, TraceError> {
    rows_with(bytes, &ReadOptions::default())
}

fn rows_with(
    bytes: impl Into<Vec<u8>>,
    options: &ReadOptions,
) -> Result<Vec<WorkloadRequest>, TraceError> {
    TraceReader::from_bytes("t", Cursor::new(bytes.into()), options)?.collect()
}

fn error(bytes: impl Into<Vec<u8>>) -> String {
    rows(bytes).expect_err("the input is bad").to_string()
}

#[test]
fn bad_rows_of_jsonl_say_line_field_and_expectation() {
    const TOKENS: &str = "expected a whole number of tokens from 1 to 16777216";
    const MILLIS: &str = "expected milliseconds since the start, from 0 to 9200000000000";
    const IDS: &str = "expected a list of whole numbers from 0 to 18446744073709551615";
    let row = |timestamp: &str, input: &str, output: &str, ids: &str| {
        format!(
            r#"{{"timestamp": {timestamp}, "input_length": {input}, "output_length": {output}, "hash_ids": {ids}}}"#
        )
    };
    let field = |name: &str, expected: &str, found: &str| {
        format!("field `{name}`: {expected}, found {found}")
    };
    let missing = |name: &str, expected: &str| {
        format!("field `{name}`: {expected}, but the row has no such field")
    };
    let cases: Vec<(String, String)> = vec![
        (row("5", "-3", "7", "[1, 2]"), field("input_length", TOKENS, "-3")),
        (row("5", "0", "7", "[]"), field("input_length", TOKENS, "0")),
        (row("5", "600", "0", "[1, 2]"), field("output_length", TOKENS, "0")),
        (row("5", "600.5", "7", "[1, 2]"), field("input_length", TOKENS, "600.5")),
        (row("5", "6e2", "7", "[1, 2]"), field("input_length", TOKENS, "6e2")),
        (row("5", "NaN", "7", "[1, 2]"), field("input_length", TOKENS, "NaN")),
        (row("5", "16777217", "7", "[1, 2]"), field("input_length", TOKENS, "16777217")),
        (row("5", "99999999999999999999999", "7", "[1]"), field("input_length", TOKENS, "99999999999999999999999")),
        (row("5", "600", "Infinity", "[1, 2]"), field("output_length", TOKENS, "Infinity")),
        (row("5", "\"600\"", "7", "[1, 2]"), field("input_length", TOKENS, "\"600\"")),
        (row("5", "null", "7", "[1, 2]"), field("input_length", TOKENS, "null")),
        (row("5", "0600", "7", "[1, 2]"), field("input_length", TOKENS, "0600")),
        (row("-1", "600", "7", "[1, 2]"), field("timestamp", MILLIS, "-1")),
        (row("-0.5", "600", "7", "[1, 2]"), field("timestamp", MILLIS, "-0.5")),
        (row("nan", "600", "7", "[1, 2]"), field("timestamp", MILLIS, "nan")),
        (row("9200000000001", "600", "7", "[1, 2]"), field("timestamp", MILLIS, "9200000000001")),
        (row("1e300", "600", "7", "[1, 2]"), field("timestamp", MILLIS, "1e300")),
        (row("5", "600", "7", "[1, -2]"), field("hash_ids", IDS, "-2")),
        (row("5", "600", "7", "[1, 18446744073709551616]"), field("hash_ids", IDS, "18446744073709551616")),
        (row("5", "600", "7", "[1, 2,]"), field("hash_ids", IDS, "]}")),
        (row("5", "600", "7", "7"), field("hash_ids", IDS, "7")),
        (
            row("5", "600", "7", "[1]"),
            "field `hash_ids`: expected 2 ids for 600 input tokens in blocks of 512, found 1".into(),
        ),
        (
            row("5", "512", "7", "[1, 2]"),
            "field `hash_ids`: expected 1 ids for 512 input tokens in blocks of 512, found 2".into(),
        ),
        (row("5", "600", "7", "[8, 8]"), "field `hash_ids`: expected distinct ids, found 8 twice".into()),
        (row("5", "1500", "7", "[9, 8, 9]"), "field `hash_ids`: expected distinct ids, found 9 twice".into()),
        (r#"{"input_length": 600, "output_length": 7, "hash_ids": [1, 2]}"#.into(), missing("timestamp", MILLIS)),
        (r#"{"timestamp": 5, "output_length": 7, "hash_ids": [1, 2]}"#.into(), missing("input_length", TOKENS)),
        (r#"{"timestamp": 5, "input_length": 600, "hash_ids": [1, 2]}"#.into(), missing("output_length", TOKENS)),
        (r#"{"timestamp": 5, "input_length": 600, "output_length": 7}"#.into(), missing("hash_ids", IDS)),
        ("{}".into(), missing("timestamp", MILLIS)),
        (
            r#"{"timestamp": 5, "timestamp": 5, "input_length": 600, "output_length": 7, "hash_ids": [1, 2]}"#.into(),
            "field `timestamp`: expected once, found twice".into(),
        ),
        (
            r#"{"time\u0073tamp": 5, "timestamp": 5}"#.into(),
            "field `timestamp`: expected once, found twice".into(),
        ),
        (
            row("4.999", "600", "7", "[1, 2]"),
            "field `timestamp`: expected a time not before the rows above, found one 0.001 ms earlier; --sort \
             accepts such a trace"
                .into(),
        ),
        (r#"{"timestamp": 5"#.into(), "column 16: expected `,` or `}`, found the end of the line".into()),
        (r#"{"timestamp" 5}"#.into(), "column 14: expected `:` after a field's name, found `5}`".into()),
        (format!("{GOOD} x"), "column 79: expected the end of the line, found `x`".into()),
        (format!("{GOOD}{GOOD}"), "column 78: expected the end of the line, found `{\"timestamp\": 5".into()),
        (r#"{"extra": tru}"#.into(), "column 11: expected a JSON value, found `tru}`".into()),
        (r#"{"extra": [1, {"a": 01}]}"#.into(), "column 21: expected a JSON value, found `01}]}`".into()),
        (r#"{"extra": "\x"}"#.into(), "column 12: expected an escape of JSON".into()),
        (r#"{"extra": "\ud800"}"#.into(), "column 12: expected an escape of JSON".into()),
        (r#"{"extra": "open"#.into(), "column 16: expected the closing quote of a string".into()),
        (format!("{{\"extra\": {}", "[".repeat(100_000)), "expected a value that nests at most 64 deep".into()),
        ("[1, 2]".into(), "column 1: expected `{`, found `[1, 2]`".into()),
        ("null".into(), "column 1: expected `{`, found `null`".into()),
    ];
    for (bad, expected) in cases {
        let message = error(format!("{GOOD}\n{bad}\n{GOOD}\n"));
        assert!(message.starts_with("t:2: "), "{bad}: {message}");
        assert!(
            message.contains(&expected),
            "{bad}\n  says:     {message}\n  expected: {expected}"
        );
        assert!(!message.contains('\n'), "{message}");
        // In the first row it fails as soon as the trace is opened, where it is still recognised as a trace.
        if bad.starts_with('{') && !bad.contains("4.999") {
            let message = error(bad.clone());
            assert!(
                message.starts_with("t:1: ") && message.contains(&expected),
                "{bad}: {message}"
            );
        }
    }
}

#[test]
fn bad_rows_of_csv_say_line_field_and_expectation() {
    const HEADER: &str = "TIMESTAMP,ContextTokens,GeneratedTokens";
    const FIRST: &str = "2023-11-16 18:15:46.6805900,374,44";
    let cases = [
        (
            "2023-11-16 18:15:46.6805899,374,44",
            "field `TIMESTAMP`: expected a time not before the rows above",
        ),
        (
            "2023-02-29 18:15:46.6805900,374,44",
            "field `TIMESTAMP`: expected a wall clock time",
        ),
        (
            "1700158546,374,44",
            "field `TIMESTAMP`: expected a wall clock time",
        ),
        (
            "2023-11-16 18:15:46.,374,44",
            "field `TIMESTAMP`: expected a wall clock time",
        ),
        (
            "2023-11-16 24:15:46,374,44",
            "field `TIMESTAMP`: expected a wall clock time",
        ),
        (
            "2023-11-17 18:15:46,-374,44",
            "field `ContextTokens`: expected a whole number of tokens from 1 to 16777216, found -374",
        ),
        (
            "2023-11-17 18:15:46,0,44",
            "field `ContextTokens`: expected a whole number of tokens from 1 to 16777216, found 0",
        ),
        (
            "2023-11-17 18:15:46,374,4.5",
            "field `GeneratedTokens`: expected a whole number of tokens from 1 to 16777216, found 4.5",
        ),
        (
            "2023-11-17 18:15:46,374,",
            "field `GeneratedTokens`: expected a whole number of tokens",
        ),
        (
            "2023-11-17 18:15:46,374",
            "field `GeneratedTokens`: expected a whole number of tokens from 1 to 16777216, but the row has no such field",
        ),
        (
            "2023-11-17 18:15:46,374,44,9",
            "column 28: expected three fields, found `9`",
        ),
        (
            "\u{fe}23-11-16 18:15:46,374,44",
            "field `TIMESTAMP`: expected a wall clock time",
        ),
    ];
    for (bad, expected) in cases {
        let message = error(format!("{HEADER}\n{FIRST}\n{bad}\n"));
        assert!(
            message.starts_with("t:3: ") && message.contains(expected),
            "{bad}: {message}"
        );
    }
    assert_eq!(error(HEADER), "t: the trace has no rows");
    assert!(error("TIMESTAMP,Context\n1,2\n").starts_with("t:1: expected Mooncake JSONL"));
}

#[test]
fn what_is_no_trace_at_all_is_said() {
    assert_eq!(error(""), "t: the trace has no rows");
    assert_eq!(error("\n \n\n"), "t: the trace has no rows");
    assert!(error("\nhello").contains("found `hello`"));
    assert!(error("hello").contains("t:1: expected Mooncake JSONL"));
    assert!(
        error(vec![0xff, 0xfe, 0x00])
            .contains("t:1: column 1: expected UTF-8 text, found the byte 0xff")
    );
    assert!(
        error([GOOD.as_bytes(), b"\n{\"a\": \"\xc3\x28\"}"].concat())
            .contains("t:2: column 8: expected UTF-8")
    );
    assert!(
        error(format!("{GOOD}\n\n{GOOD}\n")).contains("t:2: expected a row, found a blank line")
    );

    let missing = open("/nonexistent/trace.jsonl", &ReadOptions::default())
        .map(|_| ())
        .expect_err("absent");
    assert!(
        missing
            .to_string()
            .starts_with("/nonexistent/trace.jsonl: cannot open the trace"),
        "{missing}"
    );
    let folder = tempfile::tempdir().expect("a temporary folder");
    let error = open(folder.path(), &ReadOptions::default())
        .map(|_| ())
        .expect_err("a directory");
    assert!(matches!(error, TraceError::Directory { .. }), "{error}");
}

#[test]
fn a_line_without_end_is_refused_within_bounded_memory() {
    // 80 MiB on one line, from a source that is never held in memory whole.
    let endless =
        Cursor::new(b"{\"extra\": \"".to_vec()).chain(std::io::repeat(b'x').take(80 << 20));
    let error = TraceReader::from_bytes("t", endless, &ReadOptions::default())
        .map(|_| ())
        .expect_err("too long");
    assert_eq!(
        error.to_string(),
        "t:1: expected a line of at most 67108864 bytes, found a longer one"
    );
}

#[test]
fn what_is_unusual_but_right_is_read() {
    let plain = rows(format!("{GOOD}\n{GOOD}")).expect("good");
    for text in [
        format!("{GOOD}\n{GOOD}\n"),
        format!("{GOOD}\r\n{GOOD}\r\n\r\n\n"),
        format!("\u{feff}{GOOD}\n{GOOD}"),
        format!("  {GOOD}\n\t{GOOD}  \n   \n"),
        format!(
            "{GOOD}\n{}",
            r#"{"hash_ids":[3,9],"output_length":7,"x":{"y":[{},[],-1.5e-3,"\"\\\u00e9\ud83d\ude00",true,null]},"input_length":600,"timestamp":5.0}"#
        ),
        format!(
            "{GOOD}\n{}",
            r#"{ "\u0074imestamp" : 0.5e1 , "input_length" : 600 , "output_length" : 7 , "hash_ids" : [ 3 , 9 ] }"#
        ),
    ] {
        assert_eq!(rows(text.clone()).expect(&text), plain, "{text}");
    }
    assert_eq!(plain[0].arrival, Nanos::from_millis(5));
    let fractional = GOOD.replace("\"timestamp\": 5", "\"timestamp\": 0.0000015");
    assert_eq!(rows(fractional).expect("good")[0].arrival, Nanos(2));
    // Ids that are not numbered by first appearance, the greatest among them.
    let ids = GOOD.replace("[3, 9]", "[18446744073709551615, 0]");
    assert_eq!(rows(ids).expect("good")[0].blocks[0].0, u64::MAX);
    let small = ReadOptions {
        block_tokens: Tokens(300),
        ..ReadOptions::default()
    };
    assert_eq!(rows_with(GOOD, &small).expect("good").len(), 1);
}

#[test]
fn sorting_is_stable_and_starts_an_azure_trace_at_its_earliest_row() {
    let at = |millis: u64, output: u64| {
        GOOD.replace(": 5,", &format!(": {millis},"))
            .replace(": 7,", &format!(": {output},"))
    };
    let text = [at(9, 1), at(5, 2), at(9, 3), at(5, 4)].join("\n");
    assert!(error(text.clone()).contains("--sort"));
    let sort = ReadOptions {
        sort: true,
        ..ReadOptions::default()
    };
    let outputs: Vec<u64> = rows_with(text, &sort)
        .expect("sorted")
        .iter()
        .map(|row| row.output.0)
        .collect();
    assert_eq!(outputs, [2, 4, 1, 3]);

    let csv = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 00:00:01,1,1\n2023-11-15 23:59:59.5,2,2\n";
    let arrivals: Vec<u64> = rows_with(csv, &sort)
        .expect("sorted")
        .iter()
        .map(|row| row.arrival.0)
        .collect();
    assert_eq!(arrivals, [0, 1_500_000_000]);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory takes everything");
    encoder.finish().expect("memory takes everything")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    compress_to_vec(bytes, CompressionLevel::Fastest)
}

#[test]
fn compression_is_recognised_by_content_and_a_cut_is_an_error() {
    let text = format!("{GOOD}\n").repeat(500);
    let plain = rows(text.clone()).expect("good");
    let (half, rest) = text.as_bytes().split_at(text.len() / 2);
    for (name, packed, parts) in [
        (
            "gzip",
            gzip(text.as_bytes()),
            [gzip(half), gzip(rest)].concat(),
        ),
        (
            "zstd",
            zstd(text.as_bytes()),
            [
                zstd(half),
                b"\x50\x2a\x4d\x18\x02\0\0\0ab".to_vec(),
                zstd(rest),
            ]
            .concat(),
        ),
    ] {
        assert_eq!(rows(packed.clone()).expect(name), plain);
        assert_eq!(rows(parts).expect(name), plain);
        for cut in 1..packed.len() {
            let error = rows(&packed[..cut])
                .map(|_| ())
                .expect_err(name)
                .to_string();
            assert!(error.starts_with("t:"), "{name} cut at {cut}: {error}");
        }
        let garbage = rows([packed.as_slice(), b"garbage"].concat())
            .map(|_| ())
            .expect_err(name);
        assert!(
            matches!(garbage, TraceError::Read { .. }),
            "{name}: {garbage}"
        );
    }
}

#[test]
fn every_output_is_read_back() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut rows = rows(format!("{GOOD}\n").repeat(30_000)).expect("good");
    rows[29_999].arrival = Nanos(5_000_100);
    for name in [
        "t.jsonl",
        "t.jsonl.gz",
        "t.jsonl.zst",
        "t.csv",
        "t.csv.gz",
        "t.csv.zst",
    ] {
        let path = folder.path().join(name);
        let mut writer = TraceWriter::create(&path, Tokens(512)).expect(name);
        rows.iter().for_each(|row| writer.write(row).expect(name));
        writer.finish().expect(name);
        let reader = open(&path, &ReadOptions::default()).expect(name);
        let csv = name.contains("csv");
        assert_eq!(
            reader.format(),
            if csv { Format::Azure } else { Format::Mooncake }
        );
        let back: Vec<WorkloadRequest> = reader.collect::<Result<_, _>>().expect(name);
        if csv {
            assert_eq!(
                (back.len(), back[29_999].arrival, back[0].blocks.len()),
                (30_000, Nanos(100), 0),
                "{name}"
            );
        } else {
            assert_eq!(back, rows, "{name}");
        }
    }
    // A trace without prefixes becomes one in which nothing is shared.
    let bare: Vec<WorkloadRequest> = rows
        .iter()
        .take(3)
        .map(|row| WorkloadRequest {
            blocks: Vec::new(),
            ..row.clone()
        })
        .collect();
    let path = folder.path().join("bare.jsonl");
    let mut writer = TraceWriter::create(&path, Tokens(512)).expect("created");
    bare.iter()
        .for_each(|row| writer.write(row).expect("written"));
    writer.finish().expect("closed");
    let mut ids: Vec<u64> = read_all(&path, &ReadOptions::default())
        .expect("good")
        .iter()
        .flat_map(|row| &row.blocks)
        .map(|b| b.0)
        .collect();
    ids.dedup();
    assert_eq!(ids.len(), 6);
    let unknown = TraceWriter::create(folder.path().join("t.parquet"), Tokens(512))
        .map(|_| ())
        .expect_err("unknown");
    assert!(
        unknown
            .to_string()
            .contains("expected a name that ends in .jsonl")
    );
}
