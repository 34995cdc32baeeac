//! Owns reading what can be read of a damaged database. Where a page cannot be read, the rows behind it are looked for in
//! steps that double: a page is passed over in a few of them, and a gap costs no more rows than it has.

use super::skip_malformed;
use crate::env::DatabasePath;
use crate::meta::codec::{decode, from_sql, id};
use crate::meta::rows::{ContentNo, EntryRow, Ino, RowChange, Ticket};
use crate::meta::writer::Marks;
use crate::meta::{MetaError, Result};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Row};
use tarn_proto::ids::VersionId;
use tarn_proto::name::Name;

/// The damaged database.
pub(super) struct Source {
    db: Connection,
}

/// How far a reading came.
#[derive(Default)]
struct Run {
    is_whole: bool,
    is_at_end: bool,
    last: Option<i64>,
}

type Take<'a> = &'a mut dyn FnMut(RowChange) -> Result<()>;
type Decode = fn(&Row<'_>) -> Result<RowChange>;

/// A table whose rows have a number: its name, the number's column, the columns that `decode` takes.
struct Numbered {
    table: &'static str,
    key: &'static str,
    columns: &'static str,
    decode: Decode,
    /// Where many rows have one number: what orders them.
    then_by: Option<&'static str>,
}

const NUMBERED: [Numbered; 4] = [
    Numbered { table: "inode", key: "ino", columns: "ino, row", decode: inode, then_by: None },
    Numbered { table: "content", key: "no", columns: "no, row", decode: content, then_by: None },
    Numbered { table: "queue", key: "ticket", columns: "ticket, op", decode: queued, then_by: None },
    Numbered {
        table: "local_entry",
        key: "parent",
        columns: "parent, name, ino, ticket",
        decode: entry,
        then_by: Some("name"),
    },
];

impl Source {
    /// Opens a copy: reading it may change it.
    pub fn open(at: &DatabasePath) -> Result<Self> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags_and_vfs(&at.path, flags, at.vfs)?;
        // Else a damaged page could be taken for a sound one.
        for pragma in ["pragma cell_size_check = on", "pragma trusted_schema = off"] {
            // Fails where nothing can be read; each table says so then.
            let _ = db.execute_batch(pragma);
        }
        Ok(Self { db })
    }

    /// The last record of the log that it holds, if it can be read.
    pub fn applied(&self) -> Option<u64> {
        self.mark("applied")
    }

    /// The highest numbers ever used, as far as they can be read.
    pub fn marks(&self) -> Marks {
        let mark = |name| self.mark(name).unwrap_or(0);
        Marks { ino: mark("ino"), ticket: mark("ticket"), content: mark("content"), counter: mark("counter") }
    }

    fn mark(&self, name: &str) -> Option<u64> {
        let value = self.db.query_row("select value from mark where name = ?1", [name], |row| row.get(0));
        value.ok().and_then(|value: i64| u64::try_from(value).ok())
    }

    /// The small values that were kept, as far as they can be read.
    pub fn values(&self) -> Vec<(String, Vec<u8>)> {
        let mut values = Vec::new();
        if let Ok(mut statement) = self.db.prepare("select key, value from kv")
            && let Ok(mut rows) = statement.query([])
        {
            while let Ok(Some(row)) = rows.next() {
                values.extend(row.get(0).and_then(|key| Ok((key, row.get(1)?))).ok());
            }
        }
        values
    }

    /// Gives all local rows that can be read. Returns the tables of which something cannot.
    pub fn rows(&self, take: Take<'_>) -> Result<Vec<&'static str>> {
        let mut unreadable = Vec::new();
        for table in &NUMBERED {
            if !self.numbered(table, take)? {
                unreadable.push(table.table);
            }
        }
        if !self.rescues(take)? {
            unreadable.push("rescue");
        }
        Ok(unreadable)
    }

    /// Returns whether all could be read.
    fn numbered(&self, table: &Numbered, take: Take<'_>) -> Result<bool> {
        let Numbered { table: name, key, columns, .. } = table;
        let sql = format!("select {columns} from {name} where {key} >= ?1 order by {key}");
        let (mut from, mut step, mut is_whole) = (0i64, 1i64, true);
        loop {
            let run = self.run(&sql, from, table.decode, take)?;
            is_whole &= run.is_whole;
            if run.is_at_end {
                return Ok(is_whole);
            }
            if let Some(last) = run.last {
                self.backwards(table, last, take)?;
                (from, step) = (last, 1);
            }
            match from.checked_add(step) {
                Some(next) => (from, step) = (next, step.saturating_mul(2)),
                None => return Ok(false),
            }
        }
    }

    /// The rows of this number that lie behind a page that cannot be read.
    fn backwards(&self, table: &Numbered, number: i64, take: Take<'_>) -> Result<()> {
        let Numbered { table: name, key, columns, .. } = table;
        let Some(order) = table.then_by else { return Ok(()) };
        let sql = format!("select {columns} from {name} where {key} = ?1 order by {order} desc");
        self.run(&sql, number, table.decode, take).map(drop)
    }

    /// Reads to the end, or to a page that cannot be read.
    fn run(&self, sql: &str, from: i64, decode: Decode, take: Take<'_>) -> Result<Run> {
        let mut run = Run::default();
        let Ok(mut statement) = self.db.prepare(sql) else { return Ok(run) };
        let Ok(mut rows) = statement.query([from]) else { return Ok(run) };
        run.is_whole = true;
        loop {
            let row = match rows.next() {
                Ok(Some(row)) => row,
                Ok(None) => {
                    run.is_at_end = true;
                    return Ok(run);
                }
                Err(_) => {
                    run.is_whole = false;
                    return Ok(run);
                }
            };
            if let Ok(ValueRef::Integer(number)) = row.get_ref(0) {
                run.last = Some(number);
            }
            if let Some(row) = skip_malformed(decode(row), &mut run.is_whole)? {
                take(row)?;
            }
        }
    }

    fn rescues(&self, take: Take<'_>) -> Result<bool> {
        let Ok(mut statement) = self.db.prepare("select version, path from rescue") else { return Ok(false) };
        let Ok(mut rows) = statement.query([]) else { return Ok(false) };
        let mut is_whole = true;
        loop {
            match rows.next() {
                Ok(None) => return Ok(is_whole),
                Err(_) => return Ok(false),
                Ok(Some(row)) => {
                    if let Some(row) = skip_malformed(rescue(row), &mut is_whole)? {
                        take(row)?;
                    }
                }
            }
        }
    }
}

fn blob<'r>(row: &'r Row<'_>, table: &'static str, column: usize) -> Result<&'r [u8]> {
    let bytes = row.get_ref(column).ok().and_then(|value| value.as_blob().ok());
    bytes.ok_or_else(|| MetaError::Malformed { table, detail: "not bytes".to_owned() })
}

