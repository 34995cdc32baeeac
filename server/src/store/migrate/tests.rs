//! Holds the migrations to running once and refusing what they do not know.

#![allow(clippy::unwrap_used)]
use super::*;

fn url(dir: &tempfile::TempDir) -> String {
    crate::config::default_database(dir.path())
}

#[tokio::test]
async fn opening_twice_migrates_once() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let database = Database::open(&url(&dir)).await.unwrap();
        assert_eq!(version(&mut database.reader().await.unwrap()).await.unwrap(), VERSION);
        database.close().await;
    }
}

#[tokio::test]
async fn two_processes_may_migrate_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let url = url(&dir);
    let (one, two) = tokio::join!(Database::open(&url), Database::open(&url));
    one.unwrap();
    two.unwrap();
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::open(&url(&dir)).await.unwrap();
    let mut tx = database.begin().await.unwrap();
    sqlx::query("UPDATE schema_version SET version = $1").bind(VERSION + 1).execute(&mut *tx).await.unwrap();
    tx.commit().await.unwrap();
    let error = Database::open(&url(&dir)).await.unwrap_err();
    assert!(matches!(error, StoreError::NewerSchema { found, .. } if found == VERSION + 1), "{error}");
}

#[tokio::test]
async fn sqlite_keeps_what_it_says_through_a_power_cut() {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::open(&url(&dir)).await.unwrap();
    let mut tx = database.begin().await.unwrap();
    let row = sqlx::query("PRAGMA synchronous").fetch_one(&mut *tx).await.unwrap();
    assert_eq!(row.try_get::<i64, _>(0).unwrap(), 2);
    let row = sqlx::query("PRAGMA journal_mode").fetch_one(&mut *tx).await.unwrap();
    assert_eq!(row.try_get::<String, _>(0).unwrap(), "wal");
}
