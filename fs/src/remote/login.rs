//! Owns signing in and out and the list of devices: what the command line asks before there is a mount.

use super::client::HttpClient;
use super::{RemoteError, ServerAddress};
use crate::limits;
use reqwest::Method;
use tarn_proto::api::{
    DeviceInfo, DevicesResponse, EnrolRequest, EnrolResponse, LoginRequest, LoginResponse, UndoRequest, UndoResponse,
};
use tarn_proto::ids::{DeviceId, SpaceId};

/// An account on a server, signed in or about to be.
#[derive(Debug, Clone)]
pub struct Account {
    client: HttpClient,
}

impl Account {
    /// The account behind a device's token, or nobody yet.
    ///
    /// # Errors
    /// Fails when TLS cannot be set up.
    pub fn new(address: ServerAddress, token: Option<&str>) -> Result<Self, RemoteError> {
        Ok(Self { client: HttpClient::new(address, token)? })
    }

    /// Signs in and enrols a device.
    ///
    /// # Errors
    /// `Refused(BadCredentials)` for a wrong name or password; else what a call fails with.
    pub async fn login(&self, request: &LoginRequest) -> Result<LoginResponse, RemoteError> {
        self.client.post("auth/login", request, limits::ANSWER_BYTES_MAX).await
    }

    /// Makes the token void.
    ///
    /// # Errors
    /// What a call fails with.
    pub async fn logout(&self) -> Result<(), RemoteError> {
        self.client.send(Method::POST, "auth/logout", None, limits::ANSWER_BYTES_MAX).await.map(drop)
    }

    /// All devices of the account.
    ///
    /// # Errors
    /// What a call fails with.
    pub async fn devices(&self) -> Result<Vec<DeviceInfo>, RemoteError> {
        let response: DevicesResponse = self.client.get("devices", &[], limits::ANSWER_BYTES_MAX).await?;
        Ok(response.devices)
    }

    /// Enrols another device of the account.
    ///
    /// # Errors
    /// What a call fails with.
    pub async fn enrol(&self, request: &EnrolRequest) -> Result<EnrolResponse, RemoteError> {
        self.client.post("devices", request, limits::ANSWER_BYTES_MAX).await
    }

    /// Takes back what a device did since a moment.
    ///
    /// # Errors
    /// `Refused(NotFound)` if the account has no such device; else what a call fails with.
    pub async fn undo(&self, space: SpaceId, request: &UndoRequest) -> Result<UndoResponse, RemoteError> {
        self.client.post(&format!("spaces/{space}/undo"), request, limits::ROWS_ANSWER_BYTES_MAX).await
    }

    /// Revokes a device: its token is void from now on.
    ///
    /// # Errors
    /// `Refused(NotFound)` if the account has no such device; else what a call fails with.
    pub async fn revoke(&self, device: DeviceId) -> Result<(), RemoteError> {
        let path = format!("devices/{device}");
        self.client.send(Method::DELETE, &path, None, limits::ANSWER_BYTES_MAX).await.map(drop)
    }
}
