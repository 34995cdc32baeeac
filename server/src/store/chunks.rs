//! Owns the rows of packs and chunks, and of who reaches which chunk.
//!
//! A user reaches a chunk after sending it, and for good: nothing is collected yet. The lease says
//! until when reach alone protects a chunk that no version names.

use super::sql::{self, Param};
use super::{Conn, StoreError};
use crate::packs::PackId;
use sqlx::Row as _;
use sqlx::any::AnyRow;
use std::collections::{HashMap, HashSet};
use tarn_proto::chunk::wire::ChunkKind;
use tarn_proto::ids::{ChunkId, UserId};
use tarn_proto::manifest::ManifestEntry;

/// The dedup domain of all ordinary spaces.
pub const ORDINARY: &[u8] = b"";

/// Where a chunk is and what it stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkRow {
    /// Its id.
    pub id: ChunkId,
    /// The pack that holds its stored form.
    pub pack: PackId,
    /// Where in the pack.
    pub offset: u64,
    /// Length of the stored form.
    pub stored_bytes: u32,
    /// Length of the plaintext.
    pub plain_bytes: u32,
    /// Length of the stored form's header.
    pub header_bytes: u32,
    /// The manifest node that it holds, if it was sent as one.
    pub node: Option<NodeSpan>,
}

/// What a manifest node stands for. Everything below it was there when it was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeSpan {
    /// Levels of nodes below it.
    pub level: u8,
    /// Bytes of file below it.
    pub bytes: u64,
}

impl ChunkRow {
    /// What the chunk was sent as.
    pub fn kind(&self) -> ChunkKind {
        if self.node.is_some() { ChunkKind::Manifest } else { ChunkKind::Data }
    }

    fn from_row(row: &AnyRow) -> Result<Self, StoreError> {
        let bad = || StoreError::corrupt("a row of chunks");
        let int = |column: &str| -> Result<u64, StoreError> {
            u64::try_from(row.try_get::<i64, _>(column)?).map_err(|_| bad())
        };
        let short = |column: &str| -> Result<u32, StoreError> { u32::try_from(int(column)?).map_err(|_| bad()) };
        let level: Option<i64> = row.try_get("node_level")?;
        let node = match level {
            Some(level) => Some(NodeSpan { level: u8::try_from(level).map_err(|_| bad())?, bytes: int("span_bytes")? }),
            None => None,
        };
        let pack: Vec<u8> = row.try_get("pack_id")?;
        Ok(Self {
            id: id_of(row, "chunk_id")?,
            pack: PackId(pack.try_into().map_err(|_| bad())?),
            offset: int("pack_offset")?,
            stored_bytes: short("stored_bytes")?,
            plain_bytes: short("plain_bytes")?,
            header_bytes: short("header_bytes")?,
            node,
        })
    }

    fn params(&self, domain: &[u8]) -> Vec<Param> {
        let span = self.node.map_or(u64::from(self.plain_bytes), |node| node.bytes);
        vec![
            domain.into(),
            self.id.as_bytes().into(),
            self.pack.0.as_slice().into(),
            (self.offset as i64).into(),
            i64::from(self.stored_bytes).into(),
            i64::from(self.plain_bytes).into(),
            i64::from(self.header_bytes).into(),
            self.node.map(|node| i64::from(node.level)).into(),
            (span as i64).into(),
        ]
    }
}

fn id_of(row: &AnyRow, column: &str) -> Result<ChunkId, StoreError> {
    ChunkId::from_slice(row.try_get::<&[u8], _>(column)?).ok_or_else(|| StoreError::corrupt("a chunk id"))
}

fn id_params(ids: &[ChunkId]) -> impl Iterator<Item = Param> + '_ {
    ids.iter().map(|id| id.as_bytes().into())
}

const COLUMNS: &str = "chunk_id, pack_id, pack_offset, stored_bytes, plain_bytes, header_bytes, node_level, span_bytes";

/// The rows of those of these chunks that exist in a domain, whoever reaches them.
///
/// # Errors
/// The database fails.
pub async fn find(conn: &mut Conn, domain: &[u8], ids: &[ChunkId]) -> Result<HashMap<ChunkId, ChunkRow>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM chunks WHERE domain = $1 AND chunk_id IN ({{ids}})");
    let rows = sql::select_in(conn, &query, &[domain.into()], id_params(ids)).await?;
    rows.iter().map(|row| ChunkRow::from_row(row).map(|chunk| (chunk.id, chunk))).collect()
}

/// Those of these chunks that a user reaches, and until when the lease of each lasts.
///
/// # Errors
/// The database fails.
pub async fn reached(
    conn: &mut Conn,
    user: UserId,
    domain: &[u8],
    ids: &[ChunkId],
) -> Result<HashMap<ChunkId, i64>, StoreError> {
    const QUERY: &str =
        "SELECT chunk_id, lease_ms FROM reach WHERE user_id = $1 AND domain = $2 AND chunk_id IN ({ids})";
    let rows = sql::select_in(conn, QUERY, &[user.as_bytes().into(), domain.into()], id_params(ids)).await?;
    rows.iter().map(|row| Ok((id_of(row, "chunk_id")?, row.try_get("lease_ms")?))).collect()
}

/// The rows of those of these chunks that exist and that a user reaches.
///
/// # Errors
/// The database fails.
pub async fn find_reached(
    conn: &mut Conn,
    user: UserId,
    domain: &[u8],
    ids: &[ChunkId],
) -> Result<HashMap<ChunkId, ChunkRow>, StoreError> {
    let query = format!(
        "SELECT {COLUMNS} FROM chunks WHERE domain = $1 AND chunk_id IN ({{ids}}) AND EXISTS (SELECT 1 FROM reach \
         WHERE reach.user_id = $2 AND reach.domain = chunks.domain AND reach.chunk_id = chunks.chunk_id)"
    );
    let rows = sql::select_in(conn, &query, &[domain.into(), user.as_bytes().into()], id_params(ids)).await?;
    rows.iter().map(|row| ChunkRow::from_row(row).map(|chunk| (chunk.id, chunk))).collect()
}

