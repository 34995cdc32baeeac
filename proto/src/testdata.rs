//! Owns the bytes that tests and test vectors are made of: small to describe, the same everywhere.

/// Incompressible bytes: xorshift64 (13, 7, 17), started at `seed` (not 0), each state's eight bytes
/// little-endian, cut to `len`.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Compressible bytes: byte `i` is `(i + seed) % 251`.
pub fn ramp(seed: u64, len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| ((i + seed) % 251) as u8).collect()
}
