//! Owns connections to the embedded database by its plain driver, for reading many rows. sqlx takes each value out of SQLite, hands
//! rows from thread to thread and makes a row of its own of each; that was more than half of what a page cost.

use super::StoreError;
use super::bulk::{Cells, Query, Read};
use super::sql::Param;
use parking_lot::Mutex;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags, Row, Statement, ToSql};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections at a time.
const CONNECTIONS: usize = 4;
/// How long somebody waits for one.
const PATIENCE: Duration = Duration::from_secs(30);
const SETUP: &str =
    "PRAGMA busy_timeout = 10000; PRAGMA query_only = ON; PRAGMA cache_size = -16000; PRAGMA temp_store = MEMORY;";

/// Connections to one file; cheap to clone. None is opened before it is needed.
#[derive(Debug, Clone)]
pub(super) struct Plain {
    path: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
}

impl Plain {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, idle: Arc::default(), permits: Arc::new(Semaphore::new(CONNECTIONS)) }
    }

    /// A connection for reads that all see one moment: that of the first of them.
    ///
    /// # Errors
    /// None comes free in time, or the database is closed.
    pub(super) async fn begin(&self) -> Result<Reading, StoreError> {
        let permit = tokio::time::timeout(PATIENCE, Arc::clone(&self.permits).acquire_owned()).await;
        let permit = permit.map_err(|_| sqlx::Error::PoolTimedOut)?.map_err(|_| sqlx::Error::PoolClosed)?;
        Ok(Reading { plain: self.clone(), connection: None, _permit: permit })
    }

    /// Nobody reads any more.
    pub(super) fn close(&self) {
        self.permits.close();
        self.idle.lock().clear();
    }

    fn open(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.execute_batch(SETUP)?;
        Ok(connection)
    }

    fn take(&self) -> rusqlite::Result<Connection> {
        let idle = self.idle.lock().pop();
        let connection = idle.map_or_else(|| self.open(), Ok)?;
        connection.execute_batch("BEGIN DEFERRED")?;
        Ok(connection)
    }

    fn give_back(&self, connection: Connection) {
        if connection.execute_batch("ROLLBACK").is_ok() && !self.permits.is_closed() {
            self.idle.lock().push(connection);
        }
    }
}

/// A transaction that reads. What it holds goes back when it is dropped.
#[derive(Debug)]
pub(super) struct Reading {
    plain: Plain,
    connection: Option<Connection>,
    _permit: OwnedSemaphorePermit,
}

impl Reading {
    /// Reads all rows of a query, on a thread that may wait for the disk.
    ///
    /// # Errors
    /// The database fails, or `read` does.
    pub(super) async fn rows<T: Send + 'static>(&mut self, query: Query, read: Read<T>) -> Result<Vec<T>, StoreError> {
        let (plain, begun) = (self.plain.clone(), self.connection.take());
        let work = move || {
            let connection = begun.map_or_else(|| plain.take(), Ok)?;
            let rows = rows_of(&connection, &query, read);
            Ok::<_, StoreError>((connection, rows))
        };
        let done = tokio::task::spawn_blocking(work).await.map_err(|_| sqlx::Error::WorkerCrashed)?;
        let (connection, rows) = done?;
        self.connection = Some(connection);
        rows
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.plain.give_back(connection);
        }
    }
}

fn rows_of<T>(connection: &Connection, query: &Query, read: Read<T>) -> Result<Vec<T>, StoreError> {
    if query.is_kept {
        return all(&mut *connection.prepare_cached(&query.text)?, &query.params, read);
    }
    all(&mut connection.prepare(&query.text)?, &query.params, read)
}

fn all<T>(statement: &mut Statement<'_>, params: &[Param], read: Read<T>) -> Result<Vec<T>, StoreError> {
    for (number, param) in params.iter().enumerate() {
        // A text need not use all of them.
        if let Some(index) = statement.parameter_index(&format!("${}", number + 1))? {
            statement.raw_bind_parameter(index, param)?;
        }
    }
    let mut rows = statement.raw_query();
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

impl ToSql for Param {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let value = match self {
            Self::Int(Some(value)) => ValueRef::Integer(*value),
            Self::Text(Some(value)) => ValueRef::Text(value.as_bytes()),
            Self::Bytes(Some(value)) => ValueRef::Blob(value),
            Self::Int(None) | Self::Text(None) | Self::Bytes(None) => ValueRef::Null,
        };
        Ok(ToSqlOutput::Borrowed(value))
    }
}

impl Cells for Row<'_> {
    fn bytes(&self, column: usize) -> Result<&[u8], StoreError> {
        self.get_ref(column)?.as_blob().map_err(|error| wrong(column, &error))
    }

    fn number(&self, column: usize) -> Result<i64, StoreError> {
        self.get_ref(column)?.as_i64().map_err(|error| wrong(column, &error))
    }
}

fn wrong(column: usize, error: &impl std::fmt::Display) -> StoreError {
    StoreError::corrupt(format!("column {column}: {error}"))
}

#[cfg(test)]
mod tests;
