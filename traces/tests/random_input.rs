//! Random bytes and random damage: an error or rows, never a panic; and what is written is what was meant.

use conductor_core::ids::{BlockHash, ClassId};
use conductor_core::units::{Nanos, Tokens};
use conductor_core::workload::WorkloadRequest;
use conductor_traces::formats::{ReadOptions, TraceError, TraceReader, TraceWriter, read_all};
use proptest::prelude::*;
use std::io::Cursor;

const ROWS: &str = r#"{"timestamp": 0, "input_length": 600, "output_length": 7, "hash_ids": [3, 9]}
{"timestamp": 27.5, "input_length": 512, "output_length": 1, "hash_ids": [3], "extra": {"a": [1, "b\n"]}}
"#;
const CSV: &str = "TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:15:46.6805900,374,44
2023-11-16 18:15:50.9951690,396,109
";

fn read(bytes: Vec<u8>, sort: bool) -> Result<Vec<WorkloadRequest>, TraceError> {
    let options = ReadOptions {
        sort,
        ..ReadOptions::default()
    };
    TraceReader::from_bytes("t", Cursor::new(bytes), &options)?.collect()
}

fn row() -> impl Strategy<Value = WorkloadRequest> {
    let ids = proptest::collection::btree_set(any::<u64>(), 1..20).prop_shuffle_into_vec();
    (0_u64..1 << 50, 1_u64..=512, 1_u64..=1 << 24, ids).prop_map(|(arrival, last, output, ids)| {
        WorkloadRequest {
            class: ClassId::default(),
            workflow: None,
            arrival: Nanos(arrival),
            input: Tokens((ids.len() as u64 - 1) * 512 + last),
            output: Tokens(output),
            blocks: ids.into_iter().map(BlockHash).collect(),
        }
    })
}

/// A set in any order.
trait ShuffleIntoVec: Strategy<Value = std::collections::BTreeSet<u64>> + Sized {
    fn prop_shuffle_into_vec(self) -> impl Strategy<Value = Vec<u64>> {
        self.prop_map(|set| set.into_iter().collect::<Vec<_>>())
            .prop_shuffle()
    }
}

impl<S: Strategy<Value = std::collections::BTreeSet<u64>>> ShuffleIntoVec for S {}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), sort: bool) {
        let _ = read(bytes, sort);
    }

    #[test]
    fn random_bytes_behind_a_magic_number_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        magic in prop::sample::select(vec![&b"\x1f\x8b"[..], b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18", b"{\"timestamp\":"]),
    ) {
        let _ = read([magic, &bytes].concat(), false);
    }

    #[test]
    fn damaged_rows_never_panic(
        text in prop::sample::select(vec![ROWS, CSV]),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..3), 1..6),
        sort: bool,
    ) {
        let mut bytes = text.as_bytes().to_vec();
        for (place, byte, how) in damage {
            let at = place.index(bytes.len());
            match how {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ if bytes.len() > 1 => drop(bytes.remove(at)),
                _ => {}
            }
        }
        if let Err(error) = read(bytes, sort) {
            let message = error.to_string();
            prop_assert!(message.starts_with("t:"), "{}", message);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn written_rows_are_read_back(
        mut rows in proptest::collection::vec(row(), 1..20),
        suffix in prop::sample::select(vec!["", ".gz", ".zst"]),
    ) {
        rows.sort_by_key(|row| row.arrival);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join(format!("t.jsonl{suffix}"));
        let mut writer = TraceWriter::create(&path, Tokens(512)).expect("created");
        for row in &rows {
            writer.write(row).expect("written");
        }
        writer.finish().expect("closed");
        let back = read_all(&path, &ReadOptions::default()).expect("what was written is well formed");
        prop_assert_eq!(back, rows);
    }
}
