//! The server over real HTTP, on SQLite and on PostgreSQL: accounts, chunks, notices, bounds, the command line.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[macro_use]
mod database;
mod account;
mod chunks;
mod commands;
mod conflicts;
mod files;
mod limits;
mod notify;
mod quota;
mod server;
mod surface;
