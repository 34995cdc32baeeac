//! Owns the databases of tests: each test runs on SQLite and on PostgreSQL, each time on one of its own.
//!
//! `TARN_TEST_POSTGRES` says where PostgreSQL is (`scripts/test` starts one). Without it those tests say
//! that they were skipped, or fail if `TARN_TEST_REQUIRE_POSTGRES` is 1.

use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use tarn_server::config;
use tempfile::TempDir;

/// Makes of each `async fn(Place)` two tests, `name::holds_on_sqlite` and `name::holds_on_postgres`.
#[allow(unused_macros)]
macro_rules! each_database {
    ($($name:ident),* $(,)?) => {$(
        mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn holds_on_sqlite() {
                $crate::database::on_sqlite(super::$name).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn holds_on_postgres() {
                $crate::database::on_postgres(super::$name).await;
            }
        }
    )*};
}

/// Where a test's server keeps its data.
pub struct Place {
    pub dir: TempDir,
    pub database: String,
    /// Where PostgreSQL is, and the name of the database there.
    postgres: Option<(String, String)>,
}

impl Place {
    /// Takes the database away from who uses it; a file cannot be taken away.
    pub async fn lose_database(&self) -> bool {
        let Some((admin, name)) = &self.postgres else { return false };
        run_sql(admin, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
        true
    }

    /// Another directory over the same database.
    pub fn beside(&self) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir, database: self.database.clone(), postgres: self.postgres.clone() }
    }
}

/// Runs a test on a fresh SQLite file.
pub async fn on_sqlite<F: Future<Output = ()>>(test: impl FnOnce(Place) -> F) {
    let dir = tempfile::tempdir().unwrap();
    let database = config::default_database(dir.path());
    test(Place { dir, database, postgres: None }).await;
}

/// Runs a test on a fresh PostgreSQL database, if there is a PostgreSQL.
pub async fn on_postgres<F: Future<Output = ()>>(test: impl FnOnce(Place) -> F) {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let Ok(admin) = std::env::var("TARN_TEST_POSTGRES") else {
        let required = std::env::var("TARN_TEST_REQUIRE_POSTGRES").is_ok_and(|value| value == "1");
        assert!(!required, "TARN_TEST_POSTGRES is not set: run scripts/test, which starts a PostgreSQL");
        eprintln!("SKIPPED: TARN_TEST_POSTGRES is not set");
        return;
    };
    let name = format!("tarn_api_{}_{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
    run_sql(&admin, &format!("CREATE DATABASE {name}")).await;
    let server = admin.rsplit_once('/').map_or(admin.as_str(), |(server, _)| server);
    let dropper = Dropper { admin: admin.clone(), name: name.clone() };
    let (dir, database) = (tempfile::tempdir().unwrap(), format!("{server}/{name}"));
    test(Place { dir, database, postgres: Some((admin, name)) }).await;
    drop(dropper);
}

/// Drops the database of a test that failed, too.
struct Dropper {
    admin: String,
    name: String,
}

impl Drop for Dropper {
    fn drop(&mut self) {
        let (admin, statement) = (self.admin.clone(), format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        std::thread::spawn(move || runtime().block_on(run_sql(&admin, &statement))).join().unwrap();
    }
}

async fn run_sql(url: &str, statement: &str) {
    sqlx::any::install_default_drivers();
    let mut admin = sqlx::AnyConnection::connect(url).await.unwrap();
    admin.execute(AssertSqlSafe(statement.to_owned())).await.unwrap();
    admin.close().await.unwrap();
}
