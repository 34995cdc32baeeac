//! Owns the one connection that writes. Every change of the database is a [`Unit`], and every unit
//! says up to which record of the log the database then goes.

use super::codec::{from_sql, to_sql};
use super::readers::Readers;
use super::rows::RowChange;
use super::schema::{self, Check};
use super::work::RemoteWork;
use super::{MetaError, Result, local, remote};
use crate::env::Disk;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};
use std::path::{Path, PathBuf};
use tarn_proto::change::Change;

/// The highest numbers ever used; new ones start above. They outlive the rows that bore them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marks {
    /// Of inodes.
    pub ino: u64,
    /// Of tickets.
    pub ticket: u64,
    /// Of contents.
    pub content: u64,
    /// The highest counter used in operations.
    pub counter: u64,
}

impl Marks {
    /// Raises the marks to what a change uses.
    pub fn raise(&mut self, change: &RowChange) {
        let (mark, number) = match change {
            RowChange::Inode(ino, _) => (&mut self.ino, ino.0),
            RowChange::Entry(_, _, Some(row)) => (&mut self.ticket, row.ticket.0),
            RowChange::Content(no, _) => (&mut self.content, no.0),
            RowChange::Queue(ticket, _) => (&mut self.ticket, ticket.0),
            RowChange::Counter(counter) => (&mut self.counter, *counter),
            RowChange::Entry(_, _, None) | RowChange::Rescue(..) => return,
        };
        *mark = number.max(*mark);
    }

    /// Raises each mark to the other's, if that is higher.
    fn raise_to(&mut self, mut other: Self) {
        for ((_, mark), (_, other)) in self.named().into_iter().zip(other.named()) {
            *mark = (*other).max(*mark);
        }
    }

    fn named(&mut self) -> [(&'static str, &mut u64); 4] {
        [
            ("ino", &mut self.ino),
            ("ticket", &mut self.ticket),
            ("content", &mut self.content),
            ("counter", &mut self.counter),
        ]
    }
}

/// The writing connection.
#[derive(Debug)]
pub struct Writer {
    db: Connection,
    path: PathBuf,
    marks: Marks,
}

impl Writer {
    /// Opens the database at `path` of a disk, making it if there is none, and the readers that go with it.
    ///
    /// # Errors
    /// `Damaged`, `TooNew`, or what the file system says.
    pub fn open(disk: &dyn Disk, path: &Path, check: Check) -> Result<(Self, Readers)> {
        let at = disk.database(path);
        let db = schema::open_writer(&at, path, check)?;
        let mut writer = Self { db, path: path.to_owned(), marks: Marks::default() };
        writer.marks = writer.load_marks().map_err(|e| e.at(path))?;
        Ok((writer, Readers::new(at, path)))
    }

    /// Has the write-ahead log brought into the database, and used again, when it is about this long.
    ///
    /// # Errors
    /// What the database says.
    pub fn limit_wal(&self, bytes: u64) -> Result<()> {
        let set = || -> Result<()> {
            let page_bytes: i64 = self.db.query_row("pragma page_size", [], |row| row.get(0))?;
            let pages = (bytes / page_bytes.max(1).unsigned_abs()).max(1);
            Ok(self
                .db
                .execute_batch(&format!("pragma wal_autocheckpoint = {pages}; pragma journal_size_limit = {bytes};"))?)
        };
        set().map_err(|e| e.at(&self.path))
    }

    /// The highest numbers ever used.
    pub fn marks(&self) -> Marks {
        self.marks
    }

    /// The last record of the log that the database holds.
    ///
    /// # Errors
    /// What the database says.
    pub fn applied(&self) -> Result<u64> {
        mark(&self.db, "applied").map_err(|e| e.at(&self.path))
    }

    /// Begins a unit of work; dropped without commit, it never was.
    ///
    /// # Errors
    /// What the database says.
    pub fn unit(&mut self) -> Result<Unit<'_>> {
        let path = &self.path;
        let tx = Transaction::new_unchecked(&self.db, TransactionBehavior::Immediate);
        let tx = tx.map_err(|e| MetaError::from(e).at(path))?;
        Ok(Unit { tx, path, marks: self.marks, writer_marks: &mut self.marks })
    }

    /// Raises the marks: numbers were used that no row bears. Durable with the next unit.
    pub(super) fn raise(&mut self, marks: Marks) {
        self.marks.raise_to(marks);
    }

