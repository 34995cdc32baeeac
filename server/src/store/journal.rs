//! Owns the journal: one row for each committed change, chained by a running hash; and what each
//! device has been answered.

use super::sql::{self, Param};
use super::{Conn, StoreError};
use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use tarn_proto::api::{Answer, to_binary};
use tarn_proto::ids::{DeviceId, JournalHash, SpaceId};

/// A change in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalRow {
    /// Its number.
    pub seq: u64,
    /// Whose operation.
    pub device: DeviceId,
    /// Which operation.
    pub counter: u64,
    /// When, by the server's clock.
    pub time_ms: i64,
    /// Hash of the rows that it changed.
    pub digest: [u8; 32],
    /// The running hash with it.
    pub hash: JournalHash,
}

/// The running hash after one more change.
pub fn chain(before: JournalHash, seq: u64, device: DeviceId, counter: u64, digest: &[u8; 32]) -> JournalHash {
    let mut hasher = blake3::Hasher::new();
    hasher.update(before.as_bytes());
    hasher.update(&seq.to_be_bytes());
    hasher.update(device.as_bytes());
    hasher.update(&counter.to_be_bytes());
    hasher.update(digest);
    JournalHash(*hasher.finalize().as_bytes())
}

fn from_row(row: &AnyRow) -> Result<JournalRow, StoreError> {
    Ok(JournalRow {
        seq: sql::count(row, "seq")?,
        device: sql::id(row, "device", DeviceId::from_slice)?,
        counter: sql::count(row, "counter")?,
        time_ms: sqlx::Row::try_get(row, "time_ms")?,
        digest: sql::id(row, "digest", |bytes| bytes.try_into().ok())?,
        hash: sql::id(row, "hash", JournalHash::from_slice)?,
    })
}

/// Appends changes.
///
/// # Errors
/// The database fails.
pub async fn insert(conn: &mut Conn, space: SpaceId, rows: &[JournalRow]) -> Result<(), StoreError> {
    let params = |row: &JournalRow| -> Vec<Param> {
        vec![
            space.as_bytes().into(),
            (row.seq as i64).into(),
            row.device.as_bytes().into(),
            (row.counter as i64).into(),
            row.time_ms.into(),
            row.digest.as_slice().into(),
            row.hash.as_bytes().into(),
        ]
    };
    let head = "INSERT INTO journal (space, seq, device, counter, time_ms, digest, hash)";
    sql::insert_rows(conn, head, 7, "", rows.iter().map(params)).await?;
    Ok(())
}

/// The running hash at a seq.
///
/// # Errors
/// The database fails.
pub async fn hash_at(conn: &mut Conn, space: SpaceId, seq: u64) -> Result<Option<JournalHash>, StoreError> {
    if seq == 0 {
        return Ok(Some(super::spaces::HASH_ZERO));
    }
    let row = sqlx::query("SELECT hash FROM journal WHERE space = $1 AND seq = $2")
        .bind(space.as_bytes())
        .bind(seq as i64)
        .fetch_optional(&mut *conn)
        .await?;
    row.map(|row| sql::id(&row, "hash", JournalHash::from_slice)).transpose()
}

/// The changes after `after`, at most `limit`.
///
/// # Errors
/// The database fails.
pub async fn page(conn: &mut Conn, space: SpaceId, after: u64, limit: usize) -> Result<Vec<JournalRow>, StoreError> {
    let query = format!(
        "SELECT seq, device, counter, time_ms, digest, hash FROM journal WHERE space = $1 AND seq > $2 \
         ORDER BY seq LIMIT {limit}"
    );
    let rows =
        sqlx::query(sqlx::AssertSqlSafe(query)).bind(space.as_bytes()).bind(after as i64).fetch_all(&mut *conn).await?;
    rows.iter().map(from_row).collect()
}

/// How far a device's operations have come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks {
    /// The highest counter that was settled.
    pub highest: u64,
    /// Up to which the device has applied the answers.
    pub answered: u64,
}

/// A settled answer and what it answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredAnswer {
    /// Hash of the operation.
    pub digest: [u8; 32],
    /// The answer.
    pub answer: Answer,
}

/// A device's marks.
///
/// # Errors
/// The database fails.
pub async fn marks(conn: &mut Conn, space: SpaceId, device: DeviceId) -> Result<Marks, StoreError> {
    let row = sqlx::query("SELECT highest, answered FROM device_marks WHERE device = $1 AND space = $2")
        .bind(device.as_bytes())
        .bind(space.as_bytes())
        .fetch_optional(&mut *conn)
        .await?;
    match row {
        Some(row) => Ok(Marks { highest: sql::count(&row, "highest")?, answered: sql::count(&row, "answered")? }),
        None => Ok(Marks::default()),
    }
}

/// Sets a device's marks.
///
/// # Errors
/// The database fails.
pub async fn set_marks(conn: &mut Conn, space: SpaceId, device: DeviceId, marks: Marks) -> Result<(), StoreError> {
    let row: Vec<Param> = vec![
        device.as_bytes().into(),
        space.as_bytes().into(),
        (marks.highest as i64).into(),
        (marks.answered as i64).into(),
    ];
    let head = "INSERT INTO device_marks (device, space, highest, answered)";
    let tail = "ON CONFLICT (device, space) DO UPDATE SET highest = excluded.highest, answered = excluded.answered";
    sql::insert_rows(conn, head, 4, tail, [row]).await?;
    Ok(())
}

/// The answers that a device was given for operations from `first` to `last`.
///
/// # Errors
/// The database fails.
pub async fn answers(
    conn: &mut Conn,
    space: SpaceId,
    device: DeviceId,
    first: u64,
    last: u64,
) -> Result<Vec<StoredAnswer>, StoreError> {
    const QUERY: &str = "SELECT answers FROM answers WHERE device = $1 AND space = $2 \
         AND counter_last >= $3 AND counter_first <= $4";
    let rows = sqlx::query(QUERY)
        .bind(device.as_bytes())
        .bind(space.as_bytes())
        .bind(first as i64)
        .bind(last as i64)
        .fetch_all(&mut *conn)
        .await?;
    let mut all = Vec::new();
    for row in &rows {
        all.extend(sql::blob::<Vec<StoredAnswer>>(row, "answers")?);
    }
    Ok(all)
}

/// Keeps one push's settled answers, in the order of their counters.
///
/// # Errors
/// The database fails.
pub async fn keep_answers(
    conn: &mut Conn,
    space: SpaceId,
    device: DeviceId,
    answers: &[StoredAnswer],
) -> Result<(), StoreError> {
    let (Some(first), Some(last)) = (answers.first(), answers.last()) else { return Ok(()) };
    let bytes = to_binary(&answers);
    let row: Vec<Param> = vec![
        device.as_bytes().into(),
        space.as_bytes().into(),
        (last.answer.counter as i64).into(),
        (first.answer.counter as i64).into(),
        bytes.into(),
    ];
    let head = "INSERT INTO answers (device, space, counter_last, counter_first, answers)";
    sql::insert_rows(conn, head, 5, "", [row]).await?;
    Ok(())
}

/// Forgets the answers that a device has applied.
///
/// # Errors
/// The database fails.
pub async fn forget_answers(
    conn: &mut Conn,
    space: SpaceId,
    device: DeviceId,
    answered: u64,
) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM answers WHERE device = $1 AND space = $2 AND counter_last <= $3")
        .bind(device.as_bytes())
        .bind(space.as_bytes())
        .bind(answered as i64)
        .execute(&mut *conn)
        .await?;
    Ok(())
}
