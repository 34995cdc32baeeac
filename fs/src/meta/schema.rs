//! Owns the tables, their format number, and opening the file.

use super::{MetaError, Result};
use crate::env::DatabasePath;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;

/// The database's file in the state folder.
pub const FILE_NAME: &str = "state.db";

const FORMAT: i64 = 1;

const TABLES: &str = "
create table remote_node(node blob primary key, seq integer not null, state blob) without rowid, strict;
create table remote_entry(parent blob not null, name blob not null, node blob, seq integer not null,
    primary key(parent, name)) without rowid, strict;
create index remote_entry_node on remote_entry(node) where node is not null;
create table listed(node blob primary key, seq integer not null) without rowid, strict;
create table alias(node blob primary key, target blob not null, seq integer not null) without rowid, strict;
create table conflict(conflict blob primary key, seq integer not null, state blob) without rowid, strict;

create table staged_node(node blob not null, seq integer not null, state blob) strict;
create table staged_entry(parent blob not null, name blob not null, node blob, seq integer not null) strict;
create table staged_alias(node blob not null, target blob not null, seq integer not null) strict;
create table staged_conflict(conflict blob not null, seq integer not null, state blob) strict;

create table inode(ino integer primary key, node blob, row blob not null) strict;
create index inode_node on inode(node) where node is not null;
create table local_entry(parent integer not null, name blob not null, ino integer, ticket integer not null,
    primary key(parent, name)) without rowid, strict;
create index local_entry_ino on local_entry(ino) where ino is not null;
create table content(no integer primary key, row blob not null) strict;
create table queue(ticket integer primary key, op blob not null) strict;
create table rescue(version blob primary key, path text not null) without rowid, strict;

create table cursor(space blob primary key, cursor blob not null) without rowid, strict;
create table mark(name text primary key, value integer not null) without rowid, strict;
create table kv(key text primary key, value blob not null) without rowid, strict;
";

/// How thoroughly the file is looked at when it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Its header and schema.
    Quick,
    /// Every page (after an unclean end, or when asked).
    Pages,
}

/// Opens the database for writing, making it if there is none; errors name it `path`.
pub(super) fn open_writer(at: &DatabasePath, path: &Path, check: Check) -> Result<Connection> {
    let open = || -> Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags_and_vfs(&at.path, flags, at.vfs)?;
        db.set_prepared_statement_cache_capacity(64);
        db.execute_batch("pragma journal_mode = wal; pragma synchronous = full; pragma cache_size = -32000;")?;
        if check == Check::Pages {
            check_pages(&db, path)?;
        }
        ensure_format(&db, path)?;
        Ok(db)
    };
    open().map_err(|e| e.at(path))
}

/// Opens the database for reading; it exists and stays open elsewhere for writing.
pub(super) fn open_reader(at: &DatabasePath, path: &Path) -> Result<Connection> {
    let open = || -> Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags_and_vfs(&at.path, flags, at.vfs)?;
        db.set_prepared_statement_cache_capacity(64);
        db.execute_batch("pragma cache_size = -4000; pragma query_only = on;")?;
        db.busy_timeout(std::time::Duration::from_secs(5))?;
        Ok(db)
    };
    open().map_err(|e| e.at(path))
}

fn check_pages(db: &Connection, path: &Path) -> Result<()> {
    let said: String = db.query_row("pragma quick_check(1)", [], |row| row.get(0))?;
    if said == "ok" { Ok(()) } else { Err(MetaError::Damaged { path: path.to_owned(), detail: said }) }
}

fn ensure_format(db: &Connection, path: &Path) -> Result<()> {
    let found: i64 = db.query_row("pragma user_version", [], |row| row.get(0))?;
    match found {
        0 => {
            db.execute_batch(&format!("begin immediate; {TABLES} pragma user_version = {FORMAT}; commit;"))?;
            Ok(())
        }
        FORMAT => Ok(()),
        found if found > FORMAT => Err(MetaError::TooNew { path: path.to_owned(), found, known: FORMAT }),
        found => Err(MetaError::Damaged { path: path.to_owned(), detail: format!("format {found}") }),
    }
}
