//! Owns what a space's content format depends on: public constants, or a sealed space's secret.
//!
//! Everything is derived by BLAKE3's key derivation, one context per use, so that no two uses ever
//! share a key. A secret never shows in `Debug`.

use std::fmt;
use std::sync::{Arc, LazyLock};

const GEAR_CONTEXT: &str = "tarn 2026-11 chunking gear table";
const CHUNK_CONTEXT: &str = "tarn 2026-11 sealed chunk id";
const CONTENT_CONTEXT: &str = "tarn 2026-11 content id";
/// Key material of ordinary spaces: public, the same for all.
const ORDINARY_MATERIAL: &[u8] = b"ordinary";

/// What the cuts and ids of a space's content depend on.
#[derive(Clone, Debug, Default)]
pub enum ContentKey {
    /// Public constants: the same bytes have the same chunks and ids everywhere.
    #[default]
    Ordinary,
    /// Keys of one sealed space: cuts and ids betray nothing to those without the secret.
    Sealed(SealedKey),
}

/// The derived keys of a sealed space.
#[derive(Clone)]
pub struct SealedKey {
    gear: Arc<Gear>,
    chunk: [u8; 32],
    content: [u8; 32],
}

impl SealedKey {
    /// Derives a sealed space's keys from its secret.
    pub fn new(secret: &[u8; 32]) -> Self {
        Self {
            gear: Arc::new(Gear::derive(secret)),
            chunk: blake3::derive_key(CHUNK_CONTEXT, secret),
            content: blake3::derive_key(CONTENT_CONTEXT, secret),
        }
    }
}

impl fmt::Debug for SealedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedKey(..)")
    }
}

/// The gear table of the rolling hash, and the same shifted left by one.
pub(super) struct Gear {
    pub(super) table: [u64; 256],
    pub(super) shifted: [u64; 256],
}

impl Gear {
    /// Derives all 256 values, not just one that is mixed into a public table: cuts of known files
    /// then tell nothing about cuts of others.
    fn derive(material: &[u8]) -> Self {
        let mut table = [0; 256];
        let mut reader = blake3::Hasher::new_derive_key(GEAR_CONTEXT).update(material).finalize_xof();
        for value in &mut table {
            let mut bytes = [0; 8];
            reader.fill(&mut bytes);
            *value = u64::from_le_bytes(bytes);
        }
        Self { table, shifted: table.map(|value| value << 1) }
    }
}

static ORDINARY_GEAR: LazyLock<Gear> = LazyLock::new(|| Gear::derive(ORDINARY_MATERIAL));
static ORDINARY_CONTENT: LazyLock<[u8; 32]> = LazyLock::new(|| blake3::derive_key(CONTENT_CONTEXT, ORDINARY_MATERIAL));

impl ContentKey {
    /// Derives a sealed space's key from its secret.
    pub fn sealed(secret: &[u8; 32]) -> Self {
        Self::Sealed(SealedKey::new(secret))
    }

    /// Whether ids and cuts depend on a secret.
    pub fn is_sealed(&self) -> bool {
        matches!(self, Self::Sealed(_))
    }

    pub(super) fn gear(&self) -> &Gear {
        match self {
            Self::Ordinary => &ORDINARY_GEAR,
            Self::Sealed(key) => &key.gear,
        }
    }

    /// The BLAKE3 key of chunk ids, if they are keyed.
    pub(super) fn chunk_key(&self) -> Option<&[u8; 32]> {
        match self {
            Self::Ordinary => None,
            Self::Sealed(key) => Some(&key.chunk),
        }
    }

    /// The BLAKE3 key of content ids.
    pub(super) fn content_key(&self) -> &[u8; 32] {
        match self {
            Self::Ordinary => &ORDINARY_CONTENT,
            Self::Sealed(key) => &key.content,
        }
    }
}
