//! Owns what each call does: between the routes, which speak HTTP, and `rules`, `store` and `packs`.
//!
//! A service is a function `(&Database, &Env, Identity, …) -> Result<Answer, Failure>` of one file.
//! It checks that the space is one of the caller's, and never speaks HTTP. Who waits for news is
//! told by the route, after the service has committed.

pub mod accounts;
pub mod attempts;
pub mod check;
pub mod children;
pub mod chunks;
mod chunks_there;
pub mod conflicts;
mod cursor;
pub mod devices;
pub mod error;
pub mod password;
pub mod pull;
pub mod push;
pub mod receipts;
pub mod recover;
pub mod spaces;
mod token;
pub mod tokens;
pub mod undo;
pub mod versions;

pub use error::Failure;

use crate::env::Env;
use crate::store::Database;
use crate::watch::Watch;
use tarn_proto::ids::{DeviceId, UserId};
use tokio::sync::watch::Receiver;

/// Everything that calls need; made once by whoever wires the server.
#[derive(Debug)]
pub struct Services {
    /// The database.
    pub db: Database,
    /// Clock and randomness.
    pub env: Env,
    /// Chunks.
    pub chunks: chunks::Chunks,
    /// Tokens verified lately.
    pub tokens: tokens::Tokens,
    /// Failed logins lately.
    pub attempts: attempts::Attempts,
    /// Who waits for news.
    pub watch: Watch,
    /// Whether passwords are taken over plain HTTP from other machines.
    pub insecure: bool,
    /// Becomes true when the server ends.
    pub ending: Receiver<bool>,
}

/// Who calls, as the token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The account.
    pub user: UserId,
    /// The device.
    pub device: DeviceId,
}
