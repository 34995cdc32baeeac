//! Owns writing the local side: one statement per kind of [`RowChange`]. Each sets a whole row or
//! removes it, so applying a change twice is applying it once.

use super::Result;
use super::codec::{encode, to_sql};
use super::rows::{ContentNo, ContentRow, EntryRow, Ino, InodeRow, QueuedOp, RowChange, Ticket};
use rusqlite::{Connection, Params};
use tarn_proto::name::Name;

/// Applies one change.
pub(super) fn apply(db: &Connection, change: &RowChange) -> Result<()> {
    match change {
        RowChange::Inode(ino, row) => inode(db, *ino, row.as_ref()),
        RowChange::Entry(parent, name, row) => entry(db, *parent, name, row.as_ref()),
        RowChange::Content(no, row) => content(db, *no, row.as_deref()),
        RowChange::Queue(ticket, op) => queue(db, *ticket, op.as_deref()),
        RowChange::Counter(_) => Ok(()),
        RowChange::Rescue(version, Some(path)) => {
            run(db, "insert or replace into rescue(version, path) values (?1, ?2)", (version.as_bytes(), path))
        }
        RowChange::Rescue(version, None) => run(db, "delete from rescue where version = ?1", [version.as_bytes()]),
    }
}

fn run(db: &Connection, sql: &str, params: impl Params) -> Result<()> {
    db.prepare_cached(sql)?.execute(params)?;
    Ok(())
}

fn inode(db: &Connection, ino: Ino, row: Option<&InodeRow>) -> Result<()> {
    let number = to_sql("inode", ino.0)?;
    let Some(row) = row else { return run(db, "delete from inode where ino = ?1", [number]) };
    let node = row.node.as_ref().map(tarn_proto::ids::NodeId::as_bytes);
    let sql = "insert into inode(ino, node, row) values (?1, ?2, ?3) \
               on conflict(ino) do update set node = excluded.node, row = excluded.row";
    run(db, sql, (number, node, encode("inode", row)?))
}

fn entry(db: &Connection, parent: Ino, name: &Name, row: Option<&EntryRow>) -> Result<()> {
    let number = to_sql("local_entry", parent.0)?;
    let Some(row) = row else {
        let sql = "delete from local_entry where parent = ?1 and name = ?2";
        return run(db, sql, (number, name.as_bytes()));
    };
    let ino = row.ino.map(|ino| to_sql("local_entry", ino.0)).transpose()?;
    let sql = "insert into local_entry(parent, name, ino, ticket) values (?1, ?2, ?3, ?4) \
               on conflict(parent, name) do update set ino = excluded.ino, ticket = excluded.ticket";
    run(db, sql, (number, name.as_bytes(), ino, to_sql("local_entry", row.ticket.0)?))
}

fn content(db: &Connection, no: ContentNo, row: Option<&ContentRow>) -> Result<()> {
    let number = to_sql("content", no.0)?;
    let Some(row) = row else { return run(db, "delete from content where no = ?1", [number]) };
    run(db, "insert or replace into content(no, row) values (?1, ?2)", (number, encode("content", row)?))
}

fn queue(db: &Connection, ticket: Ticket, op: Option<&QueuedOp>) -> Result<()> {
    let number = to_sql("queue", ticket.0)?;
    let Some(op) = op else { return run(db, "delete from queue where ticket = ?1", [number]) };
    run(db, "insert or replace into queue(ticket, op) values (?1, ?2)", (number, encode("queue", op)?))
}
