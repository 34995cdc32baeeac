//! Owns the connections to SQLite or PostgreSQL, and what differs between the two.
//!
//! SQLite has one writer: write transactions queue for the only connection of the writers' pool
//! and take the lock at their start (`BEGIN IMMEDIATE`), so none can fail half way for want of it.
//! Another process (`user add`) is waited for. PostgreSQL runs them side by side; the row lock of
//! the space orders pushes, and what the database rolls back is tried again by [`Database::retry`].

use super::bulk::Bulk;
use super::error::StoreError;
use super::plain::Plain;
use crate::limits;
use sqlx::any::AnyPoolOptions;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Any, AnyConnection, AnyPool, Executor as _, Transaction};
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::str::FromStr as _;
use std::time::Duration;

/// A connection, in a transaction or not. Functions of the store take `&mut Conn`.
pub type Conn = AnyConnection;

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// The embedded default.
    Sqlite,
    /// For more than one machine.
    Postgres,
}

impl Dialect {
    /// What a connection speaks.
    pub fn of(conn: &Conn) -> Self {
        if conn.backend_name() == "SQLite" { Self::Sqlite } else { Self::Postgres }
    }
}

/// The database; cheap to clone.
#[derive(Debug, Clone)]
pub struct Database {
    dialect: Dialect,
    url: String,
    writers: AnyPool,
    readers: AnyPool,
    /// The embedded database by its plain driver, for many rows at once.
    plain: Option<Plain>,
}

/// A transaction: dropped without [`Tx::commit`], it never happened.
#[derive(Debug)]
pub struct Tx(Transaction<'static, Any>);

impl Tx {
    /// Makes it durable.
    ///
    /// # Errors
    /// Whether it happened is then unknown if the connection was lost, otherwise it did not.
    pub async fn commit(self) -> Result<(), StoreError> {
        Ok(self.0.commit().await?)
    }
}

impl Deref for Tx {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        &self.0
    }
}

impl DerefMut for Tx {
    fn deref_mut(&mut self) -> &mut Conn {
        &mut self.0
    }
}

impl Database {
    /// Connects and brings the schema up to date.
    ///
    /// # Errors
    /// The database cannot be reached, or is newer than this program.
    pub async fn open(url: &str) -> Result<Self, StoreError> {
        let database = Self::connect(url).await?;
        super::migrate::run(&database).await?;
        Ok(database)
    }

