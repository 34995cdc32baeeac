//! Owns the calls, one file per group of addresses: parse, call the service, reply. No logic.

pub mod account;
pub mod chunks;
pub mod conflicts;
pub mod files;
pub mod meta;
pub mod notify;
mod range;
pub mod sync;

use crate::service::Services;
use axum::extract::State;
use std::sync::Arc;

/// What every call is handed.
pub type Called = State<Arc<Services>>;
