//! Holds SQLite to looking up what a push names, instead of going through all that the space has.

#![allow(clippy::unwrap_used)]
use super::db::Database;
use super::{entries, nodes};
use sqlx::Row as _;

async fn plan(query: &str) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let database = Database::open(&crate::config::default_database(dir.path())).await.unwrap();
    let query = format!("EXPLAIN QUERY PLAN {query}");
    let mut reader = database.reader().await.unwrap();
    let rows = sqlx::query(sqlx::AssertSqlSafe(query)).fetch_all(&mut *reader).await.unwrap();
    rows.iter().map(|row| row.try_get("detail").unwrap()).collect()
}

/// With few rows to look up, and with as many as one statement takes.
async fn assert_looks_up(query: impl Fn(usize) -> String, index: &str) {
    for rows in [1, 100, 128] {
        let plan = plan(&query(rows)).await;
        assert!(plan.iter().any(|step| step.contains(&format!("USING INDEX {index}"))), "{rows} rows: {plan:#?}");
    }
}

#[tokio::test]
async fn entries_are_looked_up_by_their_places() {
    let index = "entries_present (space=? AND parent=? AND name=?)";
    assert_looks_up(entries::at_query, index).await;
    assert_looks_up(entries::end_query, index).await;
}

#[tokio::test]
async fn nodes_are_looked_up_by_their_ids() {
    assert_looks_up(nodes::end_query, "nodes_present (node=?)").await;
}
