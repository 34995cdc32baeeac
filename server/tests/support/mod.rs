//! What the tests of services share: every test runs on SQLite and on PostgreSQL, as `api/database.rs` says.
#![allow(dead_code, clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "../api/database.rs"]
mod database;
pub mod world;

use database::Place;
use std::future::Future;
use tarn_server::store::Database;

/// Makes of each function `async fn(Database)` two tests, `name::holds_on_sqlite` and `name::holds_on_postgres`.
#[macro_export]
macro_rules! on_each_database {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn holds_on_sqlite() { $crate::support::on_sqlite(super::$name).await; }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn holds_on_postgres() { $crate::support::on_postgres(super::$name).await; }
        }
    )*};
}

/// Runs a test on a fresh SQLite file.
pub async fn on_sqlite<F: Future<Output = ()>>(test: impl FnOnce(Database) -> F) {
    database::on_sqlite(|place| on(place, test)).await;
}

/// Runs a test on a fresh PostgreSQL database, if there is a PostgreSQL.
pub async fn on_postgres<F: Future<Output = ()>>(test: impl FnOnce(Database) -> F) {
    database::on_postgres(|place| on(place, test)).await;
}

async fn on<F: Future<Output = ()>>(place: Place, test: impl FnOnce(Database) -> F) {
    let db = Database::open(&place.database).await.unwrap();
    test(db.clone()).await;
    db.close().await;
}
