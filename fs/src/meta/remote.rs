//! Owns writing what the server said. The one rule: a row never overwrites one of a higher seq.

use super::Result;
use super::codec::{encode, to_sql};
use super::work::{RemoteWork, Staged};
use rusqlite::{CachedStatement, Connection, OptionalExtension};
use std::collections::HashMap;
use tarn_proto::change::{Change, Row};
use tarn_proto::ids::{ConflictId, NodeId};

/// Which tables are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// What everybody sees.
    Live,
    /// What waits for its cut.
    Staged,
}

const TABLES: [(&str, &str, &str, &str); 4] = [
    ("node", "node", "node, seq, state", "seq = excluded.seq, state = excluded.state"),
    ("entry", "parent, name", "parent, name, node, seq", "seq = excluded.seq, node = excluded.node"),
    ("alias", "node", "node, target, seq", "seq = excluded.seq, target = excluded.target"),
    ("conflict", "conflict", "conflict, seq, state", "seq = excluded.seq, state = excluded.state"),
];

fn live_table(table: &str) -> String {
    if matches!(table, "node" | "entry") { format!("remote_{table}") } else { table.to_owned() }
}

/// Applies a unit of remote work, but for its local rows.
pub(super) fn apply(db: &Connection, work: &RemoteWork) -> Result<()> {
    if work.staged != Staged::Leave {
        let upto = work.cursor.as_ref().filter(|_| work.staged != Staged::ReplaceAll);
        let upto = upto.map_or(u64::MAX >> 1, |(_, cursor)| cursor.seq);
        swap_staged(db, work.staged != Staged::Apply, upto)?;
    }
    apply_changes(db, &work.changes, Target::Live)?;
    for &(node, seq) in &work.listed {
        let sql = "insert into listed(node, seq) values (?1, ?2) on conflict(node) do update set seq = excluded.seq \
                   where excluded.seq > seq";
        db.prepare_cached(sql)?.execute((node.as_bytes(), to_sql("listed", seq)?))?;
    }
    if let Some((space, cursor)) = &work.cursor {
        let sql = "insert or replace into cursor(space, cursor) values (?1, ?2)";
        db.prepare_cached(sql)?.execute((space.as_bytes(), encode("cursor", cursor)?))?;
    }
    for (key, value) in &work.kv {
        match value {
            Some(value) => {
                db.prepare_cached("insert or replace into kv(key, value) values (?1, ?2)")?.execute((key, &value.0))?
            }
            None => db.prepare_cached("delete from kv where key = ?1")?.execute([key])?,
        };
    }
    Ok(())
}

/// Applies rows, each unless a higher seq is known. Sorted by key first: a B-tree fills many times
/// faster in order. Staged rows are only appended.
pub(super) fn apply_changes(db: &Connection, changes: &[Change], target: Target) -> Result<()> {
    let mut sorted: Vec<&Change> = changes.iter().collect();
    if target == Target::Live {
        sorted.sort_by(|a, b| key_of(&a.row).cmp(&key_of(&b.row)));
    }
    let mut upserts = Upserts::prepare(db, target)?;
    let mut listings = Listings::load(db, target)?;
    for change in sorted {
        let hidden = match &change.row {
            Row::Entry { parent, .. } => listings.seq_of(*parent)?.is_some_and(|seq| to_i(change.seq) <= seq),
            _ => false,
        };
        if !hidden {
            upserts.run(change)?;
        }
    }
    Ok(())
}

