//! Owns what each call does: between the routes, which speak HTTP, and `rules`, `store` and `packs`.
//!
//! A service is a function `(&Database, &Env, Identity, …) -> Result<Answer, Failure>` of one file.
//! It checks that the space is one of the caller's, and never speaks HTTP. Who waits for news is
//! told by the route, after the service has committed.

pub mod attempts;
pub mod check;
pub mod children;
pub mod chunks;
pub mod conflicts;
pub mod devices;
pub mod error;
pub mod password;
pub mod pull;
pub mod push;
pub mod spaces;
pub mod tokens;
pub mod versions;

pub use error::Failure;

use tarn_proto::ids::{DeviceId, UserId};

/// Who calls, as the token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The account.
    pub user: UserId,
    /// The device.
    pub device: DeviceId,
}
