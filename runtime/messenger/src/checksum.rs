//! CRC-32C of spans of a region. Memory that others may write is copied out first: what is summed is what was seen.

use crate::region::raw::Mapping;
use crate::region::{Cursor, Span};

/// Fits into a core's first cache with room for the rest.
const PIECE: usize = 16 * 1024;
/// As long as a task may keep its thread: a tenth of a millisecond or so.
const BURST: u64 = 1 << 20;

pub(crate) async fn checksum(mapping: &Mapping, spans: &[Span]) -> u32 {
    let (mut sum, mut since) = (0, 0);
    let mut buffer = vec![0; PIECE];
    let mut cursor = Cursor::new(spans);
    while let Some(piece) = cursor.piece(PIECE as u64) {
        let bytes = &mut buffer[..piece.bytes as usize];
        mapping.load(piece.offset, bytes);
        sum = crc32c::crc32c_append(sum, bytes);
        cursor.advance(piece.bytes);
        since += piece.bytes;
        if since >= BURST {
            tokio::task::yield_now().await;
            since = 0;
        }
    }
    sum
}
