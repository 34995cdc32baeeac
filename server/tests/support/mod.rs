//! What the server's tests share: every test runs on SQLite and on PostgreSQL, each in a database of its own.
//!
//! `TARN_TEST_POSTGRES` says where PostgreSQL is (`scripts/test` starts one). Without it those tests
//! say that they were skipped, or fail if `TARN_TEST_REQUIRE_POSTGRES` is 1.
#![allow(dead_code, clippy::unwrap_used, clippy::disallowed_methods)]

pub mod world;

use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
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
    let dir = tempfile::tempdir().unwrap();
    let db = Database::open(&format!("sqlite:{}?mode=rwc", dir.path().join("tarn.db").display())).await.unwrap();
    test(db.clone()).await;
    db.close().await;
}

/// Runs a test on a fresh PostgreSQL database, if there is a PostgreSQL.
pub async fn on_postgres<F: Future<Output = ()>>(test: impl FnOnce(Database) -> F) {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let Ok(admin) = std::env::var("TARN_TEST_POSTGRES") else {
        let required = std::env::var("TARN_TEST_REQUIRE_POSTGRES").is_ok_and(|value| value == "1");
        assert!(!required, "TARN_TEST_POSTGRES is not set: run scripts/test, which starts a PostgreSQL");
        eprintln!("SKIPPED: TARN_TEST_POSTGRES is not set");
        return;
    };
    let name = format!("tarn_server_{}_{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
    run_sql(&admin, &format!("CREATE DATABASE {name}")).await;
    let server = admin.rsplit_once('/').map_or(admin.as_str(), |(server, _)| server);
    let db = Database::open(&format!("{server}/{name}")).await.unwrap();
    test(db.clone()).await;
    db.close().await;
    run_sql(&admin, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
}

async fn run_sql(url: &str, statement: &str) {
    sqlx::any::install_default_drivers();
    let mut admin = sqlx::AnyConnection::connect(url).await.unwrap();
    admin.execute(AssertSqlSafe(statement.to_owned())).await.unwrap();
    admin.close().await.unwrap();
}
