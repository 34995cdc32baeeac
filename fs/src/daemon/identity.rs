//! Owns who the device is while it runs. When its counters fell behind (a copied home, a state restored from a
//! backup) it enrols a successor of itself and goes on as that one: whoever else has the old id goes on, too.

use super::Credentials;
use crate::env::Env;
use crate::remote::{Account, HttpRemote, RemoteError, ServerAddress};
use crate::sync::ports::Identity;
use async_trait::async_trait;
use parking_lot::RwLock;
use std::path::PathBuf;
use std::sync::Arc;
use tarn_proto::api::EnrolRequest;
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::DeviceId;

/// This device, whichever it is by now.
#[derive(Debug)]
pub(super) struct OwnIdentity {
    pub env: Env,
    /// Where the credentials are kept.
    pub file: PathBuf,
    /// Who calls the server.
    pub remote: Arc<HttpRemote>,
    pub credentials: RwLock<Credentials>,
}

impl OwnIdentity {
    /// Who the device is now.
    pub fn credentials(&self) -> Credentials {
        self.credentials.read().clone()
    }

    /// Asks for a new id with the token of the old one.
    async fn enrol(&self, old: &Credentials) -> Result<Credentials, RemoteError> {
        let address = ServerAddress::parse(&old.server).map_err(|e| refused(&e))?;
        let account = Account::new(address, old.token.as_deref())?;
        let enrolled = account.enrol(&EnrolRequest { device_name: old.device_name.clone() }).await?;
        let (device, device_name, token) = (enrolled.device, enrolled.device_name, Some(enrolled.token));
        Ok(Credentials { device, device_name, token, ..old.clone() })
    }
}

fn refused(reason: &dyn std::fmt::Display) -> RemoteError {
    RemoteError::Refused { code: ErrorCode::DeviceRolledBack, detail: reason.to_string() }
}

#[async_trait]
impl Identity for OwnIdentity {
    async fn renew(&self) -> Result<DeviceId, RemoteError> {
        let old = self.credentials();
        let new = self.enrol(&old).await?;
        // Durable before anything is sent in its name: a counter must never be used twice.
        let (env, file, saved) = (self.env.clone(), self.file.clone(), new.clone());
        let done = tokio::task::spawn_blocking(move || saved.save(&env, &file)).await;
        done.map_err(|e| RemoteError::Busy(e.to_string()))?.map_err(|e| RemoteError::Busy(e.to_string()))?;
        tracing::warn!(from = %old.device, to = %new.device, name = new.device_name, "this device goes on under a new id");
        self.remote.set_token(new.token.as_deref().unwrap_or_default());
        let device = new.device;
        *self.credentials.write() = new;
        Ok(device)
    }
}
