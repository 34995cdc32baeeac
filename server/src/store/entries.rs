//! Owns the rows of entries: which name in which folder names which node, and did.

use super::sql::{self, Param};
use super::{Conn, StoreError};
use crate::rules::EntryRow;
use sqlx::Row as _;
use sqlx::any::AnyRow;
use tarn_proto::ids::{DeviceId, NodeId, SpaceId};
use tarn_proto::name::Name;
use tarn_proto::op::Place;

/// An entry's interval as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryInterval {
    /// Where.
    pub place: Place,
    /// Until when; `None` while it stands.
    pub seq_to: Option<u64>,
    /// What, since when, by whom.
    pub row: EntryRow,
}

/// The columns that [`EntryInterval::from_row`] reads, of a table named `e`.
pub const LOADED: &str = "e.parent, e.name, e.seq_from, e.seq_to, e.node, e.device, e.meant_for";

/// Places asked for in one statement.
const PLACES_MAX: usize = 64;

impl EntryInterval {
    /// Reads the columns of [`LOADED`].
    ///
    /// # Errors
    /// They hold something else.
    pub fn from_row(row: &AnyRow) -> Result<Self, StoreError> {
        let seq_to: Option<i64> = row.try_get("seq_to")?;
        let meant_for: Option<&[u8]> = row.try_get("meant_for")?;
        Ok(Self {
            place: Place { parent: sql::id(row, "parent", NodeId::from_slice)?, name: name(row)? },
            seq_to: seq_to.map(|seq| u64::try_from(seq).map_err(|_| StoreError::corrupt("seq_to"))).transpose()?,
            row: EntryRow {
                node: sql::id(row, "node", NodeId::from_slice)?,
                seq: sql::count(row, "seq_from")?,
                device: sql::id(row, "device", DeviceId::from_slice)?,
                meant_for: meant_for.map(|_| sql::id(row, "meant_for", NodeId::from_slice)).transpose()?,
            },
        })
    }

    fn params(&self, space: SpaceId) -> Vec<Param> {
        vec![
            space.as_bytes().into(),
            self.place.parent.as_bytes().into(),
            self.place.name.as_bytes().into(),
            (self.row.seq as i64).into(),
            self.seq_to.map(|seq| seq as i64).into(),
            self.row.node.as_bytes().into(),
            self.row.device.as_bytes().into(),
            self.row.meant_for.map(|folder| folder.as_bytes().to_vec()).into(),
        ]
    }
}

/// Reads a name.
///
/// # Errors
/// The column holds none.
pub fn name(row: &AnyRow) -> Result<Name, StoreError> {
    name_of(row.try_get("name")?)
}

/// Makes a name of what a column holds.
///
/// # Errors
/// It is none.
pub fn name_of(bytes: &[u8]) -> Result<Name, StoreError> {
    Name::new(bytes).map_err(|error| StoreError::corrupt(format!("a name: {error}")))
}

fn read(rows: &[AnyRow]) -> Result<Vec<EntryInterval>, StoreError> {
    rows.iter().map(EntryInterval::from_row).collect()
}

fn node_params(nodes: &[NodeId]) -> impl Iterator<Item = Param> + '_ {
    nodes.iter().map(|node| node.as_bytes().into())
}

/// The present entries that name these nodes.
///
/// # Errors
/// The database fails.
pub async fn naming(conn: &mut Conn, nodes: &[NodeId]) -> Result<Vec<EntryInterval>, StoreError> {
    let query = format!("SELECT {LOADED} FROM entries e WHERE e.node IN ({{ids}}) AND e.seq_to IS NULL");
    read(&sql::select_in(conn, &query, &[], node_params(nodes)).await?)
}

/// The past entries that named these nodes.
///
/// # Errors
/// The database fails.
pub async fn that_named(conn: &mut Conn, nodes: &[NodeId]) -> Result<Vec<EntryInterval>, StoreError> {
    let query = format!("SELECT {LOADED} FROM entries e WHERE e.node IN ({{ids}}) AND e.seq_to IS NOT NULL");
    read(&sql::select_in(conn, &query, &[], node_params(nodes)).await?)
}

/// The present entries of these folders.
///
/// # Errors
/// The database fails.
pub async fn inside(conn: &mut Conn, space: SpaceId, dirs: &[NodeId]) -> Result<Vec<EntryInterval>, StoreError> {
    let query =
        format!("SELECT {LOADED} FROM entries e WHERE e.space = $1 AND e.parent IN ({{ids}}) AND e.seq_to IS NULL");
    read(&sql::select_in(conn, &query, &[space.as_bytes().into()], node_params(dirs)).await?)
}

