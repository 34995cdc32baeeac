//! Owns how ranges become reads: neighbours in one pack are read at once. Pure.

use crate::limits;
use crate::packs::PackId;
use crate::store::chunks::ChunkRow;
use bytes::Bytes;
use std::ops::Range;
use tarn_proto::chunk::wire::FetchStatus;
use tarn_proto::ids::ChunkId;

/// What to send for one range.
#[derive(Debug, Clone)]
pub(super) enum Part {
    /// Nothing but a word.
    Word(ChunkId, FetchStatus),
    /// The whole stored form.
    Whole(ChunkRow),
    /// Some frames.
    Frames {
        /// The chunk.
        row: ChunkRow,
        /// Its header, read before.
        header: Bytes,
        /// The first frame.
        first: u32,
        /// How many.
        count: u32,
        /// Where the frames are in the stored form.
        range: Range<u64>,
    },
}

impl Part {
    /// The pack and the range in it that this part needs.
    pub(super) fn wants(&self) -> Option<(PackId, Range<u64>)> {
        match self {
            Self::Word(..) => None,
            Self::Whole(row) => Some((row.pack, row.offset..row.offset + u64::from(row.stored_bytes))),
            Self::Frames { row, range, .. } => Some((row.pack, row.offset + range.start..row.offset + range.end)),
        }
    }
}

/// One read of a pack, and the parts that it serves, in order.
#[derive(Debug, Clone)]
pub(super) struct Read {
    /// From where; `None` for parts that need no bytes.
    pub(super) from: Option<(PackId, Range<u64>)>,
    /// For what.
    pub(super) parts: Vec<Part>,
}

/// Groups parts in order into reads.
pub(super) fn group(parts: Vec<Part>) -> Vec<Read> {
    let mut reads: Vec<Read> = Vec::new();
    for part in parts {
        let from = part.wants();
        let joined = reads.last().and_then(|last| join(last.from.as_ref()?, from.as_ref()?));
        match (joined, reads.last_mut()) {
            (Some(joined), Some(last)) => {
                last.from = Some(joined);
                last.parts.push(part);
            }
            _ => reads.push(Read { from, parts: vec![part] }),
        }
    }
    reads
}

/// The read that serves both, if they follow each other closely in one pack.
fn join(one: &(PackId, Range<u64>), two: &(PackId, Range<u64>)) -> Option<(PackId, Range<u64>)> {
    let near = one.0 == two.0 && two.1.start >= one.1.end && two.1.start - one.1.end <= limits::COALESCE_GAP_BYTES;
    let joined = one.1.start..two.1.end;
    (near && joined.end - joined.start <= limits::COALESCE_BYTES_MAX).then_some((one.0, joined))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(pack: u8, offset: u64, stored_bytes: u32) -> Part {
        let id = ChunkId([0; 32]);
        let pack = PackId([pack; 16]);
        Part::Whole(ChunkRow { id, pack, offset, stored_bytes, plain_bytes: 1, header_bytes: 10, node: None })
    }

    fn ranges(parts: Vec<Part>) -> Vec<Option<Range<u64>>> {
        group(parts).into_iter().map(|read| read.from.map(|from| from.1)).collect()
    }

    #[test]
    fn neighbours_are_read_at_once() {
        assert_eq!(ranges(vec![whole(1, 37, 100), whole(1, 174, 100)]), [Some(37..274)]);
    }

    #[test]
    fn far_ones_backward_ones_and_other_packs_are_not() {
        let parts = vec![whole(1, 0, 10), whole(1, 1 << 20, 10), whole(1, 0, 10), whole(2, 10, 10)];
        assert_eq!(group(parts).len(), 4);
    }

    #[test]
    fn a_read_has_a_bound() {
        let most = limits::COALESCE_BYTES_MAX as u32;
        assert_eq!(group(vec![whole(1, 0, most), whole(1, most.into(), 1)]).len(), 2);
    }

    #[test]
    fn a_word_needs_no_bytes() {
        let word = Part::Word(ChunkId([1; 32]), FetchStatus::Unknown);
        assert_eq!(ranges(vec![whole(1, 0, 10), word, whole(1, 10, 10)]), [Some(0..10), None, Some(10..20)]);
    }
}