    /// Forgets all that the server said, and where this device stands in it: the next pull brings all of it.
    pub(super) fn forget_server(&mut self) -> Result<()> {
        let tables = ["remote_node", "remote_entry", "listed", "alias", "conflict", "cursor"];
        let staged = ["staged_node", "staged_entry", "staged_alias", "staged_conflict"];
        let unit = self.unit()?;
        for table in tables.into_iter().chain(staged) {
            let deleted = unit.tx.execute(&format!("delete from {table}"), []);
            deleted.map_err(|e| MetaError::from(e).at(unit.path))?;
        }
        unit.tx.commit().map_err(|e| MetaError::from(e).at(unit.path))
    }

    /// Closes the database; all of it is in the one file then.
    pub(super) fn close(self) -> Result<()> {
        let done = self.db.query_row("pragma wal_checkpoint(truncate)", [], |row| row.get::<_, i64>(0));
        let closed = |e: rusqlite::Error| MetaError::from(e).at(&self.path);
        if done.map_err(closed)? != 0 {
            return Err(MetaError::Io(std::io::Error::other("the new database is in use")));
        }
        self.db.close().map_err(|(_, e)| MetaError::from(e).at(&self.path))
    }

    fn load_marks(&self) -> Result<Marks> {
        let mut marks = Marks::default();
        for (name, value) in marks.named() {
            *value = mark(&self.db, name)?;
        }
        Ok(marks)
    }
}

fn mark(db: &Connection, name: &str) -> Result<u64> {
    let mut statement = db.prepare_cached("select value from mark where name = ?1")?;
    let value: Option<i64> = statement.query_row([name], |row| row.get(0)).optional()?;
    value.map_or(Ok(0), |value| from_sql("mark", value))
}

/// One unit of work: a transaction.
#[derive(Debug)]
pub struct Unit<'a> {
    tx: Transaction<'a>,
    path: &'a Path,
    marks: Marks,
    writer_marks: &'a mut Marks,
}

impl Unit<'_> {
    /// Applies changes of local rows, in order.
    ///
    /// # Errors
    /// What the database says; the unit must then be dropped.
    pub fn apply_rows<'r>(&mut self, rows: impl IntoIterator<Item = &'r RowChange>) -> Result<()> {
        for change in rows {
            self.marks.raise(change);
            local::apply(&self.tx, change).map_err(|e| e.at(self.path))?;
        }
        Ok(())
    }

    /// Applies what came from the server, but for its local rows.
    ///
    /// # Errors
    /// What the database says; the unit must then be dropped.
    pub fn apply_remote(&mut self, work: &RemoteWork) -> Result<()> {
        remote::apply(&self.tx, work).map_err(|e| e.at(self.path))
    }

    /// Keeps rows of a pull aside: nobody sees them until a later unit applies them.
    ///
    /// # Errors
    /// What the database says; the unit must then be dropped.
    pub fn stage(&mut self, changes: &[Change]) -> Result<()> {
        remote::apply_changes(&self.tx, changes, remote::Target::Staged).map_err(|e| e.at(self.path))
    }

    /// Forgets all staged rows.
    ///
    /// # Errors
    /// What the database says; the unit must then be dropped.
    pub fn discard_staged(&mut self) -> Result<()> {
        remote::discard_staged(&self.tx).map_err(|e| e.at(self.path))
    }

    /// Makes all of it durable, and the log up to `applied` with it.
    ///
    /// # Errors
    /// What the database says; nothing of the unit happened then.
    pub fn commit(mut self, applied: u64) -> Result<()> {
        self.finish(applied).map_err(|e| e.at(self.path))?;
        *self.writer_marks = self.marks;
        self.tx.commit().map_err(|e| MetaError::from(e).at(self.path))
    }

    fn finish(&mut self, applied: u64) -> Result<()> {
        let sql = "insert into mark(name, value) values (?1, ?2) on conflict(name) do update set value = excluded.value \
                   where excluded.value > value";
        let mut statement = self.tx.prepare_cached(sql)?;
        statement.execute(("applied", to_sql("mark", applied)?))?;
        for (name, value) in self.marks.named() {
            statement.execute((name, to_sql("mark", *value)?))?;
        }
        Ok(())
    }
}
