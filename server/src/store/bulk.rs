//! Owns reading many rows: a page of a pull or of a listing. The embedded database is read by its plain driver (`plain`), PostgreSQL
//! by sqlx's.

use super::StoreError;
use super::db::Tx;
use super::plain::Reading;
use super::sql::{self, Param};
use futures_util::TryStreamExt as _;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row as _};

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
    Embedded(Reading),
    Any(Tx),
}

impl From<Reading> for Bulk {
    fn from(reading: Reading) -> Self {
        Self(Inner::Embedded(reading))
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
    pub async fn rows<T: Send + 'static>(&mut self, query: Query, read: Read<T>) -> Result<Vec<T>, StoreError> {
        match &mut self.0 {
            Inner::Embedded(reading) => reading.rows(query, read).await,
            Inner::Any(tx) => by_sqlx(tx, query, read).await,
        }
    }
}

async fn by_sqlx<T>(tx: &mut Tx, query: Query, read: Read<T>) -> Result<Vec<T>, StoreError> {
    let Query { text, params, is_kept } = query;
    let query = sqlx::query_with(AssertSqlSafe(text), sql::arguments(params)?).persistent(is_kept);
    let mut rows = query.fetch(&mut **tx);
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
