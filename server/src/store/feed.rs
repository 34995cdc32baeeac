//! Owns the rows of a cut: what became so after one seq and is so at another, in a stable order that
//! can be taken up anywhere.

use super::conflicts;
use super::entries::{self, EntryInterval};
use super::nodes::{self, NodeInterval};
use super::sql::{self, Param};
use super::{Conn, StoreError};
use serde::{Deserialize, Serialize};
use sqlx::Row as _;
use sqlx::any::AnyRow;
use tarn_proto::change::{Change, Row};
use tarn_proto::ids::{ConflictId, NodeId, SpaceId};

/// The parts of a cut, in the order in which they are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// New aliases.
    Aliases,
    /// Nodes that became so.
    Nodes,
    /// Entries that became so.
    Entries,
    /// Conflicts that became so.
    Conflicts,
    /// Names that became free.
    GoneEntries,
    /// Nodes that went.
    GoneNodes,
    /// Conflicts that were resolved.
    GoneConflicts,
}

impl Part {
    /// The part after this one. A device that starts afresh has nothing that could be gone.
    pub fn next(self, from: u64) -> Option<Self> {
        match self {
            Self::Aliases => Some(Self::Nodes),
            Self::Nodes => Some(Self::Entries),
            Self::Entries => Some(Self::Conflicts),
            Self::Conflicts if from == 0 => None,
            Self::Conflicts => Some(Self::GoneEntries),
            Self::GoneEntries => Some(Self::GoneNodes),
            Self::GoneNodes => Some(Self::GoneConflicts),
            Self::GoneConflicts => None,
        }
    }
}

/// Where in a part: after the row with this seq and key. The key of an entry has two pieces.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The row's seq.
    pub seq: u64,
    /// The first piece of its key.
    #[serde(with = "tarn_proto::bytes64")]
    pub key: Vec<u8>,
    /// The second piece.
    #[serde(with = "tarn_proto::bytes64")]
    pub name: Vec<u8>,
}

impl Position {
    /// Before all rows after `seq`.
    pub fn after(seq: u64) -> Self {
        Self { seq: seq + 1, ..Self::default() }
    }
}

/// One page's request.
#[derive(Debug, Clone, Copy)]
pub struct Cut<'a> {
    /// Which space.
    pub space: SpaceId,
    /// The seq of the cut.
    pub upto: u64,
    /// Where to go on.
    pub position: &'a Position,
    /// Most rows.
    pub limit: usize,
}

/// Seqs that one statement looks at. Without statistics PostgreSQL would sort all rows up to the cut
/// for each page.
const WINDOW_SEQS: u64 = 20_000;

/// Reads rows of one part, each with its position.
///
/// # Errors
/// The database fails.
pub async fn page(conn: &mut Conn, part: Part, cut: Cut<'_>) -> Result<Vec<(Change, Position)>, StoreError> {
    let mut found = Vec::new();
    let mut position = cut.position.clone();
    while position.seq <= cut.upto && found.len() < cut.limit {
        let last = cut.upto.min(position.seq.saturating_add(WINDOW_SEQS - 1));
        let limit = cut.limit - found.len();
        found.extend(window(conn, part, Cut { position: &position, limit, ..cut }, last).await?);
        position = Position::after(last);
    }
    Ok(found)
}

/// The rows up to seq `last`.
async fn window(conn: &mut Conn, part: Part, cut: Cut<'_>, last: u64) -> Result<Vec<(Change, Position)>, StoreError> {
    let (text, read) = query(part);
    let text = format!("{text} LIMIT {}", cut.limit);
    let mut params: Vec<Param> = vec![
        cut.space.as_bytes().into(),
        (cut.position.seq as i64).into(),
        (cut.upto as i64).into(),
        (last as i64).into(),
        cut.position.key.as_slice().into(),
    ];
    if matches!(part, Part::Entries | Part::GoneEntries) {
        params.push(cut.position.name.as_slice().into());
    }
    if part == Part::Aliases {
        params.remove(2);
    }
    let query = sqlx::query_with(sqlx::AssertSqlSafe(text), sql::arguments(params)?);
    let rows = query.persistent(cut.limit == tarn_proto::limits::PAGE_ROWS_MAX).fetch_all(&mut *conn).await?;
    rows.iter().map(read).collect()
}

