//! Tests of the stored form: round trips, frames alone, damage, hostile bytes.
#![allow(clippy::unwrap_used)]

use super::super::header::{CHUNK_STORED_BYTES_MAX, HEADER_BYTES_MAX, VERSION};
use super::*;
use crate::testdata::{noise, ramp};
use proptest::prelude::*;

const KEY: ContentKey = ContentKey::Ordinary;

fn mixed(seed: u64, length: usize) -> Vec<u8> {
    let mut plain = noise(seed, length);
    let half = length / 2;
    plain[..half].copy_from_slice(&ramp(seed, half));
    plain
}

fn keys() -> [ContentKey; 2] {
    [ContentKey::Ordinary, ContentKey::sealed(&[9; 32])]
}

#[test]
fn every_length_around_a_frame_round_trips() {
    for key in keys() {
        for frames in [0, 1, 2, 3, 5, 8, 63, 64] {
            for off in [-1i64, 0, 1] {
                let length = (frames * FRAME_BYTES) as i64 + off;
                if (1..=CHUNK_BYTES_MAX as i64).contains(&length) {
                    let plain = mixed(length as u64, length as usize);
                    let stored = encode_plain(&key, &plain, 3).unwrap();
                    assert!(decode(&key, chunk_id(&key, &plain), &stored).unwrap() == plain, "{length}");
                }
            }
        }
    }
}

#[test]
fn impossible_chunks_and_sealed_spaces_are_refused() {
    assert_eq!(encode(&KEY, &[], 3), Err(ChunkError::PlainLength(0)));
    let length = CHUNK_BYTES_MAX + 1;
    assert_eq!(encode(&KEY, &vec![0; length], 3), Err(ChunkError::PlainLength(length as u64)));
    assert_eq!(encode(&ContentKey::sealed(&[9; 32]), b"x", 3), Err(ChunkError::Codec(CODEC_SEALED)));
}

#[test]
fn noise_is_stored_raw_and_text_compressed() {
    let plain = noise(1, CHUNK_BYTES_MAX);
    let stored = encode(&KEY, &plain, 3).unwrap();
    assert_eq!(stored.len(), CHUNK_STORED_BYTES_MAX);
    assert_eq!(Header::len_from_prefix(&stored), Ok(HEADER_BYTES_MAX));
    assert!(encode(&KEY, &ramp(1, CHUNK_BYTES_MAX), 3).unwrap().len() < CHUNK_BYTES_MAX / 50);
    assert!(!is_worth_compressing(&plain));
    assert!(is_worth_compressing(&mixed(1, CHUNK_BYTES_MAX)));
}

#[test]
fn every_frame_verifies_alone_and_in_no_other_place() {
    for key in keys() {
        let plain = mixed(2, 5 * FRAME_BYTES + 100);
        let id = chunk_id(&key, &plain);
        let stored = encode_plain(&key, &plain, 3).unwrap();
        let header = Header::parse(&stored).unwrap();
        assert_eq!((header.plain_len(), header.total_stored_len()), (plain.len(), stored.len()));
        header.verify(&key, id).unwrap();
        for (index, expected) in (0..).zip(plain.chunks(FRAME_BYTES)) {
            let bytes = &stored[header.frame_stored_range(index).unwrap()];
            assert!(decode_frame(&key, id, &header, index, bytes).unwrap() == expected);
            let elsewhere = decode_frame(&key, id, &header, (index + 1) % 6, bytes);
            assert!(elsewhere.is_err(), "frame {index} was taken for another");
        }
        assert_eq!(decode_frame(&key, id, &header, 6, &[]), Err(ChunkError::NoFrame(6)));
        assert_eq!(header.frame_stored_range(6), None);
    }
}

#[test]
fn neighbouring_frames_decode_together() {
    let plain = mixed(3, 6 * FRAME_BYTES);
    let id = chunk_id(&KEY, &plain);
    let stored = encode(&KEY, &plain, 3).unwrap();
    let header = Header::parse(&stored).unwrap();
    let range = header.frames_stored_range(2, 3).unwrap();
    let decoded = decode_frames(&KEY, id, &header, 2, 3, &stored[range]).unwrap();
    assert!(decoded == plain[2 * FRAME_BYTES..5 * FRAME_BYTES]);
    assert_eq!(header.frames_stored_range(4, u32::MAX).unwrap().end, stored.len());
}

#[test]
fn another_chunk_s_header_and_another_key_are_refused() {
    let (ours, theirs) = (noise(4, 3 * FRAME_BYTES), noise(5, 3 * FRAME_BYTES));
    let stored = encode(&KEY, &theirs, 3).unwrap();
    assert_eq!(decode(&KEY, chunk_id(&KEY, &ours), &stored), Err(ChunkError::HeaderMismatch));
    let header = Header::parse(&stored).unwrap();
    assert_eq!(header.verify(&keys()[1], chunk_id(&KEY, &theirs)), Err(ChunkError::HeaderMismatch));
    let small = encode(&KEY, &theirs[..100], 3).unwrap();
    assert_eq!(decode(&KEY, chunk_id(&KEY, &ours), &small), Err(ChunkError::FrameMismatch(0)));
}

