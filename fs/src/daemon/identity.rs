//! Owns who the device is while it runs, when its counters fell behind (a state restored from a backup).

use crate::remote::RemoteError;
use crate::sync::ports::Identity;
use async_trait::async_trait;
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::DeviceId;

/// A new device is enrolled with the account's password, which only the person has.
#[derive(Debug)]
pub(super) struct PersonSignsIn;

#[async_trait]
impl Identity for PersonSignsIn {
    async fn renew(&self) -> Result<DeviceId, RemoteError> {
        let detail = "this device must be enrolled anew: sign out and in again".to_owned();
        Err(RemoteError::Refused { code: ErrorCode::DeviceRolledBack, detail })
    }
}