type Read = fn(&AnyRow) -> Result<(Change, Position), StoreError>;

fn query(part: Part) -> (String, Read) {
    match part {
        Part::Aliases => (
            "SELECT node, target, seq FROM aliases WHERE space = $1 AND seq >= $2 AND seq <= $3 \
             AND (seq > $2 OR node > $4) ORDER BY seq, node"
                .to_owned(),
            read_alias,
        ),
        Part::Nodes => (born("nodes", nodes::LOADED, "n", "node"), read_node),
        Part::Conflicts => (born("conflicts", conflicts::LOADED, "c", "conflict_id"), read_conflict),
        Part::GoneNodes => (gone("nodes", "node"), read_gone_node),
        Part::GoneConflicts => (gone("conflicts", "conflict_id"), read_gone_conflict),
        Part::Entries => (
            format!(
                "SELECT {} FROM entries e WHERE e.space = $1 AND e.seq_from >= $2 AND e.seq_from <= $4 \
                 AND (e.seq_to IS NULL OR e.seq_to > $3) \
                 AND (e.seq_from > $2 OR e.parent > $5 OR (e.parent = $5 AND e.name > $6)) \
                 ORDER BY e.seq_from, e.parent, e.name",
                entries::LOADED
            ),
            read_entry,
        ),
        Part::GoneEntries => (
            "SELECT e.parent, e.name, e.seq_to FROM entries e \
             WHERE e.space = $1 AND e.seq_to >= $2 AND e.seq_to <= $4 \
             AND (e.seq_to > $2 OR e.parent > $5 OR (e.parent = $5 AND e.name > $6)) \
             AND NOT EXISTS (SELECT 1 FROM entries x WHERE x.space = e.space AND x.parent = e.parent \
             AND x.name = e.name AND x.seq_from >= e.seq_to AND x.seq_from <= $3) \
             ORDER BY e.seq_to, e.parent, e.name"
                .to_owned(),
            read_gone_entry,
        ),
    }
}

/// Rows of a table with a key of one piece that became so, and are so at the cut.
fn born(table: &str, columns: &str, t: &str, key: &str) -> String {
    format!(
        "SELECT {columns} FROM {table} {t} WHERE {t}.space = $1 AND {t}.seq_from >= $2 AND {t}.seq_from <= $4 \
         AND ({t}.seq_to IS NULL OR {t}.seq_to > $3) AND ({t}.seq_from > $2 OR {t}.{key} > $5) \
         ORDER BY {t}.seq_from, {t}.{key}"
    )
}

/// Rows of a table with a key of one piece that ended without a successor.
fn gone(table: &str, key: &str) -> String {
    format!(
        "SELECT t.{key}, t.seq_to FROM {table} t WHERE t.space = $1 AND t.seq_to >= $2 AND t.seq_to <= $4 \
         AND (t.seq_to > $2 OR t.{key} > $5) \
         AND NOT EXISTS (SELECT 1 FROM {table} x WHERE x.{key} = t.{key} AND x.space = t.space \
         AND x.seq_from >= t.seq_to AND x.seq_from <= $3) ORDER BY t.seq_to, t.{key}"
    )
}

fn single(seq: u64, key: &[u8], row: Row) -> (Change, Position) {
    (Change { seq, row }, Position { seq, key: key.to_vec(), name: Vec::new() })
}

fn read_alias(row: &AnyRow) -> Result<(Change, Position), StoreError> {
    let node = sql::id(row, "node", NodeId::from_slice)?;
    let target = sql::id(row, "target", NodeId::from_slice)?;
    Ok(single(sql::count(row, "seq")?, node.as_bytes(), Row::Alias { node, target }))
}

fn read_node(row: &AnyRow) -> Result<(Change, Position), StoreError> {
    let NodeInterval { node, row, .. } = NodeInterval::from_row(row)?;
    Ok(single(row.seq, node.as_bytes(), Row::Node { node, state: Some(Box::new(row.state)) }))
}

fn read_conflict(row: &AnyRow) -> Result<(Change, Position), StoreError> {
    let row = conflicts::from_row(row)?;
    let conflict = row.id;
    Ok(single(row.seq, conflict.as_bytes(), Row::Conflict { conflict, state: Some(Box::new(row.state)) }))
}

