//! Owns what `login`, `logout` and `devices` share: the account behind the credentials of this home.

use super::Context;
use crate::control::{Client, ClientError};
use crate::daemon::{Credentials, Marker};
use crate::remote::{Account, RemoteError, ServerAddress};
use anyhow::{Context as _, Result, anyhow, bail};
use tarn_proto::error::ErrorCode;

/// Who is signed in here.
pub(super) fn signed_in(context: &Context) -> Result<Credentials> {
    let credentials = Credentials::load(&context.env, &context.home.credentials_file())?;
    let credentials = credentials.filter(|credentials| credentials.token.is_some());
    credentials.context("this device is not signed in: run `tarn login` first")
}

/// The account as the server knows it.
pub(super) fn account_of(credentials: &Credentials) -> Result<Account> {
    let address = ServerAddress::parse(&credentials.server)?;
    Account::new(address, credentials.token.as_deref()).map_err(told)
}

/// What people make of the server's answer.
pub(super) fn told(error: RemoteError) -> anyhow::Error {
    match &error {
        RemoteError::Refused { code: ErrorCode::Unauthenticated, .. } => {
            anyhow!("the server does not know this device any more (revoked?): sign in again with `tarn login`")
        }
        RemoteError::Refused { code: ErrorCode::BadCredentials, .. } => anyhow!("wrong name or password"),
        RemoteError::Refused { code: ErrorCode::InsecureTransport, .. } => {
            anyhow!("the server takes passwords only over https: use its https address")
        }
        RemoteError::Refused { detail, .. } if !detail.is_empty() => anyhow!("the server refused: {detail}"),
        _ => error.into(),
    }
}

/// Refuses while a daemon serves this home: what it knows of the account must not change under it.
pub(super) async fn refuse_while_mounted(context: &Context, what: &str) -> Result<()> {
    let Some(marker) = Marker::load(&context.env, &context.home) else { return Ok(()) };
    let mount = marker.mount;
    match Client::connect(&marker.socket.to_path()).await {
        Err(ClientError::NoDaemon | ClientError::Ended) => Ok(()),
        Err(ClientError::Silent) => {
            let pid = marker.pid;
            bail!("the daemon of {mount} (pid {pid}) does not answer: end that process before you {what}")
        }
        // One of another version serves it as well.
        _ => bail!("{mount} is mounted: unmount it before you {what} (tarn unmount {mount})"),
    }
}
