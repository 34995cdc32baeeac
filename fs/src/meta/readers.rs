//! Owns the pool of read-only connections. A reader sees what the materialiser has committed, no more:
//! whoever asks lays what is in memory over it.

use super::schema;
use super::{MetaError, Result};
use crate::env::DatabasePath;
use parking_lot::Mutex;
use rusqlite::{CachedStatement, Connection};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const IDLE_MAX: usize = 16;

/// The pool; cheap to clone.
#[derive(Debug, Clone)]
pub struct Readers(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    at: DatabasePath,
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    pub(super) fn new(at: DatabasePath, path: &Path) -> Self {
        Self(Arc::new(Pool { at, path: path.to_owned(), idle: Mutex::default() }))
    }

    /// Takes a reader; it goes back when dropped. Never hold one while waiting for anything.
    ///
    /// # Errors
    /// Fails when a new connection is needed and cannot be opened.
    pub fn get(&self) -> Result<Reader> {
        let idle = self.0.idle.lock().pop();
        let db = match idle {
            Some(db) => db,
            None => schema::open_reader(&self.0.at, &self.0.path)?,
        };
        Ok(Reader { db: Some(db), pool: self.0.clone() })
    }
}

/// One read-only connection. Each call is one statement and sees one committed state.
#[derive(Debug)]
pub struct Reader {
    db: Option<Connection>,
    pool: Arc<Pool>,
}

impl Reader {
    pub(super) fn statement(&self, sql: &str) -> Result<CachedStatement<'_>> {
        Ok(self.prepare_cached(sql)?)
    }

    pub(super) fn fail(&self, error: impl Into<MetaError>) -> MetaError {
        error.into().at(&self.pool.path)
    }

    /// Runs `read` with all its statements seeing one and the same committed state.
    ///
    /// # Errors
    /// What `read` or the database says.
    pub fn snapshot<T>(&self, read: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        let transaction = self.unchecked_transaction().map_err(|e| self.fail(e))?;
        let result = read(self);
        drop(transaction);
        result
    }
}

impl Deref for Reader {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.db.as_ref().expect("the connection is taken only by drop")
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut idle = self.pool.idle.lock();
        if let Some(db) = self.db.take()
            && idle.len() < IDLE_MAX
        {
            idle.push(db);
        }
    }
}
