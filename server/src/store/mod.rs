//! Owns the database: one file per aggregate, migrations, the unit of work. Knows no HTTP and no rules.
//!
//! Functions here take a [`db::Conn`], so that the caller decides what belongs to one transaction.

pub mod accounts;
pub mod chunks;
pub mod db;
pub mod devices;
pub mod error;
pub mod migrate;
pub mod nodes;
pub mod receipts;
pub mod spaces;
pub mod sql;

pub use db::{Conn, Database, Tx};
pub use error::StoreError;
