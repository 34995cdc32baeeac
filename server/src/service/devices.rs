//! Owns signing in and out, and the list of an account's devices.

use super::attempts::Attempts;
use super::{Failure, Identity, password, tokens};
use crate::env::Env;
use crate::limits;
use crate::store::accounts::{self, Account};
use crate::store::devices::{self, Device};
use crate::store::{Conn, Database};
use std::net::IpAddr;
use tarn_proto::api::{DeviceInfo, DevicesResponse, EnrolRequest, EnrolResponse, LoginRequest, LoginResponse};
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::{DeviceId, UserId};
use tarn_proto::limits::LABEL_CHARS_MAX;
use tarn_proto::node::Timestamp;

/// Whether a user's or device's name may be one.
pub fn is_label(name: &str) -> bool {
    (1..=LABEL_CHARS_MAX).contains(&name.chars().count()) && !name.chars().any(char::is_control)
}

fn check_name(name: &str) -> Result<(), Failure> {
    if is_label(name) {
        return Ok(());
    }
    let detail = format!("a device name has 1 to {LABEL_CHARS_MAX} characters");
    Err(Failure::refused(ErrorCode::BadRequest, detail))
}

/// Signs a device in and gives it a new token; its old one ends.
///
/// # Errors
/// Wrong name or password, too many failures, a bad device name, another account's device id.
pub async fn login(
    db: &Database,
    env: &Env,
    attempts: &Attempts,
    address: IpAddr,
    request: LoginRequest,
) -> Result<LoginResponse, Failure> {
    check_name(&request.device_name)?;
    let account = authenticate(db, env, attempts, address, &request.user, request.password).await?;
    let (token, token_hash) = tokens::make(env);
    let fresh = DeviceId(env.random());
    let now_ms = env.now_ms();
    let device = db
        .retry(|| async {
            let mut tx = db.begin().await?;
            let id = own_device(&mut tx, account.user, request.device).await?.unwrap_or(fresh);
            let name = free_name(&mut tx, account.user, id, &request.device_name).await?;
            let device = Device {
                device: id,
                user: account.user,
                name,
                enrolled_ms: now_ms,
                last_seen_ms: None,
                revoked: false,
            };
            devices::enrol(&mut tx, &device, &token_hash).await?;
            tx.commit().await?;
            Ok::<_, Failure>(id)
        })
        .await?;
    tracing::info!(user = %account.user, %device, "device signed in");
    Ok(LoginResponse { user: account.user, device, token, home: account.home })
}

/// Enrols another device of the caller's account: its successor, when its own counters fell behind. The caller's
/// token stays good: it may be a copy's, and the original goes on.
///
/// # Errors
/// A bad name, too many devices, or the database fails.
pub async fn enrol(db: &Database, env: &Env, who: Identity, request: EnrolRequest) -> Result<EnrolResponse, Failure> {
    check_name(&request.device_name)?;
    let (token, token_hash) = tokens::make(env);
    let fresh = DeviceId(env.random());
    let now_ms = env.now_ms();
    let device_name = db
        .retry(|| async {
            let mut tx = db.begin().await?;
            accounts::lock(&mut tx, who.user).await?;
            let name = free_name(&mut tx, who.user, fresh, &request.device_name).await?;
            let (name_kept, last_seen_ms) = (name.clone(), None);
            let device =
                Device { device: fresh, user: who.user, name, enrolled_ms: now_ms, last_seen_ms, revoked: false };
            devices::enrol(&mut tx, &device, &token_hash).await?;
            tx.commit().await?;
            Ok::<_, Failure>(name_kept)
        })
        .await?;
    tracing::info!(user = %who.user, device = %fresh, by = %who.device, "device enrolled by another one");
    Ok(EnrolResponse { device: fresh, device_name, token })
}

