//! Owns signing in and out, devices, and the list of spaces.

use super::Called;
use crate::auth::PasswordPeer;
use crate::middleware::{Accept, PathOf, Wire};
use crate::service::{Failure, Identity, accounts, devices, spaces};
use axum::http::StatusCode;
use axum::response::Response;
use tarn_proto::api::{DevicesResponse, EnrolRequest, EnrolResponse, LoginRequest, LoginResponse, SpacesResponse};
use tarn_proto::error::Problem;
use tarn_proto::ids::DeviceId;

/// Signs in and enrols this device, or enrols it again. Its former token ends.
#[utoipa::path(post, path = "/auth/login", tag = "account", request_body = LoginRequest,
    responses((status = 200, body = LoginResponse), (status = "default", body = Problem)))]
pub async fn login(
    services: Called,
    peer: PasswordPeer,
    accept: Accept,
    Wire(request): Wire<LoginRequest>,
) -> Result<Response, Failure> {
    let response = devices::login(&services.db, &services.env, &services.attempts, peer.0, request).await?;
    services.tokens.forget(response.device);
    Ok(accept.reply(&response))
}

/// Ends this device's token. The device stays enrolled.
#[utoipa::path(post, path = "/auth/logout", tag = "account", security(("token" = [])),
    responses((status = 204), (status = "default", body = Problem)))]
pub async fn logout(services: Called, who: Identity) -> Result<StatusCode, Failure> {
    devices::logout(&services.db, who).await?;
    services.tokens.forget(who.device);
    services.watch.revoked(who.device);
    Ok(StatusCode::NO_CONTENT)
}

/// Lists the account's devices, the oldest first, revoked ones included.
#[utoipa::path(get, path = "/devices", tag = "account", security(("token" = [])),
    responses((status = 200, body = DevicesResponse), (status = "default", body = Problem)))]
pub async fn list_devices(services: Called, who: Identity, accept: Accept) -> Result<Response, Failure> {
    Ok(accept.reply(&devices::list(&services.db, who).await?))
}

/// Enrols another device of the account, with no password: a device whose counters fell behind goes on as that one.
/// The caller's token stays good.
#[utoipa::path(post, path = "/devices", tag = "account", security(("token" = [])), request_body = EnrolRequest,
    responses((status = 200, body = EnrolResponse), (status = "default", body = Problem)))]
pub async fn enrol_device(
    services: Called,
    who: Identity,
    accept: Accept,
    Wire(request): Wire<EnrolRequest>,
) -> Result<Response, Failure> {
    Ok(accept.reply(&devices::enrol(&services.db, &services.env, who, request).await?))
}

/// Revokes a device: its token ends at once and its sockets close.
#[utoipa::path(delete, path = "/devices/{device}", tag = "account", security(("token" = [])),
    params(("device" = DeviceId, Path, description = "which device")),
    responses((status = 204), (status = "default", body = Problem)))]
pub async fn revoke_device(
    services: Called,
    who: Identity,
    PathOf(device): PathOf<DeviceId>,
) -> Result<StatusCode, Failure> {
    devices::revoke(&services.db, &services.env, who, device).await?;
    services.tokens.forget(device);
    services.watch.revoked(device);
    Ok(StatusCode::NO_CONTENT)
}

/// Lists the user's spaces with their cursors.
#[utoipa::path(get, path = "/spaces", tag = "account", security(("token" = [])),
    responses((status = 200, body = SpacesResponse), (status = "default", body = Problem)))]
pub async fn list_spaces(services: Called, who: Identity, accept: Accept) -> Result<Response, Failure> {
    let home = accounts::home(&services.db, who.user).await?;
    Ok(accept.reply(&spaces::list(&services.db, who, home).await?))
}
