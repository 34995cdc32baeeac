//! Tarn's server: orders all changes, keeps all content, tells the other devices.
//!
//! Start reading at [`router`] (which call is answered where), then the file of that call under
//! [`routes`], then what it calls under [`service`]. Levels, lowest first: `limits env telemetry
//! config`; `rules store packs`; `service watch jobs`; `routes auth middleware`; `app router
//! error cli`. A module uses only what stands on lower levels.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests live in the real world"))]

pub mod app;
pub mod auth;
pub mod cli;
pub mod config;
pub mod env;
pub mod error;
pub mod limits;
pub mod middleware;
pub mod packs;
pub mod router;
pub mod routes;
pub mod rules;
pub mod service;
pub mod store;
pub mod telemetry;
pub mod watch;
