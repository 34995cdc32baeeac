//! Owns the SQL that is built by hand: lists of placeholders and inserts of many rows.
//!
//! The iterators are used up before anything is awaited: one held across an await would make the
//! caller's future `Send` for one lifetime only, which axum does not take.
//!
//! Only table, column and placeholder text is ever built; values are always bound.

use super::db::{Conn, Dialect};
use super::error::StoreError;
use futures_util::future::BoxFuture;
use sqlx::Arguments as _;
use sqlx::any::{AnyArguments, AnyRow};
use sqlx::{AssertSqlSafe, Row as _};

/// Most parameters in one statement (SQLite allows 32,766, PostgreSQL 65,535).
/// Far fewer are best: SQLite looks each `$n` up by name among all of a statement's parameters.
const PARAMS_MAX: usize = 352;
/// Most ids in one `IN (…)` list.
pub const IN_LIST_MAX: usize = 128;

/// One bound value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Param {
    /// BIGINT.
    Int(Option<i64>),
    /// TEXT.
    Text(Option<String>),
    /// BLOB or BYTEA.
    Bytes(Option<Vec<u8>>),
}

impl From<i64> for Param {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<Option<i64>> for Param {
    fn from(value: Option<i64>) -> Self {
        Self::Int(value)
    }
}

impl From<&str> for Param {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.to_owned()))
    }
}

impl From<&[u8]> for Param {
    fn from(value: &[u8]) -> Self {
        Self::Bytes(Some(value.to_vec()))
    }
}

impl From<Vec<u8>> for Param {
    fn from(value: Vec<u8>) -> Self {
        Self::Bytes(Some(value))
    }
}

impl From<Option<Vec<u8>>> for Param {
    fn from(value: Option<Vec<u8>>) -> Self {
        Self::Bytes(value)
    }
}

/// Makes arguments of values.
///
/// # Errors
/// Never for these kinds of values; the signature is the driver's.
pub fn arguments(params: impl IntoIterator<Item = Param>) -> Result<AnyArguments, StoreError> {
    let mut arguments = AnyArguments::default();
    for param in params {
        match param {
            Param::Int(value) => arguments.add(value),
            Param::Text(value) => arguments.add(value),
            Param::Bytes(value) => arguments.add(value),
        }
        .map_err(|error| StoreError::Statement(sqlx::Error::Encode(error)))?;
    }
    Ok(arguments)
}

/// `$first, …` for `count` values.
pub fn placeholders(first: usize, count: usize) -> String {
    (first..first + count).map(|n| format!("${n}")).collect::<Vec<_>>().join(",")
}

/// `($first, …), …` for `rows` rows of `columns` values.
pub fn rows_of_placeholders(first: usize, rows: usize, columns: usize) -> String {
    let row = |row: usize| format!("({})", placeholders(first + row * columns, columns));
    (0..rows).map(row).collect::<Vec<_>>().join(",")
}

/// The rows of an insert, whose values are bound in their order. SQLite looks each `$n` up by name; `?` has none.
fn rows_in_order(dialect: Dialect, rows: usize, columns: usize) -> String {
    match dialect {
        Dialect::Sqlite => vec![format!("({})", vec!["?"; columns].join(",")); rows].join(","),
        Dialect::Postgres => rows_of_placeholders(1, rows, columns),
    }
}

/// Inserts many rows: `head` is `INSERT INTO t (a, b)`, `tail` what follows the values
/// (`ON CONFLICT …` or nothing). Rows all have `columns` values. Answers the rows affected.
///
/// # Errors
/// A statement fails.
pub fn insert_rows<'a>(
    conn: &'a mut Conn,
    head: &'a str,
    columns: usize,
    tail: &'a str,
    rows: impl IntoIterator<Item = Vec<Param>>,
) -> BoxFuture<'a, Result<u64, StoreError>> {
    Box::pin(insert_all(conn, head, columns, tail, rows.into_iter().collect()))
}

async fn insert_all(
    conn: &mut Conn,
    head: &str,
    columns: usize,
    tail: &str,
    rows: Vec<Vec<Param>>,
) -> Result<u64, StoreError> {
    let per_statement = PARAMS_MAX / columns;
    let mut rows = rows.into_iter().peekable();
    let mut affected = 0;
    while rows.peek().is_some() {
        let batch: Vec<Vec<Param>> = rows.by_ref().take(per_statement).collect();
        let sql = format!("{head} VALUES {} {tail}", rows_in_order(Dialect::of(conn), batch.len(), columns));
        let cached = batch.len() == 1 || batch.len() == per_statement;
        let arguments = arguments(batch.into_iter().flatten())?;
        let query = sqlx::query_with(AssertSqlSafe(sql), arguments).persistent(cached);
        affected += query.execute(&mut *conn).await?.rows_affected();
    }
    Ok(affected)
}

/// Runs a query for many ids, at most [`IN_LIST_MAX`] at a time. `sql` holds `{ids}` where the list of
/// placeholders goes (write `IN ({ids})`); `fixed` are bound first, as `$1…`.
///
/// # Errors
/// A statement fails.
pub fn select_in<'a>(
    conn: &'a mut Conn,
    sql: &'a str,
    fixed: &'a [Param],
    ids: impl IntoIterator<Item = Param>,
) -> BoxFuture<'a, Result<Vec<AnyRow>, StoreError>> {
    Box::pin(select_all(conn, sql, fixed, ids.into_iter().collect()))
}

async fn select_all(conn: &mut Conn, sql: &str, fixed: &[Param], ids: Vec<Param>) -> Result<Vec<AnyRow>, StoreError> {
    let mut ids = ids.into_iter().peekable();
    let mut found = Vec::new();
    while ids.peek().is_some() {
        let batch: Vec<Param> = ids.by_ref().take(IN_LIST_MAX).collect();
        let sql = sql.replace("{ids}", &placeholders(fixed.len() + 1, batch.len()));
        let cached = batch.len() == 1 || batch.len() == IN_LIST_MAX;
        let arguments = arguments(fixed.iter().cloned().chain(batch))?;
        found.extend(sqlx::query_with(AssertSqlSafe(sql), arguments).persistent(cached).fetch_all(&mut *conn).await?);
    }
    Ok(found)
}

/// Reads an id from a column.
///
/// # Errors
/// The column is absent, or holds no such id.
pub fn id<T>(row: &AnyRow, column: &str, make: impl FnOnce(&[u8]) -> Option<T>) -> Result<T, StoreError> {
    let bytes: &[u8] = row.try_get(column)?;
    make(bytes).ok_or_else(|| StoreError::corrupt(format!("the id in {column}")))
}

/// Reads a count, a length or a seq from a column.
///
/// # Errors
/// The column is absent, or negative.
pub fn count(row: &AnyRow, column: &str) -> Result<u64, StoreError> {
    u64::try_from(row.try_get::<i64, _>(column)?).map_err(|_| StoreError::corrupt(format!("the number in {column}")))
}

/// Reads a MessagePack value from a column.
///
/// # Errors
/// The column is absent, or holds something else.
pub fn blob<T: serde::de::DeserializeOwned>(row: &AnyRow, column: &str) -> Result<T, StoreError> {
    let bytes: &[u8] = row.try_get(column)?;
    tarn_proto::api::from_binary(bytes).map_err(|error| StoreError::corrupt(format!("{column}: {error}")))
}