async fn authenticate(
    db: &Database,
    env: &Env,
    attempts: &Attempts,
    address: IpAddr,
    name: &str,
    password: String,
) -> Result<Account, Failure> {
    let now = env.instant();
    if !attempts.allows(name, address, now) {
        let detail = format!("too many failed logins: wait {} s", limits::LOGIN_WINDOW.as_secs());
        return Err(Failure::refused(ErrorCode::TooManyRequests, detail));
    }
    let account = match is_label(name) {
        true => accounts::by_name(&mut *db.reader().await?, name).await?,
        false => None,
    };
    let hash = account.as_ref().map(|account| account.password_hash.clone());
    match (password::verify(password, hash).await?, account) {
        (true, Some(account)) => {
            attempts.succeeded(name);
            Ok(account)
        }
        _ => {
            attempts.failed(name, address, now);
            Err(Failure::refused(ErrorCode::BadCredentials, "the name or the password is wrong"))
        }
    }
}

/// Checks the id that a device says it has. One that nobody has is taken over: the server was
/// restored from before the device was enrolled.
async fn own_device(conn: &mut Conn, user: UserId, wanted: Option<DeviceId>) -> Result<Option<DeviceId>, Failure> {
    accounts::lock(conn, user).await?;
    let Some(id) = wanted else { return Ok(None) };
    match devices::by_id(conn, id).await? {
        Some(device) if device.user != user => {
            Err(Failure::refused(ErrorCode::Forbidden, "the device is another account's"))
        }
        _ => Ok(Some(id)),
    }
}

/// The wanted name, with a number if another device of the account has it.
async fn free_name(conn: &mut Conn, user: UserId, device: DeviceId, wanted: &str) -> Result<String, Failure> {
    let others = devices::of_user(conn, user).await?;
    let live: Vec<&Device> = others.iter().filter(|other| !other.revoked && other.device != device).collect();
    if live.len() >= limits::DEVICES_PER_USER_MAX {
        let detail = format!("an account has at most {} devices: revoke one", limits::DEVICES_PER_USER_MAX);
        return Err(Failure::refused(ErrorCode::Forbidden, detail));
    }
    let free = |name: &String| live.iter().all(|other| other.name != *name);
    let numbered = (2..).map(|number| {
        let suffix = format!(" {number}");
        let stem: String = wanted.chars().take(LABEL_CHARS_MAX - suffix.len()).collect();
        stem + &suffix
    });
    let name = std::iter::once(wanted.to_owned()).chain(numbered).find(free);
    name.ok_or_else(|| Failure::Internal("no free device name".into()))
}

/// Lists the devices of the caller's account.
///
/// # Errors
/// The database fails.
pub async fn list(db: &Database, who: Identity) -> Result<DevicesResponse, Failure> {
    let devices = devices::of_user(&mut *db.reader().await?, who.user).await?;
    let info = |device: Device| DeviceInfo {
        current: device.device == who.device,
        device: device.device,
        name: device.name,
        enrolled: timestamp(device.enrolled_ms),
        last_seen: device.last_seen_ms.map(timestamp),
        revoked: device.revoked,
    };
    Ok(DevicesResponse { devices: devices.into_iter().map(info).collect() })
}

fn timestamp(ms: i64) -> Timestamp {
    Timestamp { secs: ms.div_euclid(1_000), nanos: ms.rem_euclid(1_000) as u32 * 1_000_000 }
}

/// Revokes a device of the caller's account: its token ends, and it is marked.
///
/// # Errors
/// [`ErrorCode::NotFound`] if the account has no such device.
pub async fn revoke(db: &Database, env: &Env, who: Identity, device: DeviceId) -> Result<(), Failure> {
    let mut tx = db.begin().await?;
    match devices::by_id(&mut tx, device).await? {
        Some(found) if found.user == who.user => {}
        _ => return Err(Failure::not_found("device")),
    }
    devices::sign_out(&mut tx, device, Some(env.now_ms())).await?;
    tx.commit().await?;
    tracing::info!(user = %who.user, %device, by = %who.device, "device revoked");
    Ok(())
}

/// Ends the caller's token. The device stays enrolled.
///
/// # Errors
/// The database fails.
pub async fn logout(db: &Database, who: Identity) -> Result<(), Failure> {
    let mut tx = db.begin().await?;
    devices::sign_out(&mut tx, who.device, None).await?;
    tx.commit().await?;
    Ok(())
}
