//! Owns the schema's history: one text for both databases, applied in order, each step once.
//!
//! `{BLOB}` stands for the type of byte strings, `{NOROWID}` for SQLite's clustered tables. A step
//! that was released is never edited; a change is a new step.

use super::db::{Conn, Database, Dialect};
use super::error::StoreError;
use sqlx::{AssertSqlSafe, Executor as _, Row as _};

/// The steps, oldest first. The schema's version is their number.
const STEPS: &[&str] = &[
    include_str!("schema/0001_accounts.sql"),
    include_str!("schema/0002_tree.sql"),
    include_str!("schema/0003_chunks.sql"),
    include_str!("schema/0004_resolutions.sql"),
    include_str!("schema/0005_epochs.sql"),
    include_str!("schema/0006_meant.sql"),
];

/// The schema version that this program writes.
pub const VERSION: i64 = STEPS.len() as i64;

/// Brings the schema up to date; several processes may try at once.
///
/// # Errors
/// The schema is newer than this program, or a statement fails.
pub async fn run(database: &Database) -> Result<(), StoreError> {
    database
        .retry(|| async {
            let mut tx = database.begin().await?;
            lock(&mut tx, database.dialect()).await?;
            let found = version(&mut tx).await?;
            if found > VERSION {
                return Err(StoreError::NewerSchema { found, known: VERSION });
            }
            for step in &STEPS[found.max(0) as usize..] {
                apply(&mut tx, database.dialect(), step).await?;
            }
            if found < VERSION {
                sqlx::query("UPDATE schema_version SET version = $1").bind(VERSION).execute(&mut *tx).await?;
            }
            tx.commit().await
        })
        .await
}

/// PostgreSQL would let two processes make the same table at once.
async fn lock(conn: &mut Conn, dialect: Dialect) -> Result<(), StoreError> {
    if dialect == Dialect::Postgres {
        conn.execute("SELECT pg_advisory_xact_lock(8370461)").await?;
    }
    Ok(())
}

async fn version(conn: &mut Conn) -> Result<i64, StoreError> {
    conn.execute("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)").await?;
    if let Some(row) = sqlx::query("SELECT version FROM schema_version").fetch_optional(&mut *conn).await? {
        return Ok(row.try_get(0)?);
    }
    conn.execute("INSERT INTO schema_version (version) VALUES (0)").await?;
    Ok(0)
}

async fn apply(conn: &mut Conn, dialect: Dialect, step: &str) -> Result<(), StoreError> {
    let sql: Vec<&str> = step.lines().filter(|line| !line.trim_start().starts_with("--")).collect();
    for statement in sql.join("\n").split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
        conn.execute(AssertSqlSafe(translate(statement, dialect))).await?;
    }
    Ok(())
}

fn translate(sql: &str, dialect: Dialect) -> String {
    let (blob, no_rowid) = match dialect {
        Dialect::Sqlite => ("BLOB", "WITHOUT ROWID"),
        Dialect::Postgres => ("BYTEA", ""),
    };
    sql.replace("{BLOB}", blob).replace("{NOROWID}", no_rowid)
}

#[cfg(test)]
mod tests;