fn to_i(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

fn key_of(row: &Row) -> (u8, &[u8], &[u8]) {
    match row {
        Row::Node { node, .. } => (0, node.as_bytes(), &[]),
        Row::Entry { parent, name, .. } => (1, parent.as_bytes(), name.as_bytes()),
        Row::Alias { node, .. } => (2, node.as_bytes(), &[]),
        Row::Conflict { conflict, .. } => (3, conflict.as_bytes(), &[]),
    }
}

struct Upserts<'a> {
    statements: [CachedStatement<'a>; 4],
}

impl<'a> Upserts<'a> {
    fn prepare(db: &'a Connection, target: Target) -> Result<Self> {
        let prepare = |(table, key, columns, set): (&str, &str, &str, &str)| {
            let values = ["?1, ?2, ?3", "?1, ?2, ?3, ?4"][columns.matches(',').count() - 2];
            if target == Target::Staged {
                // A heap: appended now, sorted once when it is swapped in.
                return db.prepare_cached(&format!("insert into staged_{table}({columns}) values ({values})"));
            }
            let name = live_table(table);
            db.prepare_cached(&format!(
                "insert into {name}({columns}) values ({values}) on conflict({key}) do update set {set} \
                 where excluded.seq >= {name}.seq"
            ))
        };
        let [node, entry, alias, conflict] = TABLES;
        Ok(Self { statements: [prepare(node)?, prepare(entry)?, prepare(alias)?, prepare(conflict)?] })
    }

    fn run(&mut self, change: &Change) -> Result<()> {
        let seq = to_sql("change", change.seq)?;
        let [nodes, entries, aliases, conflicts] = &mut self.statements;
        match &change.row {
            Row::Node { node, state } => {
                let blob = state.as_ref().map(|state| encode("remote_node", state)).transpose()?;
                nodes.execute((node.as_bytes(), seq, blob))?
            }
            Row::Entry { parent, name, node } => {
                let node = node.as_ref().map(NodeId::as_bytes);
                entries.execute((parent.as_bytes(), name.as_bytes(), node, seq))?
            }
            Row::Alias { node, target } => aliases.execute((node.as_bytes(), target.as_bytes(), seq))?,
            Row::Conflict { conflict, state } => {
                let blob = state.as_ref().map(|state| encode("conflict", state)).transpose()?;
                conflicts.execute((ConflictId::as_bytes(conflict), seq, blob))?
            }
        };
        Ok(())
    }
}

/// The seqs of listed directories, looked up once each.
struct Listings<'a> {
    statement: Option<CachedStatement<'a>>,
    known: HashMap<NodeId, Option<i64>>,
}

impl<'a> Listings<'a> {
    fn load(db: &'a Connection, target: Target) -> Result<Self> {
        let any: bool = db.prepare_cached("select exists(select 1 from listed)")?.query_row([], |row| row.get(0))?;
        let needed = any && target == Target::Live;
        let statement = needed.then(|| db.prepare_cached("select seq from listed where node = ?1")).transpose()?;
        Ok(Self { statement, known: HashMap::new() })
    }

    fn seq_of(&mut self, node: NodeId) -> Result<Option<i64>> {
        let Some(statement) = &mut self.statement else { return Ok(None) };
        if let Some(&seq) = self.known.get(&node) {
            return Ok(seq);
        }
        let seq = statement.query_row([node.as_bytes()], |row| row.get(0)).optional()?;
        self.known.insert(node, seq);
        Ok(seq)
    }
}

/// Rows beyond the cut (answers to what this device did meanwhile) are newer than the staged ones and stay.
fn swap_staged(db: &Connection, replace: bool, upto: u64) -> Result<()> {
    if replace {
        db.execute_batch("delete from listed")?;
    }
    for (table, key, columns, set) in TABLES {
        let live = live_table(table);
        if replace {
            db.execute(&format!("delete from {live} where seq <= ?1"), [to_i(upto)])?;
        }
        let unlisted = if table == "entry" && !replace {
            " and not exists(select 1 from listed l where l.node = s.parent and l.seq >= s.seq)"
        } else {
            ""
        };
        db.execute_batch(&format!(
            "insert into {live}({columns}) select {columns} from staged_{table} s where true{unlisted} order by {key}, seq \
             on conflict({key}) do update set {set} where excluded.seq >= {live}.seq"
        ))?;
    }
    discard_staged(db)
}

/// Forgets all staged rows.
pub(super) fn discard_staged(db: &Connection) -> Result<()> {
    for (table, ..) in TABLES {
        db.execute_batch(&format!("delete from staged_{table}"))?;
    }
    Ok(())
}
