//! How fast bytes become chunks and frames, and come out of them again.

use criterion::{BenchmarkId, Criterion, Throughput};
use std::hint::black_box;
use tarn_proto::chunk::{ContentKey, Header, StreamCutter, chunk_id, decode, decode_frame, encode};
use tarn_tests::seed::Seed;

const FILE_BYTES: usize = 32 << 20;
const CHUNK_BYTES: usize = 1 << 20;
/// The level at which devices compress.
const LEVEL: i32 = 1;

const KEY: ContentKey = ContentKey::Ordinary;

/// Words of a small vocabulary: compresses about as prose does.
fn prose(len: usize) -> Vec<u8> {
    let mut seed = Seed::new(3);
    let words: Vec<Vec<u8>> = (0..400).map(|n| seed.bytes(2 + n % 9).iter().map(|b| b'a' + b % 26).collect()).collect();
    let mut text = Vec::with_capacity(len + 16);
    while text.len() < len {
        text.extend_from_slice(&words[seed.below(400) as usize]);
        text.push(b' ');
    }
    text.truncate(len);
    text
}

/// Cuts all of it; how many chunks, and one byte of their ids if they are made too.
fn cut_all(bytes: &[u8], with_ids: bool) -> usize {
    let mut cutter = StreamCutter::new(&KEY, bytes, 0);
    let mut count = 0;
    while let Some(chunk) = cutter.next_chunk().expect("memory can be read") {
        count += 1;
        if with_ids {
            black_box(chunk_id(&KEY, chunk.bytes));
        }
    }
    count
}

/// Content-defined cutting, alone and with the chunks' ids.
pub fn chunking(c: &mut Criterion) {
    let bytes = Seed::new(1).bytes(FILE_BYTES);
    let mut group = c.benchmark_group("chunking");
    group.throughput(Throughput::Bytes(FILE_BYTES as u64));
    group.bench_function("cut", |b| b.iter(|| cut_all(black_box(&bytes), false)));
    group.bench_function("cut and hash", |b| b.iter(|| cut_all(black_box(&bytes), true)));
    group.finish();
}

/// A chunk's stored form: made, opened whole, and one frame of it.
pub fn frames(c: &mut Criterion) {
    let mut group = c.benchmark_group("frames");
    for (what, plain) in [("prose", prose(CHUNK_BYTES)), ("random", Seed::new(2).bytes(CHUNK_BYTES))] {
        let id = chunk_id(&KEY, &plain);
        let stored = encode(&KEY, &plain, LEVEL).expect("a chunk of this size");
        let header = Header::parse(&stored).expect("its own form");
        let range = header.frame_stored_range(1).expect("it has several frames");
        group.throughput(Throughput::Bytes(CHUNK_BYTES as u64));
        group.bench_function(BenchmarkId::new("encode", what), |b| b.iter(|| encode(&KEY, black_box(&plain), LEVEL)));
        group.bench_function(BenchmarkId::new("decode", what), |b| b.iter(|| decode(&KEY, id, black_box(&stored))));
        group.throughput(Throughput::Bytes(header.frame_plain_len(1) as u64));
        group.bench_function(BenchmarkId::new("decode one frame", what), |b| {
            b.iter(|| decode_frame(&KEY, id, &header, 1, black_box(&stored[range.clone()])));
        });
    }
    group.finish();
}
