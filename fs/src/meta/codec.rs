//! Owns how rows become blobs: one byte of format, then MessagePack. Never trusts what it reads.

use super::{MetaError, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

const FORMAT: u8 = 1;

/// Encodes a row.
pub(super) fn encode<T: Serialize>(table: &'static str, row: &T) -> Result<Vec<u8>> {
    let mut blob = vec![FORMAT];
    match rmp_serde::encode::write(&mut blob, row) {
        Ok(()) => Ok(blob),
        Err(e) => Err(MetaError::Malformed { table, detail: e.to_string() }),
    }
}

/// Decodes a row.
pub(super) fn decode<T: DeserializeOwned>(table: &'static str, blob: &[u8]) -> Result<T> {
    let malformed = |detail: String| MetaError::Malformed { table, detail };
    match blob.split_first() {
        Some((&FORMAT, rest)) => rmp_serde::from_slice(rest).map_err(|e| malformed(e.to_string())),
        Some((format, _)) => Err(malformed(format!("unknown format {format}"))),
        None => Err(malformed("empty".to_owned())),
    }
}

/// A number as SQLite keeps it.
pub(super) fn to_sql(table: &'static str, number: u64) -> Result<i64> {
    i64::try_from(number).map_err(|_| MetaError::Malformed { table, detail: format!("{number} is too large") })
}

/// A number as SQLite kept it.
pub(super) fn from_sql(table: &'static str, number: i64) -> Result<u64> {
    u64::try_from(number).map_err(|_| MetaError::Malformed { table, detail: format!("{number} is negative") })
}

/// An id as SQLite kept it.
pub(super) fn id<T>(table: &'static str, blob: &[u8], from_slice: fn(&[u8]) -> Option<T>) -> Result<T> {
    from_slice(blob).ok_or_else(|| MetaError::Malformed { table, detail: format!("an id of {} bytes", blob.len()) })
}
