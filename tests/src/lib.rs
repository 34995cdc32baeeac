//! What end-to-end tests are made of: real servers, real devices with real mounts, trees, and a relay between
//! them. Everything here is ended and removed when it is dropped, also by a panic; a process only by its own pid.
//!
//! Start reading at [`server::Server`] and [`device::Device`]. The programs are those of `TARN_BIN_DIR`, else those
//! beside the running test. Nothing here may be used by the product.

#![allow(clippy::disallowed_methods, reason = "tests live in the real world")]

pub mod backup;
pub mod blocks;
pub mod crash;
pub mod device;
pub mod diff;
pub mod freezer;
pub mod maps;
pub mod marks;
pub mod mounts;
pub mod page;
pub mod postgres;
pub mod process;
pub mod programs;
pub mod relay;
pub mod saves;
pub mod seed;
pub mod server;
pub mod suites;
pub mod threads;
pub mod tree;
pub mod user;
pub mod wait;
pub mod watch;
