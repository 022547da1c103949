//! A read or write cut into work requests: each one remote range, a short list of local pieces, and not too many bytes.
//!
//! A work request names one remote address. So it ends where the remote span ends, where its list of local pieces is
//! full, or where it is as long as slices are: parts of one operation then go over several NICs at a time, and when
//! one fails, no more than its slices are sent again.

use crate::region::Span;

/// What a device and the settings allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes of a slice, at least one.
    pub(crate) bytes: u64,
    /// Local pieces of a slice, at least one.
    pub(crate) pieces: usize,
}

/// One work request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    /// The remote range, counted from the remote region's beginning.
    pub(crate) remote: Span,
    /// The local pieces, in order: a range of [`Plan::pieces`].
    pub(crate) pieces: std::ops::Range<usize>,
}

/// All work requests of an operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) slices: Vec<Slice>,
    pub(crate) pieces: Vec<Span>,
}

/// Cuts an operation, whose spans are equally long in all.
pub(crate) fn plan(local: &[Span], remote: &[Span], limits: Limits) -> Plan {
    let mut plan = Plan::default();
    let mut local = local.iter().copied().filter(|span| span.bytes > 0);
    let mut here = Span::new(0, 0);
    for there in remote {
        let (mut at, mut left) = (there.offset, there.bytes);
        while left > 0 {
            let first = plan.pieces.len();
            let (mut bytes, most) = (0, left.min(limits.bytes));
            while bytes < most && plan.pieces.len() - first < limits.pieces {
                if here.bytes == 0 {
                    // Both sides are equally long (`Op::new`), so there is more here as long as there is there.
                    let Some(next) = local.next() else { break };
                    here = next;
                }
                let take = here.bytes.min(most - bytes);
                join(&mut plan.pieces, first, Span::new(here.offset, take));
                here = Span::new(here.offset + take, here.bytes - take);
                bytes += take;
            }
            if bytes == 0 {
                return plan;
            }
            plan.slices.push(Slice {
                remote: Span::new(at, bytes),
                pieces: first..plan.pieces.len(),
            });
            at += bytes;
            left -= bytes;
        }
    }
    plan
}

/// Adds a piece, as a part of the one before it if that ends where it begins.
fn join(pieces: &mut Vec<Span>, first: usize, piece: Span) {
    let fresh = pieces.len() == first;
    match pieces.last_mut() {
        Some(last) if !fresh && last.end() == Some(piece.offset) => last.bytes += piece.bytes,
        _ => pieces.push(piece),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Where each byte comes from and goes to.
    fn bytes(local: &[Span], remote: &[Span]) -> Vec<(u64, u64)> {
        let all = |spans: &[Span]| -> Vec<u64> {
            let each = spans.iter().flat_map(|s| s.offset..s.offset + s.bytes);
            each.collect()
        };
        all(local).into_iter().zip(all(remote)).collect()
    }

    #[test]
    fn a_block_set_is_a_request_for_each_remote_block() {
        let limits = Limits {
            bytes: 1 << 20,
            pieces: 16,
        };
        let local = [Span::new(0, 512), Span::new(512, 512), Span::new(4096, 512)];
        let remote = [Span::new(9000, 1024), Span::new(100, 512)];
        let plan = plan(&local, &remote, limits);
        assert_eq!(plan.slices.len(), 2);
        assert_eq!(
            plan.pieces,
            [Span::new(0, 1024), Span::new(4096, 512)],
            "neighbours are one piece"
        );
    }

    fn spans() -> impl Strategy<Value = (Vec<Span>, Vec<Span>)> {
        let lengths = || prop::collection::vec(0u64..40, 0..8);
        (lengths(), lengths(), 0u64..30).prop_map(|(a, b, gap)| {
            let total = a.iter().sum::<u64>().min(b.iter().sum());
            let place = |lengths: Vec<u64>, mut at: u64| {
                let mut left = total;
                let cut = lengths.into_iter().map(|length| {
                    let take = length.min(left);
                    left -= take;
                    let span = Span::new(at, take);
                    at += take + gap % 3;
                    span
                });
                cut.collect::<Vec<_>>()
            };
            (place(a, 1000), place(b, gap))
        })
    }

    proptest! {
        #[test]
        fn every_byte_goes_where_it_should_once((local, remote) in spans(), most in 1u64..50, pieces in 1usize..5) {
            let limits = Limits { bytes: most, pieces };
            let plan = plan(&local, &remote, limits);
            let mut moved = Vec::new();
            for slice in &plan.slices {
                let from = &plan.pieces[slice.pieces.clone()];
                prop_assert!(from.len() <= pieces && slice.remote.bytes <= most && slice.remote.bytes > 0);
                prop_assert_eq!(Span::total(from), Some(slice.remote.bytes));
                moved.extend(bytes(from, &[slice.remote]));
            }
            prop_assert_eq!(moved, bytes(&local, &remote));
        }
    }
}
