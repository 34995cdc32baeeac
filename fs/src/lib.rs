//! Tarn's client: mounts a cloud tree as an ordinary folder.
//!
//! Modules stand on levels and use only what stands lower (ARCHITECTURE.md, held by `tests/tidy.rs`).
//! Start reading at [`tree`] (what programs see), then [`sync`] (how it meets the server).

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests live in the real world"))]

pub mod cli;
pub mod content;
pub mod control;
pub mod daemon;
pub mod env;
pub mod fuse;
pub mod hydrate;
pub mod journal;
pub mod limits;
pub mod log;
pub mod meta;
pub mod remote;
pub mod sync;
pub mod telemetry;
pub mod tree;
pub mod vfs;
