//! Tests of reading the embedded database past sqlx: what is bound, which moment is seen, and what can be wrong.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::store::bulk;
use std::path::Path;

struct World {
    _dir: tempfile::TempDir,
    writer: Connection,
    plain: Plain,
}

/// A table of so many rows, and who writes it.
fn world(rows: i64) -> World {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tarn.db");
    let writer = Connection::open(&path).unwrap();
    writer.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (number BIGINT, bytes BLOB)").unwrap();
    for number in 0..rows {
        writer.execute("INSERT INTO t VALUES (?1, ?2)", (number, number.to_be_bytes())).unwrap();
    }
    World { _dir: dir, writer, plain: Plain::new(path) }
}

fn query(text: &str, params: Vec<Param>) -> Query {
    Query { text: text.to_owned(), params, is_kept: true }
}

fn all_numbers() -> Query {
    query("SELECT number FROM t ORDER BY number", Vec::new())
}

fn number(row: &dyn Cells) -> Result<u64, StoreError> {
    bulk::count(row, 0)
}

#[tokio::test]
async fn values_are_bound_by_their_number_wherever_it_stands() {
    let world = world(10);
    let text = "SELECT number FROM t WHERE number < $2 AND number >= $1 AND bytes <> $4 ORDER BY number";
    let params = vec![3.into(), 6.into(), Param::Text(None), 4i64.to_be_bytes().as_slice().into()];
    let mut reading = world.plain.begin().await.unwrap();
    assert_eq!(reading.rows(query(text, params), number).await.unwrap(), [3, 5]);
}

#[tokio::test]
async fn all_reads_of_a_transaction_see_one_moment() {
    let world = world(2);
    let mut reading = world.plain.begin().await.unwrap();
    assert_eq!(reading.rows(all_numbers(), number).await.unwrap(), [0, 1]);
    world.writer.execute("DELETE FROM t", ()).unwrap();
    assert_eq!(reading.rows(all_numbers(), number).await.unwrap(), [0, 1]);
    drop(reading);
    let mut later = world.plain.begin().await.unwrap();
    assert!(later.rows(all_numbers(), number).await.unwrap().is_empty());
    assert!(world.plain.idle.lock().is_empty(), "the connection was used again");
}

#[tokio::test]
async fn what_cannot_be_in_a_row_is_said_and_the_next_read_goes_on() {
    let world = world(1);
    world.writer.execute("INSERT INTO t VALUES (-1, 'text')", ()).unwrap();
    let mut reading = world.plain.begin().await.unwrap();
    let negative = reading.rows(all_numbers(), number).await;
    assert!(matches!(negative, Err(StoreError::Corrupt(_))), "{negative:?}");
    let bytes = query("SELECT bytes FROM t", Vec::new());
    let text = reading.rows(bytes, |row| row.bytes(0).map(<[u8]>::to_vec)).await;
    assert!(matches!(text, Err(StoreError::Corrupt(_))), "{text:?}");
    let good = query("SELECT number FROM t WHERE number >= 0", Vec::new());
    assert_eq!(reading.rows(good, number).await.unwrap(), [0]);
}

#[tokio::test]
async fn a_database_that_is_not_there_or_is_none_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let read = async |path: &Path| Plain::new(path.to_owned()).begin().await.unwrap().rows(all_numbers(), number).await;
    let absent = read(&dir.path().join("absent")).await;
    assert!(matches!(absent, Err(StoreError::Unavailable(_))), "{absent:?}");
    let none = dir.path().join("none");
    std::fs::write(&none, "this is no database, and it is long enough to be read as one, or so it may seem at first")
        .unwrap();
    let said = read(&none).await;
    assert!(matches!(said, Err(StoreError::Statement(_))), "{said:?}");
}

#[tokio::test]
async fn a_database_that_is_locked_is_to_be_asked_again() {
    let world = world(1);
    world.writer.execute_batch("PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE").unwrap();
    let connection = world.plain.open();
    let failed = connection.and_then(|db| {
        db.busy_timeout(Duration::ZERO)?;
        db.query_row("SELECT number FROM t", (), |row| row.get::<_, i64>(0))
    });
    assert!(StoreError::from(failed.unwrap_err()).is_conflict());
}

#[tokio::test]
async fn nobody_begins_to_read_a_database_that_is_closed() {
    let world = world(1);
    let mut reading = world.plain.begin().await.unwrap();
    reading.rows(all_numbers(), number).await.unwrap();
    world.plain.close();
    assert!(matches!(world.plain.begin().await, Err(StoreError::Unavailable(_))));
    drop(reading);
    assert!(world.plain.idle.lock().is_empty(), "a connection that is kept would hold the log open");
}
