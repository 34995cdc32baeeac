//! Tests of cutting: bounds, restarts, streams, edits.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::testdata::noise;
use proptest::prelude::*;

const MIB: usize = 1 << 20;

fn boundaries(lengths: &[usize]) -> Vec<usize> {
    lengths.iter().scan(0, |end, length| Some(std::mem::replace(end, *end + length))).collect()
}

fn stream(key: &ContentKey, reader: impl Read, offset: u64) -> Vec<(u64, Vec<u8>)> {
    let mut cutter = StreamCutter::new(key, reader, offset);
    let mut chunks = Vec::new();
    while let Some(chunk) = cutter.next_chunk().unwrap() {
        chunks.push((chunk.offset, chunk.bytes.to_vec()));
    }
    chunks
}

#[test]
fn empty_file_has_no_chunk_and_a_file_up_to_the_minimum_has_one() {
    let data = noise(1, CHUNK_BYTES_MIN);
    assert_eq!(cut(&ContentKey::Ordinary, &[]), [0usize; 0]);
    for length in [1, 2, 4_095, CHUNK_BYTES_MIN - 1, CHUNK_BYTES_MIN] {
        assert_eq!(cut(&ContentKey::Ordinary, &data[..length]), [length]);
    }
}

#[test]
fn chunks_of_noise_are_within_bounds_and_near_the_average() {
    let lengths = cut(&ContentKey::Ordinary, &noise(2, 64 * MIB));
    let (last, others) = lengths.split_last().unwrap();
    assert!(*last <= CHUNK_BYTES_MAX);
    assert!(others.iter().all(|length| (CHUNK_BYTES_MIN..=CHUNK_BYTES_MAX).contains(length)));
    let average = 64 * MIB / lengths.len();
    assert!((3 * MIB / 4..3 * MIB / 2).contains(&average), "average {average}");
}

#[test]
fn zeros_are_cut_at_the_maximum() {
    assert_eq!(cut(&ContentKey::Ordinary, &vec![0; 9 * MIB]), [4 * MIB, 4 * MIB, MIB]);
}

#[test]
fn a_secret_moves_the_cuts() {
    let data = noise(3, 16 * MIB);
    let [a, b] = [[1; 32], [2; 32]].map(|secret| cut(&ContentKey::sealed(&secret), &data));
    assert_ne!(a, b);
    assert_ne!(a, cut(&ContentKey::Ordinary, &data));
    assert_eq!(a, cut(&ContentKey::sealed(&[1; 32]), &data));
}

#[test]
fn an_edit_resynchronises_soon() {
    for seed in 1..=12 {
        let old = noise(seed, 24 * MIB);
        for edit in [&b""[..], b"x", &noise(seed + 100, 5_000)] {
            // 4 KiB at 4 MiB are replaced by the edit: a deletion, a shrinking, a growing.
            let new = [&old[..4 * MIB], edit, &old[4 * MIB + 4_096..]].concat();
            let from_end = |data: &[u8]| -> Vec<usize> {
                boundaries(&cut(&ContentKey::Ordinary, data)).iter().map(|start| data.len() - start).collect()
            };
            let (old_starts, new_starts) = (from_end(&old), from_end(&new));
            let shared = new_starts.iter().filter(|start| old_starts.contains(start)).max().unwrap();
            assert!(*shared >= 12 * MIB, "seed {seed}: only the last {shared} bytes are cut alike");
        }
    }
}

/// Gives at most `step` bytes a read, and an interruption before each.
struct Dribble<'a> {
    rest: &'a [u8],
    step: usize,
    interrupted: bool,
}

impl Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.interrupted = !self.interrupted;
        if self.interrupted {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let length = self.step.min(buffer.len());
        self.rest.read(&mut buffer[..length])
    }
}

/// Fails once, after `good` bytes.
struct FailsOnce<'a> {
    rest: &'a [u8],
    good: usize,
    failed: bool,
}

impl Read for FailsOnce<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.good == 0 && !self.failed {
            self.failed = true;
            return Err(io::ErrorKind::TimedOut.into());
        }
        let length = if self.failed { buffer.len() } else { self.good.min(buffer.len()) };
        let got = self.rest.read(&mut buffer[..length])?;
        self.good = self.good.saturating_sub(got);
        Ok(got)
    }
}

#[test]
fn a_failed_read_can_be_tried_again() {
    let data = noise(5, 10 * MIB);
    let mut cutter =
        StreamCutter::new(&ContentKey::Ordinary, FailsOnce { rest: &data, good: 9 * MIB, failed: false }, 0);
    let (mut lengths, mut errors) = (Vec::new(), 0);
    loop {
        match cutter.next_chunk() {
            Ok(Some(chunk)) => lengths.push(chunk.bytes.len()),
            Ok(None) => break,
            Err(_) => errors += 1,
        }
    }
    assert_eq!((lengths, errors), (cut(&ContentKey::Ordinary, &data), 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn cutting_from_a_boundary_finds_the_same_boundaries(seed in 1u64.., length in 0..12 * MIB, sealed: bool) {
        let key = if sealed { ContentKey::sealed(&[7; 32]) } else { ContentKey::Ordinary };
        let data = noise(seed, length);
        let lengths = cut(&key, &data);
        prop_assert_eq!(lengths.iter().sum::<usize>(), length);
        for (index, start) in boundaries(&lengths).into_iter().enumerate() {
            prop_assert_eq!(&cut(&key, &data[start..]), &lengths[index..]);
        }
    }

    #[test]
    fn a_stream_is_cut_like_memory(seed in 1u64.., length in 0..12 * MIB, step in 1_000usize..3_000_000) {
        let key = ContentKey::Ordinary;
        let data = noise(seed, length);
        let lengths = cut(&key, &data);
        let chunks = stream(&key, Dribble { rest: &data, step, interrupted: false }, 77);
        prop_assert_eq!(chunks.iter().map(|(_, bytes)| bytes.len()).collect::<Vec<_>>(), lengths.clone());
        for ((offset, bytes), start) in chunks.iter().zip(boundaries(&lengths)) {
            prop_assert_eq!(*offset, start as u64 + 77);
            prop_assert!(bytes[..] == data[start..start + bytes.len()]);
        }
    }

    #[test]
    fn a_cut_depends_on_nothing_behind_the_chunk(seed in 1u64.., other in 1u64..) {
        let data = noise(seed, 5 * MIB);
        let end = first_cut(&ContentKey::Ordinary, &data);
        prop_assume!(end < CHUNK_BYTES_MAX);
        // The byte that decides is the first one of the next chunk.
        let changed = [&data[..=end], &noise(other, 5 * MIB)[..]].concat();
        prop_assert_eq!(first_cut(&ContentKey::Ordinary, &changed), end);
    }
}
