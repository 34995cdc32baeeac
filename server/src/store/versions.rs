//! Owns the rows of versions: every content that was ever acknowledged.

use super::sql::{self, Param};
use super::{Conn, StoreError};
use crate::rules::VersionRow;
use sqlx::any::AnyRow;
use std::collections::HashMap;
use tarn_proto::api::to_binary;
use tarn_proto::ids::{ContentId, NodeId, SpaceId, VersionId};
use tarn_proto::node::FileVersion;

/// A version as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredVersion {
    /// Whose content.
    pub node: NodeId,
    /// Which change brought it.
    pub seq: u64,
    /// When, by the server's clock.
    pub time_ms: i64,
    /// The content, what it has seen, who made it.
    pub file: FileVersion,
}

const LOADED: &str = "node, seq, time_ms, file";

fn from_row(row: &AnyRow) -> Result<StoredVersion, StoreError> {
    Ok(StoredVersion {
        node: sql::id(row, "node", NodeId::from_slice)?,
        seq: sql::count(row, "seq")?,
        time_ms: sqlx::Row::try_get(row, "time_ms")?,
        file: sql::blob(row, "file")?,
    })
}

/// Stores versions; a known one only learns what it has seen since.
///
/// # Errors
/// The database fails.
pub async fn put(conn: &mut Conn, space: SpaceId, versions: &[StoredVersion]) -> Result<(), StoreError> {
    let params = |version: &StoredVersion| -> Vec<Param> {
        let content = &version.file.content;
        vec![
            content.version.as_bytes().into(),
            space.as_bytes().into(),
            version.node.as_bytes().into(),
            (version.seq as i64).into(),
            version.time_ms.into(),
            (content.size as i64).into(),
            content.content_id.as_bytes().into(),
            to_binary(&version.file).into(),
        ]
    };
    let head = "INSERT INTO versions (version_id, space, node, seq, time_ms, size_bytes, content_id, file)";
    let tail = "ON CONFLICT (version_id) DO UPDATE SET file = excluded.file";
    sql::insert_rows(conn, head, 8, tail, versions.iter().map(params)).await?;
    Ok(())
}

/// Whose content those of these versions are that exist, in whatever space.
///
/// # Errors
/// The database fails.
pub async fn known(conn: &mut Conn, ids: &[VersionId]) -> Result<HashMap<VersionId, VersionRow>, StoreError> {
    const QUERY: &str = "SELECT version_id, node, content_id FROM versions WHERE version_id IN ({ids})";
    let rows = sql::select_in(conn, QUERY, &[], ids.iter().map(|id| id.as_bytes().into())).await?;
    let read = |row: &AnyRow| {
        let version = VersionRow {
            node: sql::id(row, "node", NodeId::from_slice)?,
            content_id: sql::id(row, "content_id", ContentId::from_slice)?,
        };
        Ok((sql::id(row, "version_id", VersionId::from_slice)?, version))
    };
    rows.iter().map(read).collect()
}

/// A node's versions, newest first.
///
/// # Errors
/// The database fails.
pub async fn of_node(conn: &mut Conn, space: SpaceId, node: NodeId) -> Result<Vec<StoredVersion>, StoreError> {
    let query = format!("SELECT {LOADED} FROM versions WHERE node = $1 AND space = $2 ORDER BY seq DESC");
    let rows = sqlx::query(sqlx::AssertSqlSafe(query))
        .bind(node.as_bytes())
        .bind(space.as_bytes())
        .fetch_all(&mut *conn)
        .await?;
    rows.iter().map(from_row).collect()
}

/// One version.
///
/// # Errors
/// The database fails.
pub async fn get(conn: &mut Conn, space: SpaceId, id: VersionId) -> Result<Option<StoredVersion>, StoreError> {
    let query = format!("SELECT {LOADED} FROM versions WHERE version_id = $1 AND space = $2");
    let row = sqlx::query(sqlx::AssertSqlSafe(query))
        .bind(id.as_bytes())
        .bind(space.as_bytes())
        .fetch_optional(&mut *conn)
        .await?;
    row.as_ref().map(from_row).transpose()
}

/// The versions of a space after `after` by id, at most `limit`.
///
/// # Errors
/// The database fails.
pub async fn page(
    conn: &mut Conn,
    space: SpaceId,
    after: Option<VersionId>,
    limit: usize,
) -> Result<Vec<StoredVersion>, StoreError> {
    let query =
        format!("SELECT {LOADED} FROM versions WHERE space = $1 AND version_id > $2 ORDER BY version_id LIMIT {limit}");
    let after = after.map(|id| id.as_bytes().to_vec()).unwrap_or_default();
    let rows = sqlx::query(sqlx::AssertSqlSafe(query)).bind(space.as_bytes()).bind(after).fetch_all(&mut *conn).await?;
    rows.iter().map(from_row).collect()
}