    async fn connect(url: &str) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let dialect = if url.starts_with("sqlite:") { Dialect::Sqlite } else { Dialect::Postgres };
        let (writers, readers, plain) = match dialect {
            Dialect::Sqlite => {
                let writers = sqlite_pool(1).connect(url).await?;
                let file = SqliteConnectOptions::from_str(url)?.get_filename().to_owned();
                (writers, sqlite_pool(SQLITE_READERS).connect(url).await?, Some(Plain::new(file)))
            }
            Dialect::Postgres => {
                let pool = pool(POSTGRES_CONNECTIONS).connect(url).await?;
                (pool.clone(), pool, None)
            }
        };
        Ok(Self { dialect, url: url.to_owned(), writers, readers, plain })
    }

    /// Which database it is.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Where it is; may hold a password.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A connection for reads that need not agree with each other.
    ///
    /// # Errors
    /// None comes free in time, or the database cannot be reached.
    pub async fn reader(&self) -> Result<PoolConnection<Any>, StoreError> {
        Ok(self.readers.acquire().await?)
    }

    /// A transaction for reads that all see one moment. Never write in it.
    ///
    /// # Errors
    /// As [`Database::reader`].
    pub async fn begin_read(&self) -> Result<Tx, StoreError> {
        let statement = match self.dialect {
            Dialect::Sqlite => "BEGIN DEFERRED",
            Dialect::Postgres => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        };
        begin_whole(&self.readers, statement).await
    }

    /// The same for many rows at once. The moment is that of the first read: it may be later than that of a transaction that was begun
    /// before.
    ///
    /// # Errors
    /// As [`Database::reader`].
    pub async fn begin_bulk(&self) -> Result<Bulk, StoreError> {
        match &self.plain {
            Some(plain) => Ok(plain.begin().await?.into()),
            None => Ok(self.begin_read().await?.into()),
        }
    }

    /// A transaction for writes (PostgreSQL: read committed; lock what you decide upon).
    /// Run it under [`Database::retry`].
    ///
    /// # Errors
    /// As [`Database::reader`].
    pub async fn begin(&self) -> Result<Tx, StoreError> {
        let statement = match self.dialect {
            Dialect::Sqlite => "BEGIN IMMEDIATE",
            Dialect::Postgres => "BEGIN",
        };
        begin_whole(&self.writers, statement).await
    }

    /// Runs a whole transaction, again when the database rolled it back for order's sake. `attempt`
    /// begins, works and commits; it must have no effect outside the transaction.
    ///
    /// # Errors
    /// The attempt's own, or the last conflict.
    pub async fn retry<T, E, F, Fut>(&self, mut attempt: F) -> Result<T, E>
    where
        E: AsConflict,
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let mut tries = 1;
        loop {
            match attempt().await {
                Err(error) if error.is_conflict() && tries < limits::TRANSACTION_TRIES_MAX => tries += 1,
                result => return result,
            }
            tokio::task::yield_now().await;
        }
    }

    /// Asks whether the database answers.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.reader().await?.execute("SELECT 1").await?;
        Ok(())
    }

    /// What the embedded database finds wrong with its pages and indexes, at most so much; PostgreSQL has tools of its own.
    ///
    /// # Errors
    /// The database cannot be read at all.
    pub async fn damaged_pages(&self, max: usize) -> Result<Vec<String>, StoreError> {
        if self.dialect == Dialect::Postgres {
            return Ok(Vec::new());
        }
        let statement = sqlx::AssertSqlSafe(format!("PRAGMA integrity_check({max})"));
        let said: Vec<String> = sqlx::query_scalar(statement).fetch_all(&mut *self.reader().await?).await?;
        Ok(said.into_iter().filter(|said| said != "ok").collect())
    }

    /// Closes all connections; SQLite's log is then in its file.
    pub async fn close(&self) {
        if let Some(plain) = &self.plain {
            plain.close();
        }
        self.readers.close().await;
        self.writers.close().await;
    }
}

/// Begins a transaction on a task of its own. A call may be dropped at any moment, because its client went away; dropped
/// between BEGIN and its answer, sqlx forgets that the connection is in a transaction and gives it to the next caller.
async fn begin_whole(pool: &AnyPool, statement: &'static str) -> Result<Tx, StoreError> {
    let pool = pool.clone();
    let begun = tokio::spawn(async move { pool.begin_with(statement).await }).await;
    Ok(Tx(begun.map_err(|_| sqlx::Error::WorkerCrashed)??))
}

/// Errors that may mean "the same transaction again".
pub trait AsConflict {
    /// Whether it does.
    fn is_conflict(&self) -> bool;
}

impl AsConflict for StoreError {
    fn is_conflict(&self) -> bool {
        StoreError::is_conflict(self)
    }
}

const SQLITE_READERS: u32 = 4;
const POSTGRES_CONNECTIONS: u32 = 16;
const SQLITE_SETUP: &str = "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
     PRAGMA foreign_keys = ON; PRAGMA cache_size = -16000; PRAGMA temp_store = MEMORY;";

fn pool(connections: u32) -> AnyPoolOptions {
    AnyPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(Duration::from_secs(10))
        .test_before_acquire(true)
}

fn sqlite_pool(connections: u32) -> AnyPoolOptions {
    pool(connections)
        .acquire_timeout(Duration::from_secs(30))
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None)
        .after_connect(|connection, _| Box::pin(async move { connection.execute(SQLITE_SETUP).await.map(drop) }))
}