fn read_gone_node(row: &AnyRow) -> Result<(Change, Position), StoreError> {
    let node = sql::id(row, "node", NodeId::from_slice)?;
    Ok(single(sql::count(row, "seq_to")?, node.as_bytes(), Row::Node { node, state: None }))
}

fn read_gone_conflict(row: &AnyRow) -> Result<(Change, Position), StoreError> {
    let conflict = sql::id(row, "conflict_id", ConflictId::from_slice)?;
    Ok(single(sql::count(row, "seq_to")?, conflict.as_bytes(), Row::Conflict { conflict, state: None }))
}

fn read_entry(row: &AnyRow) -> Result<(Change, Position), StoreError> {
    let EntryInterval { place, row, .. } = EntryInterval::from_row(row)?;
    let position =
        Position { seq: row.seq, key: place.parent.as_bytes().to_vec(), name: place.name.as_bytes().to_vec() };
    let row = Row::Entry { parent: place.parent, name: place.name, node: Some(row.node) };
    Ok((Change { seq: position.seq, row }, position))
}

fn read_gone_entry(row: &AnyRow) -> Result<(Change, Position), StoreError> {
    let (parent, name) = (sql::id(row, "parent", NodeId::from_slice)?, entries::name(row)?);
    let seq = sql::count(row, "seq_to")?;
    let position = Position { seq, key: parent.as_bytes().to_vec(), name: name.as_bytes().to_vec() };
    Ok((Change { seq, row: Row::Entry { parent, name, node: None } }, position))
}

/// One entry of a folder and its node, as of a seq.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// The entry.
    pub entry: EntryInterval,
    /// Its node.
    pub node: NodeInterval,
}

/// Lists a folder by name after `after`, as of `seq`; `head` is where the journal stands.
///
/// # Errors
/// The database fails.
pub async fn listing(conn: &mut Conn, cut: Cut<'_>, dir: NodeId, head: u64) -> Result<Vec<Listed>, StoreError> {
    let mut found = listing_part(conn, cut, dir, "e.seq_to IS NULL").await?;
    if head > cut.upto {
        found.extend(listing_part(conn, cut, dir, "e.seq_to > $3").await?);
        found.sort_by(|a, b| a.entry.place.name.cmp(&b.entry.place.name));
        found.truncate(cut.limit);
    }
    Ok(found)
}

async fn listing_part(conn: &mut Conn, cut: Cut<'_>, dir: NodeId, which: &str) -> Result<Vec<Listed>, StoreError> {
    let text = format!(
        "SELECT e.name AS entry_name, e.seq_from AS entry_seq, e.device AS entry_device, {} \
         FROM entries e JOIN nodes n ON n.node = e.node AND n.space = e.space AND n.seq_from <= $3 \
         AND (n.seq_to IS NULL OR n.seq_to > $3) \
         WHERE e.space = $1 AND e.parent = $2 AND {which} AND e.seq_from <= $3 AND e.name > $4 \
         ORDER BY e.name LIMIT {}",
        nodes::LOADED,
        cut.limit
    );
    let params = [
        cut.space.as_bytes().into(),
        dir.as_bytes().into(),
        Param::from(cut.upto as i64),
        cut.position.name.as_slice().into(),
    ];
    let query = sqlx::query_with(sqlx::AssertSqlSafe(text), sql::arguments(params)?);
    let rows = query.fetch_all(&mut *conn).await?;
    rows.iter().map(|row| read_listed(row, dir)).collect()
}

fn read_listed(row: &AnyRow, dir: NodeId) -> Result<Listed, StoreError> {
    let bytes: &[u8] = row.try_get("entry_name")?;
    let name = tarn_proto::name::Name::new(bytes).map_err(|error| StoreError::corrupt(format!("a name: {error}")))?;
    let node = NodeInterval::from_row(row)?;
    let entry = crate::rules::EntryRow {
        node: node.node,
        seq: sql::count(row, "entry_seq")?,
        device: sql::id(row, "entry_device", tarn_proto::ids::DeviceId::from_slice)?,
        meant_for: None,
    };
    let place = tarn_proto::op::Place { parent: dir, name };
    Ok(Listed { entry: EntryInterval { place, seq_to: None, row: entry }, node })
}
