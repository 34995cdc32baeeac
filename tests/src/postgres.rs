//! Gives each test a database of its own in the PostgreSQL that `scripts/test` started.

use crate::programs;
use anyhow::{Context, Result};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

static COUNTER: AtomicU32 = AtomicU32::new(0);

/// A database that is dropped with this value.
#[derive(Debug)]
pub struct Database {
    admin_url: String,
    name: String,
}

impl Database {
    /// Makes one, or returns None where there is no PostgreSQL and none is required.
    ///
    /// # Errors
    /// If the server refuses.
    ///
    /// # Panics
    /// If `TARN_TEST_REQUIRE_POSTGRES` is set and `TARN_TEST_POSTGRES` is not.
    pub fn create() -> Result<Option<Self>> {
        let Ok(admin_url) = std::env::var("TARN_TEST_POSTGRES") else {
            let required = std::env::var_os("TARN_TEST_REQUIRE_POSTGRES").is_some();
            assert!(!required, "TARN_TEST_POSTGRES is not set: run scripts/test");
            return Ok(None);
        };
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let database = Self { admin_url, name: format!("tarn_e2e_{}_{number}", std::process::id()) };
        database.sql(&format!("create database {}", database.name))?;
        Ok(Some(database))
    }

    /// The URL of this database.
    pub fn url(&self) -> String {
        let server = self.admin_url.rsplit_once('/').map_or(self.admin_url.as_str(), |(server, _)| server);
        format!("{server}/{}", self.name)
    }

    /// Copies it; nobody may be connected.
    ///
    /// # Errors
    /// If the server refuses.
    pub fn back_up(&self) -> Result<()> {
        self.sql(&format!("create database {0}_backup template {0}", self.name))
    }

    /// Makes it what [`Database::back_up`] copied.
    ///
    /// # Errors
    /// If the server refuses.
    pub fn put_back(&self) -> Result<()> {
        self.sql(&format!("drop database {} with (force)", self.name))?;
        self.sql(&format!("create database {0} template {0}_backup", self.name))
    }

    fn sql(&self, statement: &str) -> Result<()> {
        let mut psql = Command::new("psql");
        psql.args(["--no-psqlrc", "--quiet", "--command", statement, &self.admin_url]);
        programs::run(&mut psql, "")?.ok().with_context(|| statement.to_string())?;
        Ok(())
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        for name in [self.name.clone(), format!("{}_backup", self.name)] {
            if let Err(error) = self.sql(&format!("drop database if exists {name} with (force)")) {
                eprintln!("{error:#}");
            }
        }
    }
}
