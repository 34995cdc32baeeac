//! Owns the rows of receipts: how far each device says it has applied each space.

use super::{Conn, StoreError, sql};
use sqlx::Row as _;
use sqlx::any::AnyRow;
use tarn_proto::api::Receipt;
use tarn_proto::change::Cursor;
use tarn_proto::ids::{DeviceId, EpochId, JournalHash, SpaceId};

/// Records a receipt. Within an epoch it never goes back.
///
/// # Errors
/// The database fails.
pub async fn record(conn: &mut Conn, device: DeviceId, receipt: &Receipt, now_ms: i64) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO receipts (device_id, space_id, epoch, seq, hash, time_ms) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (device_id, space_id) DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq, \
         hash = excluded.hash, time_ms = excluded.time_ms \
         WHERE receipts.epoch <> excluded.epoch OR receipts.seq < excluded.seq",
    )
    .bind(device.as_bytes())
    .bind(receipt.space.as_bytes())
    .bind(receipt.cursor.epoch.as_bytes())
    .bind(receipt.cursor.seq as i64)
    .bind(receipt.cursor.hash.as_bytes())
    .bind(now_ms)
    .execute(conn)
    .await?;
    Ok(())
}

/// A receipt as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredReceipt {
    /// Whose.
    pub device: DeviceId,
    /// In which history of the space.
    pub epoch: EpochId,
    /// How far.
    pub seq: u64,
    /// When, by the server's clock.
    pub time_ms: i64,
}

/// What devices last said of a space.
///
/// # Errors
/// The database fails.
pub async fn of_space(conn: &mut Conn, space: SpaceId) -> Result<Vec<StoredReceipt>, StoreError> {
    let query = "SELECT device_id, epoch, seq, time_ms FROM receipts WHERE space_id = $1";
    let rows = sqlx::query(query).bind(space.as_bytes()).fetch_all(conn).await?;
    let read = |row: &AnyRow| {
        Ok(StoredReceipt {
            device: sql::id(row, "device_id", DeviceId::from_slice)?,
            epoch: sql::id(row, "epoch", EpochId::from_slice)?,
            seq: sql::count(row, "seq")?,
            time_ms: row.try_get("time_ms")?,
        })
    };
    rows.iter().map(read).collect()
}

/// What a device last said of a space.
///
/// # Errors
/// The database fails.
pub async fn get(conn: &mut Conn, device: DeviceId, space: SpaceId) -> Result<Option<Cursor>, StoreError> {
    let row = sqlx::query("SELECT epoch, seq, hash FROM receipts WHERE device_id = $1 AND space_id = $2")
        .bind(device.as_bytes())
        .bind(space.as_bytes())
        .fetch_optional(conn)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let bad = || StoreError::corrupt("a receipt");
    Ok(Some(Cursor {
        epoch: EpochId::from_slice(row.try_get(0)?).ok_or_else(bad)?,
        seq: row.try_get::<i64, _>(1)?.unsigned_abs(),
        hash: JournalHash::from_slice(row.try_get(2)?).ok_or_else(bad)?,
    }))
}
