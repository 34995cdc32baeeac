//! Owns the rows of a cut: what became so after one seq and is so at another, in a stable order that
//! can be taken up anywhere.

use super::bulk::{self, Bulk, Cells, Query, Read};
use super::sql::Param;
use super::{StoreError, entries};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tarn_proto::api::ChildEntry;
use tarn_proto::change::{Change, Row};
use tarn_proto::ids::{ConflictId, NodeId, SpaceId};
use tarn_proto::limits::PAGE_ROWS_MAX;

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
pub async fn page(bulk: &mut Bulk, part: Part, cut: Cut<'_>) -> Result<Vec<(Change, Position)>, StoreError> {
    let mut found = Vec::new();
    let mut position = cut.position.clone();
    while position.seq <= cut.upto && found.len() < cut.limit {
        let last = cut.upto.min(position.seq.saturating_add(WINDOW_SEQS - 1));
        let limit = cut.limit - found.len();
        found.extend(window(bulk, part, Cut { position: &position, limit, ..cut }, last).await?);
        position = Position::after(last);
    }
    Ok(found)
}

/// The rows up to seq `last`.
async fn window(bulk: &mut Bulk, part: Part, cut: Cut<'_>, last: u64) -> Result<Vec<(Change, Position)>, StoreError> {
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
    bulk.rows(Query { text, params, is_kept: cut.limit == PAGE_ROWS_MAX }, read).await
}

