//! Owns the computation of the test vectors, shared by the test that compares and the example that prints.
//!
//! Compressed forms are only ever decoded by the test: another zstd may compress otherwise, and both
//! are right.

use serde_json::{Value, json};
use tarn_proto::chunk::{ContentKey, Header, chunk_id, content_id, cut, encode};
use tarn_proto::manifest::{Built, ManifestEntry, build, encode_node, node_id};

#[path = "../../src/testdata.rs"]
mod testdata;
pub use testdata::{noise, ramp};

/// The secret of the sealed space in the vectors.
pub const SECRET: [u8; 32] = [0x5a; 32];

const SEED: u64 = 0x7461_726e;

fn keys() -> [(&'static str, ContentKey); 2] {
    [("ordinary", ContentKey::Ordinary), ("sealed", ContentKey::sealed(&SECRET))]
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// All vectors.
pub fn compute() -> Value {
    json!({
        "about": "noise: xorshift64 (13, 7, 17) from `seed`, states as little-endian bytes; ramp: byte i is (i + seed) % 251; \
                  the sealed space's secret is 32 bytes of 0x5a",
        "ids": ids(),
        "cuts": cuts(),
        "raw_forms": raw_forms(),
        "compressed_forms": compressed_forms(),
        "manifests": manifests(),
    })
}

fn ids() -> Vec<Value> {
    let lengths = [1, 1_024, 1_025, 65_536, 65_537, 262_144, 4_194_304];
    let all = keys().into_iter().flat_map(|(name, key)| lengths.map(|len| (name, key.clone(), len)));
    all.map(|(name, key, len)| {
        let plain = noise(SEED, len);
        let chunk = chunk_id(&key, &plain).to_string();
        json!({ "key": name, "seed": SEED, "len": len, "chunk": chunk, "content": content_id(&key, &plain).to_string() })
    })
    .collect()
}

fn cuts() -> Vec<Value> {
    let mut all = Vec::new();
    for (name, key) in keys() {
        for (seed, len) in [(SEED, 262_145), (SEED, 20_000_000), (SEED + 1, 12_345_679)] {
            all.push(json!({ "key": name, "seed": seed, "len": len, "lengths": cut(&key, &noise(seed, len)) }));
        }
    }
    all
}

fn raw_forms() -> Vec<Value> {
    [1, 65_536, 65_537, 200_000]
        .map(|len| {
            let stored = encode(&ContentKey::Ordinary, &noise(SEED, len), 3).expect("the length is within bounds");
            let header = Header::parse(&stored).expect("it was just encoded").header_len();
            let hash = blake3::hash(&stored).to_string();
            json!({ "seed": SEED, "len": len, "header": hex(&stored[..header]), "stored_len": stored.len(), "stored_blake3": hash })
        })
        .into()
}

fn compressed_forms() -> Vec<Value> {
    [1_000, 65_536, 150_000]
        .map(|len| {
            let plain = ramp(SEED, len);
            let stored = encode(&ContentKey::Ordinary, &plain, 3).expect("the length is within bounds");
            let id = chunk_id(&ContentKey::Ordinary, &plain).to_string();
            json!({ "seed": SEED, "len": len, "id": id, "stored": hex(&stored) })
        })
        .into()
}

/// Entry `n`: the id of `n` as eight little-endian bytes, length 1 + n % 1000, stored n % 700.
fn chunks(count: u64) -> Vec<ManifestEntry> {
    let id = |n: u64| chunk_id(&ContentKey::Ordinary, &n.to_le_bytes());
    (0..count).map(|n| ManifestEntry { id: id(n), length: 1 + n % 1_000, stored: n % 700 }).collect()
}

fn manifests() -> Vec<Value> {
    [1, 256, 257, 3_000, 40_000]
        .map(|count| {
            let Built { manifest, nodes } = build(chunks(count)).expect("the entries are within bounds");
            let root = encode_node(manifest.level, &manifest.entries).expect("it was just built");
            let first_nodes: Vec<_> = nodes.iter().take(4).map(|node| node.id.to_string()).collect();
            json!({
                "entries": "n: id of n as 8 little-endian bytes, length 1 + n % 1000, stored n % 700",
                "count": count, "level": manifest.level, "root": node_id(&root).to_string(),
                "root_entries": manifest.entries.len(), "nodes": nodes.len(), "first_nodes": first_nodes,
            })
        })
        .into()
}
