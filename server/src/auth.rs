//! Owns who a request comes from: the bearer token, and whether its way is safe enough for a password.

use crate::service::{Failure, Identity, Services};
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tarn_proto::error::ErrorCode;

impl FromRequestParts<Arc<Services>> for Identity {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, services: &Arc<Services>) -> Result<Self, Failure> {
        let header = parts.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token =
            header.and_then(|value| value.split_once(' ')).filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer"));
        let (_, token) = token.ok_or_else(|| Failure::refused(ErrorCode::Unauthenticated, "no bearer token"))?;
        services.tokens.verify(&services.db, &services.env, token.trim()).await
    }
}

/// The address of a caller who may send a password: on this machine, or anywhere if the server was
/// told not to mind. A proxy that ends TLS runs on this machine.
#[derive(Debug, Clone, Copy)]
pub struct PasswordPeer(pub IpAddr);

impl FromRequestParts<Arc<Services>> for PasswordPeer {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, services: &Arc<Services>) -> Result<Self, Failure> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_canonical());
        let peer = peer.ok_or_else(|| Failure::Internal("a connection without a peer".into()))?;
        if peer.is_loopback() || services.insecure {
            return Ok(Self(peer));
        }
        Err(Failure::refused(ErrorCode::InsecureTransport, "use HTTPS, or start the server with --insecure"))
    }
}
