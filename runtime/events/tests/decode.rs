//! Payloads in all forms, and those that are none.

use crate::support::writer::{Form, Hashes, Said, Writer};
use conductor_events::decode::batch;
use conductor_events::event::{Attention, EngineHash, KvEvent, Medium, Removed, Stored};
use proptest::prelude::*;
use rmp::encode as write;

fn stored() -> Said {
    Said::Stored {
        blocks: vec![1, u64::MAX - 5],
        parent: None,
        tokens: (0..8).collect(),
        size: 4,
        medium: "GPU",
        lora: Some("sql"),
        salt: Some("tenantA"),
    }
}

#[test]
fn all_forms_say_the_same() {
    let events = [
        stored(),
        Said::Removed {
            blocks: vec![1],
            medium: "CPU_PINNED",
        },
        Said::Cleared,
    ];
    for form in [Form::Arrays, Form::Maps] {
        for hashes in [Hashes::Unsigned, Hashes::Signed, Hashes::Bytes] {
            let batch = batch(&Writer::batch(form, hashes, &events)).expect("a batch");
            assert_eq!((batch.unknown_events, batch.unknown_fields), (0, 0));
            let [
                KvEvent::Stored(stored),
                KvEvent::Removed(removed),
                KvEvent::Cleared,
            ] = &batch.events[..]
            else {
                panic!("{form:?} {hashes:?}: {:?}", batch.events);
            };
            let expected = Stored {
                blocks: vec![EngineHash(1), EngineHash(u64::MAX - 5)],
                tokens: (0..8).collect(),
                block_tokens: 4,
                adapter: Some("sql".into()),
                salt: Some("tenantA".into()),
                ..Stored::default()
            };
            assert_eq!(*stored, expected, "{form:?} {hashes:?}");
            assert_eq!(removed.place.medium, Medium::Cpu);
            assert_eq!(removed.blocks, [EngineHash(1)]);
        }
    }
}

/// Writes a value.
type Write<'a> = &'a dyn Fn(&mut Vec<u8>);