#[test]
fn a_bomb_finds_no_room() {
    let bomb = zstd::bulk::compress(&vec![0; 64 << 20], 3).unwrap();
    let mut writer = HeaderWriter::new(FRAME_BYTES as u32);
    writer.push(bomb.len() as u32, false, None);
    let stored = [writer.finish(), bomb].concat();
    assert_eq!(decode(&KEY, ChunkId([0; 32]), &stored), Err(ChunkError::Compression(0)));
}

#[test]
fn a_frame_that_decompresses_to_less_is_refused() {
    let packed = zstd::bulk::compress(&[0; 1_000], 3).unwrap();
    let mut writer = HeaderWriter::new(2_000);
    writer.push(packed.len() as u32, false, None);
    let stored = [writer.finish(), packed].concat();
    assert_eq!(decode(&KEY, ChunkId([0; 32]), &stored), Err(ChunkError::Compression(0)));
}

#[test]
fn impossible_headers_are_refused() {
    let prefix = |plain_len: u32| [&[VERSION, 0][..], &plain_len.to_le_bytes()].concat();
    let entry = |word: u32| [prefix(100), word.to_le_bytes().to_vec()].concat();
    let raw = 1 << 31;
    let cases = [
        (vec![VERSION, 0, 1, 0, 0], ChunkError::Truncated),
        (vec![0; 40], ChunkError::Version(0)),
        ([&[VERSION, CODEC_SEALED][..], &[1; 40]].concat(), ChunkError::Codec(CODEC_SEALED)),
        (prefix(0), ChunkError::PlainLength(0)),
        (prefix(u32::MAX), ChunkError::PlainLength(u32::MAX.into())),
        (prefix(CHUNK_BYTES_MAX as u32 + 1), ChunkError::PlainLength(CHUNK_BYTES_MAX as u64 + 1)),
        (prefix(CHUNK_BYTES_MAX as u32), ChunkError::Truncated),
        (entry(0), ChunkError::FrameLength(0)),
        (entry(100), ChunkError::FrameLength(0)),
        (entry(raw | 99), ChunkError::FrameLength(0)),
        (entry(raw | 101), ChunkError::FrameLength(0)),
        (entry(raw), ChunkError::FrameLength(0)),
    ];
    for (bytes, error) in cases {
        assert_eq!(Header::parse(&bytes), Err(error), "{bytes:?}");
    }
}

#[test]
fn every_flipped_bit_of_a_small_raw_chunk_is_refused() {
    let plain = noise(6, 300);
    let id = chunk_id(&KEY, &plain);
    let stored = encode(&KEY, &plain, 3).unwrap();
    for bit in 0..stored.len() * 8 {
        let mut damaged = stored.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(decode(&KEY, id, &damaged).is_err(), "bit {bit}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn damage_is_refused_or_harmless(seed in 1u64.., length in 1usize..400_000, at: prop::sample::Index, flip in 1u8..) {
        let plain = mixed(seed, length);
        let id = chunk_id(&KEY, &plain);
        let mut stored = encode(&KEY, &plain, 3).unwrap();
        let at = at.index(stored.len());
        stored[at] ^= flip;
        // zstd ignores an unused bit in its frame header: then the plaintext must be right.
        if let Ok(decoded) = decode(&KEY, id, &stored) {
            prop_assert!(decoded == plain);
        }
    }

    #[test]
    fn cut_or_lengthened_forms_are_refused(seed in 1u64.., length in 1usize..300_000, at: prop::sample::Index) {
        let plain = mixed(seed, length);
        let id = chunk_id(&KEY, &plain);
        let mut stored = encode(&KEY, &plain, 3).unwrap();
        prop_assert_eq!(decode(&KEY, id, &stored[..at.index(stored.len())]), Err(ChunkError::Truncated));
        stored.push(0);
        prop_assert_eq!(decode(&KEY, id, &stored), Err(ChunkError::Trailing(1)));
    }

    #[test]
    fn arbitrary_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..3_000), valid_start: bool) {
        if valid_start && bytes.len() > 6 {
            bytes[..2].copy_from_slice(&[VERSION, 0]);
            bytes[4..6].copy_from_slice(&[1, 0]);
        }
        prop_assert!(decode(&KEY, ChunkId([0; 32]), &bytes).is_err());
        if let Ok(header) = Header::parse(&bytes) {
            for index in 0..=header.frame_count() {
                prop_assert!(decode_frame(&KEY, ChunkId([0; 32]), &header, index, &bytes).is_err());
            }
        }
    }
}
