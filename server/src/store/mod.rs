//! Owns the database: one file per aggregate, migrations, the unit of work. Knows no HTTP and no rules.
//!
//! Functions here take a [`db::Conn`], so that the caller decides what belongs to one transaction.

pub mod accounts;
pub mod batch;
pub mod bulk;
pub mod chunks;
pub mod conflicts;
pub mod db;
pub mod devices;
pub mod entries;
pub mod epochs;
pub mod error;
pub mod feed;
pub mod journal;
pub mod load;
pub mod migrate;
pub mod nodes;
mod plain;
#[cfg(test)]
mod plans;
pub mod receipts;
pub mod spaces;
pub mod sql;
pub mod tree;
pub mod undo;
pub mod versions;

pub use db::{Conn, Database, Tx};
pub use error::StoreError;