/// The entries that went with one change.
///
/// # Errors
/// The database fails.
pub async fn gone_at(conn: &mut Conn, space: SpaceId, seq: u64) -> Result<Vec<EntryInterval>, StoreError> {
    let query = format!("SELECT {LOADED} FROM entries e WHERE e.space = $1 AND e.seq_to = $2");
    let rows =
        sqlx::query(sqlx::AssertSqlSafe(query)).bind(space.as_bytes()).bind(seq as i64).fetch_all(&mut *conn).await?;
    read(&rows)
}

/// CROSS JOIN makes SQLite begin with the places: it would rather go through all entries of the space.
pub(super) fn at_query(places: usize) -> String {
    let values = sql::rows_of_placeholders(2, places, 2);
    format!(
        "WITH w (parent, name) AS (VALUES {values}) SELECT {LOADED} FROM w CROSS JOIN entries e \
         WHERE e.space = $1 AND e.parent = w.parent AND e.name = w.name AND e.seq_to IS NULL"
    )
}

/// The present entries at these places.
///
/// # Errors
/// The database fails.
pub async fn at(conn: &mut Conn, space: SpaceId, places: &[Place]) -> Result<Vec<EntryInterval>, StoreError> {
    let mut found = Vec::new();
    for batch in places.chunks(PLACES_MAX) {
        let query = at_query(batch.len());
        let params = batch
            .iter()
            .flat_map(|place| [place.parent.as_bytes().into(), place.name.as_bytes().into()])
            .collect::<Vec<Param>>();
        let arguments = sql::arguments(std::iter::once(space.as_bytes().into()).chain(params))?;
        let cached = batch.len() == 1 || batch.len() == PLACES_MAX;
        let query = sqlx::query_with(sqlx::AssertSqlSafe(query), arguments).persistent(cached);
        found.extend(read(&query.fetch_all(&mut *conn).await?)?);
    }
    Ok(found)
}

/// The folders above these nodes, up to the root.
///
/// # Errors
/// The database fails.
pub async fn above(conn: &mut Conn, nodes: &[NodeId]) -> Result<Vec<NodeId>, StoreError> {
    const QUERY: &str = "WITH RECURSIVE up (node) AS (\
         SELECT parent FROM entries WHERE node IN ({ids}) AND seq_to IS NULL \
         UNION SELECT e.parent FROM up JOIN entries e ON e.node = up.node AND e.seq_to IS NULL) \
         SELECT node FROM up";
    let rows = sql::select_in(conn, QUERY, &[], node_params(nodes)).await?;
    rows.iter().map(|row| sql::id(row, "node", NodeId::from_slice)).collect()
}

/// IN makes SQLite begin with the places: with UPDATE … FROM it goes through all entries of the space.
pub(super) fn end_query(places: usize) -> String {
    let values = sql::rows_of_placeholders(2, places, 3);
    format!(
        "WITH v (parent, name, seq) AS (VALUES {values}) UPDATE entries SET seq_to = \
         (SELECT v.seq FROM v WHERE v.parent = entries.parent AND v.name = entries.name) \
         WHERE space = $1 AND seq_to IS NULL AND (parent, name) IN (SELECT parent, name FROM v)"
    )
}

/// Ends present entries; each at its seq.
///
/// # Errors
/// The database fails.
pub async fn end(conn: &mut Conn, space: SpaceId, ended: &[(Place, u64)]) -> Result<(), StoreError> {
    for batch in ended.chunks(PLACES_MAX) {
        let query = end_query(batch.len());
        let params = batch.iter().flat_map(|(place, seq)| {
            [place.parent.as_bytes().into(), place.name.as_bytes().into(), Param::from(*seq as i64)]
        });
        let arguments = sql::arguments(std::iter::once(space.as_bytes().into()).chain(params))?;
        sqlx::query_with(sqlx::AssertSqlSafe(query), arguments)
            .persistent(batch.len() == 1 || batch.len() == PLACES_MAX)
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

/// Stores intervals.
///
/// # Errors
/// The database fails.
pub async fn insert(conn: &mut Conn, space: SpaceId, rows: &[EntryInterval]) -> Result<(), StoreError> {
    let head = "INSERT INTO entries (space, parent, name, seq_from, seq_to, node, device, meant_for)";
    sql::insert_rows(conn, head, 8, "", rows.iter().map(|row| row.params(space))).await?;
    Ok(())
}
