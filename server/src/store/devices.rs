//! Owns the rows of devices. A token is known by its hash alone.

use super::sql;
use super::{Conn, StoreError};
use sqlx::Row as _;
use sqlx::any::AnyRow;
use std::collections::HashSet;
use tarn_proto::ids::{DeviceId, UserId};

/// An enrolled device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its id.
    pub device: DeviceId,
    /// Whose it is.
    pub user: UserId,
    /// What people call it.
    pub name: String,
    /// When it was enrolled.
    pub enrolled_ms: i64,
    /// When it last made a request, to a few minutes.
    pub last_seen_ms: Option<i64>,
    /// Whether it was revoked.
    pub revoked: bool,
}

const COLUMNS: &str = "device_id, user_id, name, enrolled_ms, last_seen_ms, revoked_ms";

fn from_row(row: &AnyRow) -> Result<Device, StoreError> {
    Ok(Device {
        device: DeviceId::from_slice(row.try_get("device_id")?).ok_or_else(|| StoreError::corrupt("a device id"))?,
        user: UserId::from_slice(row.try_get("user_id")?).ok_or_else(|| StoreError::corrupt("a user id"))?,
        name: row.try_get("name")?,
        enrolled_ms: row.try_get("enrolled_ms")?,
        last_seen_ms: row.try_get("last_seen_ms")?,
        revoked: row.try_get::<Option<i64>, _>("revoked_ms")?.is_some(),
    })
}

/// A device by its id, revoked or not.
///
/// # Errors
/// The database fails.
pub async fn by_id(conn: &mut Conn, device: DeviceId) -> Result<Option<Device>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM devices WHERE device_id = $1");
    let row = sqlx::query(sqlx::AssertSqlSafe(query)).bind(device.as_bytes()).fetch_optional(conn).await?;
    row.as_ref().map(from_row).transpose()
}

/// The device that a token belongs to, unless it was revoked.
///
/// # Errors
/// The database fails.
pub async fn by_token(conn: &mut Conn, token_hash: &[u8; 32]) -> Result<Option<Device>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM devices WHERE token_hash = $1 AND revoked_ms IS NULL");
    let row = sqlx::query(sqlx::AssertSqlSafe(query)).bind(token_hash.as_slice()).fetch_optional(conn).await?;
    row.as_ref().map(from_row).transpose()
}

/// Those of these devices that were revoked.
///
/// # Errors
/// The database fails.
pub async fn removed(conn: &mut Conn, devices: &[DeviceId]) -> Result<HashSet<DeviceId>, StoreError> {
    const QUERY: &str = "SELECT device_id FROM devices WHERE revoked_ms IS NOT NULL AND device_id IN ({ids})";
    let rows = sql::select_in(conn, QUERY, &[], devices.iter().map(|device| device.as_bytes().into())).await?;
    rows.iter().map(|row| sql::id(row, "device_id", DeviceId::from_slice)).collect()
}

/// All devices of an account, the oldest first.
///
/// # Errors
/// The database fails.
pub async fn of_user(conn: &mut Conn, user: UserId) -> Result<Vec<Device>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM devices WHERE user_id = $1 ORDER BY enrolled_ms, device_id");
    let rows = sqlx::query(sqlx::AssertSqlSafe(query)).bind(user.as_bytes()).fetch_all(conn).await?;
    rows.iter().map(from_row).collect()
}

/// Enrols a device, or gives one that is enrolled a new name and token.
///
/// # Errors
/// The database fails.
pub async fn enrol(conn: &mut Conn, device: &Device, token_hash: &[u8; 32]) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO devices (device_id, user_id, name, token_hash, enrolled_ms, last_seen_ms) \
         VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT (device_id) DO UPDATE SET name = excluded.name, \
         token_hash = excluded.token_hash, last_seen_ms = excluded.last_seen_ms, revoked_ms = NULL",
    )
    .bind(device.device.as_bytes())
    .bind(device.user.as_bytes())
    .bind(device.name.as_str())
    .bind(token_hash.as_slice())
    .bind(device.enrolled_ms)
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes a device's token away; `revoke` also marks it as revoked. Answers whether there was one.
///
/// # Errors
/// The database fails.
pub async fn sign_out(conn: &mut Conn, device: DeviceId, revoked_ms: Option<i64>) -> Result<bool, StoreError> {
    let done =
        sqlx::query("UPDATE devices SET token_hash = NULL, revoked_ms = COALESCE(revoked_ms, $2) WHERE device_id = $1")
            .bind(device.as_bytes())
            .bind(revoked_ms)
            .execute(conn)
            .await?;
    Ok(done.rows_affected() > 0)
}

/// Records that a device made a request.
///
/// # Errors
/// The database fails.
pub async fn touch(conn: &mut Conn, device: DeviceId, now_ms: i64) -> Result<(), StoreError> {
    sqlx::query("UPDATE devices SET last_seen_ms = $2 WHERE device_id = $1")
        .bind(device.as_bytes())
        .bind(now_ms)
        .execute(conn)
        .await?;
    Ok(())
}