fn number(row: &Row<'_>, table: &'static str, column: usize) -> Result<u64> {
    let number = row.get::<_, i64>(column);
    from_sql(table, number.map_err(|e| MetaError::Malformed { table, detail: e.to_string() })?)
}

fn inode(row: &Row<'_>) -> Result<RowChange> {
    Ok(RowChange::Inode(Ino(number(row, "inode", 0)?), Some(decode("inode", blob(row, "inode", 1)?)?)))
}

fn content(row: &Row<'_>) -> Result<RowChange> {
    Ok(RowChange::Content(
        ContentNo(number(row, "content", 0)?),
        Some(Box::new(decode("content", blob(row, "content", 1)?)?)),
    ))
}

fn queued(row: &Row<'_>) -> Result<RowChange> {
    Ok(RowChange::Queue(Ticket(number(row, "queue", 0)?), Some(Box::new(decode("queue", blob(row, "queue", 1)?)?))))
}

fn entry(row: &Row<'_>) -> Result<RowChange> {
    const TABLE: &str = "local_entry";
    let name = Name::new(blob(row, TABLE, 1)?.to_vec());
    let name = name.map_err(|e| MetaError::Malformed { table: TABLE, detail: e.to_string() })?;
    let ino = match row.get_ref(2) {
        Ok(ValueRef::Null) => None,
        _ => Some(Ino(number(row, TABLE, 2)?)),
    };
    let entry = EntryRow { ino, ticket: Ticket(number(row, TABLE, 3)?) };
    Ok(RowChange::Entry(Ino(number(row, TABLE, 0)?), name, Some(entry)))
}

fn rescue(row: &Row<'_>) -> Result<RowChange> {
    const TABLE: &str = "rescue";
    let version = id(TABLE, blob(row, TABLE, 0)?, VersionId::from_slice)?;
    let path = row.get(1).map_err(|e| MetaError::Malformed { table: TABLE, detail: e.to_string() })?;
    Ok(RowChange::Rescue(version, Some(path)))
}
