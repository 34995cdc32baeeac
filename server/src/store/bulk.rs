//! Owns reading many rows: a page of a pull or of a listing. sqlx's driver for either database copies each row once more, its
//! columns with it, and takes fifty at a time from SQLite's thread; that was half of what a page cost. So SQLite is read by its
//! own driver here.

use super::StoreError;
use super::db::Tx;
use super::sql::{self, Param};
use futures_util::{Stream, TryStreamExt as _};
use sqlx::any::AnyRow;
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{AssertSqlSafe, Row as _, Sqlite, Transaction};
use std::pin::pin;

/// Rows that SQLite's thread may be ahead.
pub(super) const ROWS_AHEAD: usize = 1_000;

/// The columns of a row, by number from 0.
pub trait Cells {
    /// A BLOB or BYTEA.
    ///
    /// # Errors
    /// The column is absent, or holds something else.
    fn bytes(&self, column: usize) -> Result<&[u8], StoreError>;

    /// A BIGINT.
    ///
    /// # Errors
    /// As [`Cells::bytes`].
    fn number(&self, column: usize) -> Result<i64, StoreError>;
}

impl Cells for AnyRow {
    fn bytes(&self, column: usize) -> Result<&[u8], StoreError> {
        Ok(self.try_get(column)?)
    }

    fn number(&self, column: usize) -> Result<i64, StoreError> {
        Ok(self.try_get(column)?)
    }
}

impl Cells for SqliteRow {
    fn bytes(&self, column: usize) -> Result<&[u8], StoreError> {
        Ok(self.try_get(column)?)
    }

    fn number(&self, column: usize) -> Result<i64, StoreError> {
        Ok(self.try_get(column)?)
    }
}

/// Makes something of a row.
pub type Read<T> = fn(&dyn Cells) -> Result<T, StoreError>;

/// A statement and what is bound to it.
#[derive(Debug)]
pub struct Query {
    /// Its text.
    pub text: String,
    /// The values of `$1…`.
    pub params: Vec<Param>,
    /// Whether to keep it prepared: the same text comes often.
    pub is_kept: bool,
}

/// A transaction that reads many rows, all as of one moment. See [`Database::begin_bulk`](super::Database::begin_bulk).
#[derive(Debug)]
pub struct Bulk(Inner);

#[derive(Debug)]
enum Inner {
    Sqlite(Transaction<'static, Sqlite>),
    Any(Tx),
}

impl From<Transaction<'static, Sqlite>> for Bulk {
    fn from(tx: Transaction<'static, Sqlite>) -> Self {
        Self(Inner::Sqlite(tx))
    }
}

impl From<Tx> for Bulk {
    fn from(tx: Tx) -> Self {
        Self(Inner::Any(tx))
    }
}

impl Bulk {
    /// Reads all rows of a query.
    ///
    /// # Errors
    /// The database fails, or `read` does.
    pub async fn rows<T: Send>(&mut self, query: Query, read: Read<T>) -> Result<Vec<T>, StoreError> {
        let Query { text, params, is_kept } = query;
        let text = AssertSqlSafe(text);
        match &mut self.0 {
            Inner::Sqlite(tx) => {
                let arguments: SqliteArguments = sql::arguments_for(params)?;
                let query = sqlx::query_with(text, arguments).persistent(is_kept);
                collect(query.fetch(&mut **tx), |row: &SqliteRow| read(row)).await
            }
            Inner::Any(tx) => {
                let query = sqlx::query_with(text, sql::arguments(params)?).persistent(is_kept);
                collect(query.fetch(&mut **tx), |row: &AnyRow| read(row)).await
            }
        }
    }
}

async fn collect<R, T>(
    rows: impl Stream<Item = sqlx::Result<R>>,
    read: impl Fn(&R) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let mut rows = pin!(rows);
    let mut found = Vec::new();
    while let Some(row) = rows.try_next().await? {
        found.push(read(&row)?);
    }
    Ok(found)
}

/// Reads an id from a column.
///
/// # Errors
/// The column is absent, or holds no such id.
pub fn id<T>(row: &dyn Cells, column: usize, make: impl FnOnce(&[u8]) -> Option<T>) -> Result<T, StoreError> {
    make(row.bytes(column)?).ok_or_else(|| StoreError::corrupt(format!("the id in column {column}")))
}

/// Reads a count, a length or a seq from a column.
///
/// # Errors
/// The column is absent, or negative.
pub fn count(row: &dyn Cells, column: usize) -> Result<u64, StoreError> {
    u64::try_from(row.number(column)?).map_err(|_| StoreError::corrupt(format!("the number in column {column}")))
}

/// Reads a MessagePack value from a column.
///
/// # Errors
/// The column is absent, or holds something else.
pub fn blob<T: serde::de::DeserializeOwned>(row: &dyn Cells, column: usize) -> Result<T, StoreError> {
    let value = tarn_proto::api::from_binary(row.bytes(column)?);
    value.map_err(|error| StoreError::corrupt(format!("column {column}: {error}")))
}
