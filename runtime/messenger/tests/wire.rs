//! Frames: what is said is heard, anything else is an error.

use conductor_messenger::Span;
use conductor_messenger::wire::{
    Attached, Challenge, Frame, HEAD_BYTES, Head, Hello, MESSAGE_MAX, Malformed, Read, Refusal,
    SPANS_MAX, Status, Write,
};
use proptest::prelude::*;

fn parse(bytes: &[u8]) -> Result<Frame, Malformed> {
    let (head, body) = bytes
        .split_first_chunk::<HEAD_BYTES>()
        .ok_or(Malformed::Length(0))?;
    Frame::parse(Head::parse(*head)?, body)
}

fn spans() -> impl Strategy<Value = Vec<Span>> {
    let span = any::<(u32, u32)>().prop_map(|(o, b)| Span::new(o.into(), b.into()));
    prop::collection::vec(span, 0..20)
}

fn frame() -> impl Strategy<Value = Frame> {
    let hello = any::<(u16, u16, u16, u64, [u8; 16])>();
    let bytes = || prop::collection::vec(any::<u8>(), 0..100);
    prop_oneof![
        hello.prop_map(|(version, lane, node, session, nonce)| Frame::Hello(Hello {
            version,
            lane,
            node,
            session,
            nonce
        })),
        any::<(u16, u16, [u8; 16])>().prop_map(|(version, node, nonce)| {
            Frame::Challenge(Challenge {
                version,
                node,
                nonce,
            })
        }),
        any::<[u8; 32]>().prop_map(Frame::Proof),
        any::<[u8; 32]>().prop_map(Frame::Welcome),
        Just(Frame::Refused(Refusal::Secret)),
        Just(Frame::Refused(Refusal::Leaving)),
        (any::<(u64, u64, Option<u64>, Option<u32>)>(), spans()).prop_map(
            |((id, key, immediate, checksum), spans)| Frame::Write(Write {
                id,
                key,
                bytes: spans.iter().map(|s| s.bytes).sum(),
                immediate,
                checksum,
                spans,
            })
        ),
        (any::<(u64, u64, bool)>(), spans()).prop_map(|((id, key, checksum), spans)| {
            Frame::Read(Read {
                id,
                key,
                bytes: spans.iter().map(|s| s.bytes).sum(),
                checksum,
                spans,
            })
        }),
        any::<u64>().prop_map(|id| Frame::Ack {
            id,
            status: Status::OutOfBounds
        }),
        any::<(u64, u64, Option<u32>)>().prop_map(|(id, bytes, checksum)| Frame::Data {
            id,
            bytes,
            checksum
        }),
        (any::<u64>(), bytes()).prop_map(|(id, message)| Frame::Call { id, message }),
        (any::<u64>(), bytes()).prop_map(|(id, message)| Frame::Reply { id, message }),
        (any::<u64>(), bytes()).prop_map(|(id, message)| Frame::Exchange { id, message }),
        any::<u64>().prop_map(|id| Frame::Ping { id }),
        Just(Frame::Bye),
        any::<(u64, u64)>().prop_map(|(id, key)| Frame::Attach { id, key }),
        any::<(u64, u64, u32, u32, u32)>().prop_map(|(id, region, offset, slot, generation)| {
            let window = Span::new(offset.into(), 10);
            Frame::Attached {
                id,
                attached: Attached {
                    region,
                    region_bytes: 1 << 33,
                    window,
                    rights: 3,
                    slot,
                    generation,
                },
            }
        }),
    ]
}

proptest! {
    #[test]
    fn frames_come_back_as_they_were(frame in frame()) {
        let mut bytes = vec![0xaa];
        frame.encode(&mut bytes);
        prop_assert_eq!(parse(&bytes[1..]), Ok(frame));
    }

    #[test]
    fn changed_and_shortened_frames_are_errors_or_other_frames(
        frame in frame(), at: prop::sample::Index, bit in 0..8, cut: prop::sample::Index,
    ) {
        let mut bytes = Vec::new();
        frame.encode(&mut bytes);
        let short = cut.index(bytes.len());
        prop_assert!(parse(&bytes[..short]).is_err());
        let at = at.index(bytes.len());
        bytes[at] ^= 1u8 << bit;
        // One frame has one encoding: a change is seen, or is another frame.
        if let Ok(other) = parse(&bytes) {
            prop_assert_ne!(&other, &frame);
            let mut again = Vec::new();
            other.encode(&mut again);
            prop_assert_eq!(again, bytes);
        }
    }

    #[test]
    fn no_bytes_are_a_panic(kind in 0..20u8, flags in 0..4u8, body in prop::collection::vec(any::<u8>(), 0..200)) {
        let length = (body.len() as u32).to_le_bytes();
        let head = [kind, flags, 0, 0].into_iter().chain(length);
        let bytes: Vec<u8> = head.chain(body).collect();
        let _any = parse(&bytes);
    }
}

#[test]
fn lengths_are_refused_before_anything_is_waited_for() {
    for (kind, longest) in [
        (1u8, 34usize),
        (6, 36 + 16 * SPANS_MAX),
        (7, 16 + 16 * SPANS_MAX),
        (10, 8 + MESSAGE_MAX),
        (13, 0),
    ] {
        for (length, fits) in [(longest, true), (longest + 1, false)] {
            let [a, b, c, d] = (length as u32).to_le_bytes();
            let head = Head::parse([kind, 0, 0, 0, a, b, c, d]);
            assert_eq!(head.is_ok(), fits, "{kind} {length}");
        }
    }
    assert_eq!(Head::parse([0; 8]), Err(Malformed::Kind(0)));
    assert_eq!(
        Head::parse([13, 1, 0, 0, 0, 0, 0, 0]),
        Err(Malformed::Flags)
    );
}

#[test]
fn sums_that_overflow_are_errors() {
    let frame = Frame::Read(Read {
        id: 0,
        key: 0,
        bytes: 0,
        checksum: false,
        spans: vec![Span::new(0, 1); 2],
    });
    let mut bytes = Vec::new();
    frame.encode(&mut bytes);
    for (at, value) in [(24, u64::MAX), (32, u64::MAX)] {
        let mut bytes = bytes.clone();
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        assert!(matches!(parse(&bytes), Err(Malformed::Value(_))), "{at}");
    }
}