/// A map of names and what `values` writes for each.
fn map(values: &[(&str, Write<'_>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    write::write_array_len(&mut bytes, 2).expect("fits");
    write::write_f64(&mut bytes, 0.0).expect("fits");
    write::write_array_len(&mut bytes, 1).expect("fits");
    write::write_map_len(&mut bytes, values.len() as u32).expect("fits");
    for (name, value) in values {
        write::write_str(&mut bytes, name).expect("fits");
        value(&mut bytes);
    }
    bytes
}

fn text(text: &'static str) -> impl Fn(&mut Vec<u8>) {
    move |bytes| write::write_str(bytes, text).expect("fits")
}

fn number(number: u64) -> impl Fn(&mut Vec<u8>) {
    move |bytes| {
        write::write_uint(bytes, number).expect("fits");
    }
}

fn numbers(numbers: &'static [u64]) -> impl Fn(&mut Vec<u8>) {
    move |bytes| {
        write::write_array_len(bytes, numbers.len() as u32).expect("fits");
        for &number in numbers {
            write::write_uint(bytes, number).expect("fits");
        }
    }
}

#[test]
fn what_is_not_known_is_passed_over_and_counted() {
    let unknown = map(&[
        ("type", &text("BlockMoved")),
        ("block_hashes", &numbers(&[1, 2])),
    ]);
    let read = batch(&unknown).expect("a batch");
    assert_eq!((read.events.len(), read.unknown_events), (0, 1));
    // Its kind may stand last, and what is in a field that is not known may be anything.
    let more = map(&[
        ("block_hashes", &numbers(&[1])),
        ("colour", &|bytes| {
            write::write_map_len(bytes, 1).expect("fits");
            write::write_str(bytes, "is").expect("fits");
            write::write_array_len(bytes, 2).expect("fits");
            write::write_nil(bytes).expect("fits");
            write::write_bool(bytes, true).expect("fits");
        }),
        ("group_idx", &number(2)),
        ("type", &text("BlockRemoved")),
    ]);
    let read = batch(&more).expect("a batch");
    assert_eq!(read.unknown_fields, 1);
    let [KvEvent::Removed(Removed { place, .. })] = read.events[..] else {
        panic!("{:?}", read.events);
    };
    assert_eq!(place.group, 2);
}

#[test]
fn the_standards_names_are_understood_too() {
    let standard = map(&[
        ("event_type", &text("stored")),
        ("seq_hashes", &numbers(&[5])),
        ("parent_hash", &number(4)),
        ("token_ids", &numbers(&[1, 2])),
        ("block_size", &number(2)),
        ("medium", &text("disk")),
    ]);
    let read = batch(&standard).expect("a batch");
    let [KvEvent::Stored(stored)] = &read.events[..] else {
        panic!("{:?}", read.events);
    };
    assert_eq!(stored.blocks, [EngineHash(5)]);
    assert_eq!(stored.parent, Some(EngineHash(4)));
    assert_eq!(stored.place.medium, Medium::Disk);
}

#[test]
fn what_lies_with_others_or_attends_to_less_is_told_apart() {
    let remote = map(&[
        ("type", &text("BlockStored")),
        ("locality", &text("REMOTE")),
        ("medium", &text("GPU")),
        ("kv_cache_spec_kind", &text("sliding_window")),
    ]);
    let read = batch(&remote).expect("a batch");
    let [KvEvent::Stored(stored)] = &read.events[..] else {
        panic!("{:?}", read.events);
    };
    assert_eq!(stored.place.medium, Medium::Elsewhere);
    assert_eq!(stored.attention, Attention::Partial);
}

#[test]
fn pairs_of_tokens_are_taken_for_their_first() {
    let pairs = map(&[
        ("type", &text("BlockStored")),
        ("token_ids", &|bytes| {
            write::write_array_len(bytes, 2).expect("fits");
            for pair in [[7, 8], [8, 9]] {
                write::write_array_len(bytes, 2).expect("fits");
                for token in pair {
                    write::write_uint(bytes, token).expect("fits");
                }
            }
        }),
    ]);
    let read = batch(&pairs).expect("a batch");
    let [KvEvent::Stored(stored)] = &read.events[..] else {
        panic!("{:?}", read.events);
    };
    assert_eq!(stored.tokens, [7, 8]);
}

#[test]
fn images_make_a_block_another_one() {
    let with = |offset: u64| {
        map(&[
            ("type", &text("BlockStored")),
            ("block_hashes", &numbers(&[1])),
            ("extra_keys", &move |bytes| {
                write::write_array_len(bytes, 1).expect("fits");
                write::write_array_len(bytes, 2).expect("fits");
                write::write_array_len(bytes, 2).expect("fits");
                write::write_str(bytes, "image").expect("fits");
                write::write_uint(bytes, offset).expect("fits");
                write::write_str(bytes, "salt").expect("fits");
            }),
        ])
    };
    let others = |payload: &[u8]| {
        let read = batch(payload).expect("a batch");
        let KvEvent::Stored(stored) = &read.events[0] else {
            panic!("{:?}", read.events);
        };
        assert_eq!(stored.salt.as_deref(), Some("salt"));
        stored.others.clone()
    };
    let (one, other) = (others(&with(0)), others(&with(5)));
    assert!(one.len() == 1 && one[0] != 0 && one != other);
}

#[test]
fn what_is_no_batch_is_said_in_one_line() {
    let whole = Writer::batch(Form::Maps, Hashes::Unsigned, &[stored()]);
    let malformed = |bytes: &[u8]| batch(bytes).expect_err("no batch").to_string();
    assert_eq!(malformed(&[]), "byte 0: the payload ends too early");
    for cut in 1..whole.len() {
        assert!(!malformed(&whole[..cut]).contains('\n'));
    }
    let mut more = whole.to_vec();
    more.push(0);
    assert!(malformed(&more).ends_with("something behind the batch"));
    // A length that nothing stands behind, and nesting without end.
    assert!(
        malformed(&[0x92, 0, 0xdd, 0xff, 0xff, 0xff, 0xff]).contains("longer than the payload")
    );
    let mut deep = vec![0x93, 0xc0, 0x90, 0xc0];
    deep[0] = 0x94;
    deep.extend([0x91; 1000]);
    deep.push(0);
    assert!(malformed(&deep).contains("too deep"));
    let wrong = map(&[
        ("type", &text("BlockRemoved")),
        ("block_hashes", &text("none")),
    ]);
    assert!(malformed(&wrong).ends_with("expected at most 65536 blocks"));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = batch(&bytes);
    }

    #[test]
    fn nor_does_a_payload_with_a_byte_changed(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = Writer::batch(Form::Arrays, Hashes::Bytes, &[stored()]).to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = batch(&bytes);
    }
}