/// Records that a user reaches chunks, or lengthens the lease.
///
/// # Errors
/// The database fails.
pub async fn record_reach(
    conn: &mut Conn,
    user: UserId,
    domain: &[u8],
    ids: &[ChunkId],
    lease_ms: i64,
) -> Result<(), StoreError> {
    let rows = ids.iter().map(|id| vec![user.as_bytes().into(), domain.into(), id.as_bytes().into(), lease_ms.into()]);
    sql::insert_rows(
        conn,
        "INSERT INTO reach (user_id, domain, chunk_id, lease_ms)",
        4,
        "ON CONFLICT (user_id, domain, chunk_id) DO UPDATE SET lease_ms = excluded.lease_ms \
         WHERE reach.lease_ms < excluded.lease_ms",
        rows,
    )
    .await?;
    Ok(())
}

/// Records a pack and the chunks in it. A chunk that another upload brought meanwhile keeps its
/// place, unless it is known only as data and this one is a manifest node.
///
/// # Errors
/// The database fails.
pub async fn insert_pack(
    conn: &mut Conn,
    pack: PackId,
    bytes: u64,
    now_ms: i64,
    domain: &[u8],
    chunks: &[ChunkRow],
) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO packs (pack_id, bytes, created_ms) VALUES ($1, $2, $3)")
        .bind(pack.0.as_slice())
        .bind(bytes as i64)
        .bind(now_ms)
        .execute(&mut *conn)
        .await?;
    let head = format!("INSERT INTO chunks (domain, {COLUMNS})");
    sql::insert_rows(
        conn,
        &head,
        9,
        "ON CONFLICT (domain, chunk_id) DO UPDATE SET pack_id = excluded.pack_id, \
         pack_offset = excluded.pack_offset, stored_bytes = excluded.stored_bytes, \
         header_bytes = excluded.header_bytes, node_level = excluded.node_level, span_bytes = excluded.span_bytes \
         WHERE chunks.node_level IS NULL AND excluded.node_level IS NOT NULL",
        chunks.iter().map(|chunk| chunk.params(domain)),
    )
    .await?;
    Ok(())
}

/// What a user's chunks say about the entries of a manifest node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judgement {
    /// Everything below is there and as long as said.
    Good,
    /// These must be sent first.
    Missing(Vec<ChunkId>),
    /// An entry cannot be: it stands for something else.
    Bad(String),
}

/// Judges the entries of a manifest node of `level` by the rows of the chunks that its author
/// reaches. Nodes were judged when they were taken, so one level is enough.
pub fn judge(level: u8, entries: &[ManifestEntry], rows: &HashMap<ChunkId, ChunkRow>) -> Judgement {
    let mut missing = Vec::new();
    let mut seen = HashSet::new();
    for entry in entries {
        match rows.get(&entry.id) {
            None if seen.insert(entry.id) => missing.push(entry.id),
            None => {}
            Some(row) if stands_for(level, row) == Some(entry.length) => {}
            Some(row) => {
                let (found, said) = (stands_for(level, row), entry.length);
                return Judgement::Bad(format!("{} stands for {found:?} bytes of file, not {said}", entry.id));
            }
        }
    }
    if missing.is_empty() { Judgement::Good } else { Judgement::Missing(missing) }
}

/// Bytes of file that a chunk stands for below a node of `level`; `None` if it cannot stand there.
fn stands_for(level: u8, row: &ChunkRow) -> Option<u64> {
    match (level.checked_sub(1), row.node) {
        (None, _) => Some(row.plain_bytes.into()),
        (Some(below), Some(node)) if node.level == below => Some(node.bytes),
        (Some(_), _) => None,
    }
}

/// Looks up and judges the entries of a manifest node for a user of ordinary spaces.
///
/// # Errors
/// The database fails.
pub async fn judge_entries(
    conn: &mut Conn,
    user: UserId,
    level: u8,
    entries: &[ManifestEntry],
) -> Result<Judgement, StoreError> {
    let ids: Vec<ChunkId> = entries.iter().map(|entry| entry.id).collect::<HashSet<_>>().into_iter().collect();
    let rows = find_reached(conn, user, ORDINARY, &ids).await?;
    Ok(judge(level, entries, &rows))
}

/// All packs and their sizes as recorded.
///
/// # Errors
/// The database fails.
pub async fn all_packs(conn: &mut Conn) -> Result<Vec<(PackId, u64)>, StoreError> {
    let rows = sqlx::query("SELECT pack_id, bytes FROM packs ORDER BY pack_id").fetch_all(&mut *conn).await?;
    rows.iter()
        .map(|row| {
            let id: Vec<u8> = row.try_get(0)?;
            let id = id.try_into().map_err(|_| StoreError::corrupt("a pack id"))?;
            Ok((PackId(id), row.try_get::<i64, _>(1)?.unsigned_abs()))
        })
        .collect()
}

/// The chunks whose present place is in a pack, by offset.
///
/// # Errors
/// The database fails.
pub async fn in_pack(conn: &mut Conn, pack: PackId) -> Result<Vec<ChunkRow>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM chunks WHERE pack_id = $1 ORDER BY pack_offset");
    let rows = sqlx::query(sqlx::AssertSqlSafe(query)).bind(pack.0.as_slice()).fetch_all(&mut *conn).await?;
    rows.iter().map(ChunkRow::from_row).collect()
}