fn query(part: Part) -> (String, Read<(Change, Position)>) {
    match part {
        Part::Aliases => (
            "SELECT node, target, seq FROM aliases WHERE space = $1 AND seq >= $2 AND seq <= $3 \
             AND (seq > $2 OR node > $4) ORDER BY seq, node"
                .to_owned(),
            read_alias,
        ),
        Part::Nodes => (born("nodes", "n.node, n.seq_from, n.state", "n", "node"), read_node),
        Part::Conflicts => (born("conflicts", "c.conflict_id, c.seq_from, c.state", "c", "conflict_id"), read_conflict),
        Part::GoneNodes => (gone("nodes", "node"), read_gone_node),
        Part::GoneConflicts => (gone("conflicts", "conflict_id"), read_gone_conflict),
        Part::Entries => (
            "SELECT e.parent, e.name, e.seq_from, e.node FROM entries e \
             WHERE e.space = $1 AND e.seq_from >= $2 AND e.seq_from <= $4 \
             AND (e.seq_to IS NULL OR e.seq_to > $3) \
             AND (e.seq_from > $2 OR e.parent > $5 OR (e.parent = $5 AND e.name > $6)) \
             ORDER BY e.seq_from, e.parent, e.name"
                .to_owned(),
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

fn read_alias(row: &dyn Cells) -> Result<(Change, Position), StoreError> {
    let node = bulk::id(row, 0, NodeId::from_slice)?;
    let target = bulk::id(row, 1, NodeId::from_slice)?;
    Ok(single(bulk::count(row, 2)?, node.as_bytes(), Row::Alias { node, target }))
}

fn read_node(row: &dyn Cells) -> Result<(Change, Position), StoreError> {
    let node = bulk::id(row, 0, NodeId::from_slice)?;
    let state = Arc::new(bulk::blob(row, 2)?);
    Ok(single(bulk::count(row, 1)?, node.as_bytes(), Row::Node { node, state: Some(state) }))
}

fn read_conflict(row: &dyn Cells) -> Result<(Change, Position), StoreError> {
    let conflict = bulk::id(row, 0, ConflictId::from_slice)?;
    let state = Some(Box::new(bulk::blob(row, 2)?));
    Ok(single(bulk::count(row, 1)?, conflict.as_bytes(), Row::Conflict { conflict, state }))
}

fn read_gone_node(row: &dyn Cells) -> Result<(Change, Position), StoreError> {
    let node = bulk::id(row, 0, NodeId::from_slice)?;
    Ok(single(bulk::count(row, 1)?, node.as_bytes(), Row::Node { node, state: None }))
}

fn read_gone_conflict(row: &dyn Cells) -> Result<(Change, Position), StoreError> {
    let conflict = bulk::id(row, 0, ConflictId::from_slice)?;
    Ok(single(bulk::count(row, 1)?, conflict.as_bytes(), Row::Conflict { conflict, state: None }))
}

fn read_entry(row: &dyn Cells) -> Result<(Change, Position), StoreError> {
    let (parent, name) = (bulk::id(row, 0, NodeId::from_slice)?, entries::name_of(row.bytes(1)?)?);
    let (seq, node) = (bulk::count(row, 2)?, bulk::id(row, 3, NodeId::from_slice)?);
    let position = Position { seq, key: parent.as_bytes().to_vec(), name: name.as_bytes().to_vec() };
    Ok((Change { seq, row: Row::Entry { parent, name, node: Some(node) } }, position))
}

fn read_gone_entry(row: &dyn Cells) -> Result<(Change, Position), StoreError> {
    let (parent, name) = (bulk::id(row, 0, NodeId::from_slice)?, entries::name_of(row.bytes(1)?)?);
    let seq = bulk::count(row, 2)?;
    let position = Position { seq, key: parent.as_bytes().to_vec(), name: name.as_bytes().to_vec() };
    Ok((Change { seq, row: Row::Entry { parent, name, node: None } }, position))
}

/// Lists a folder by name after the cut's position, as of its seq.
///
/// # Errors
/// The database fails.
pub async fn listing(bulk: &mut Bulk, cut: Cut<'_>, dir: NodeId) -> Result<Vec<ChildEntry>, StoreError> {
    let head = head(bulk, cut.space).await?;
    let mut found = listing_part(bulk, cut, dir, "e.seq_to IS NULL").await?;
    if head > cut.upto {
        found.extend(listing_part(bulk, cut, dir, "e.seq_to > $3").await?);
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found.truncate(cut.limit);
    }
    Ok(found)
}

/// Where the journal stands at the moment that `bulk` sees: entries that have ended since the cut are then looked for as well.
async fn head(bulk: &mut Bulk, space: SpaceId) -> Result<u64, StoreError> {
    let text = "SELECT seq FROM spaces WHERE space_id = $1".to_owned();
    let query = Query { text, params: vec![space.as_bytes().into()], is_kept: true };
    let seqs = bulk.rows(query, |row| bulk::count(row, 0)).await?;
    seqs.first().copied().ok_or_else(|| StoreError::corrupt("a listing of no space"))
}

async fn listing_part(bulk: &mut Bulk, cut: Cut<'_>, dir: NodeId, which: &str) -> Result<Vec<ChildEntry>, StoreError> {
    let text = format!(
        "SELECT e.name, e.seq_from, n.node, n.seq_from, n.state \
         FROM entries e JOIN nodes n ON n.node = e.node AND n.space = e.space AND n.seq_from <= $3 \
         AND (n.seq_to IS NULL OR n.seq_to > $3) \
         WHERE e.space = $1 AND e.parent = $2 AND {which} AND e.seq_from <= $3 AND e.name > $4 \
         ORDER BY e.name LIMIT {}",
        cut.limit
    );
    let params = vec![
        cut.space.as_bytes().into(),
        dir.as_bytes().into(),
        Param::from(cut.upto as i64),
        cut.position.name.as_slice().into(),
    ];
    bulk.rows(Query { text, params, is_kept: cut.limit == PAGE_ROWS_MAX }, read_listed).await
}

fn read_listed(row: &dyn Cells) -> Result<ChildEntry, StoreError> {
    Ok(ChildEntry {
        name: entries::name_of(row.bytes(0)?)?,
        entry_seq: bulk::count(row, 1)?,
        node: bulk::id(row, 2, NodeId::from_slice)?,
        node_seq: bulk::count(row, 3)?,
        state: bulk::blob(row, 4)?,
    })
}
