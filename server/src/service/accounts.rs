//! Owns making accounts.

use super::devices::is_label;
use super::{Failure, password};
use crate::env::Env;
use crate::store::accounts::{self, Account};
use crate::store::{Database, StoreError, spaces};
use tarn_proto::error::ErrorCode;
use tarn_proto::ids::{EpochId, SpaceId, UserId};
use tarn_proto::limits::LABEL_CHARS_MAX;

/// Makes an account with its home space and quota, all or nothing.
///
/// # Errors
/// [`ErrorCode::AlreadyExists`] if the name is taken, and a bad name or password.
pub async fn add(
    db: &Database,
    env: &Env,
    name: &str,
    password: String,
    bytes_max: Option<u64>,
) -> Result<UserId, Failure> {
    if !is_label(name) {
        let detail = format!("a user name has 1 to {LABEL_CHARS_MAX} characters, none of them a control character");
        return Err(Failure::refused(ErrorCode::BadRequest, detail));
    }
    let (user, home, epoch) = (UserId(env.random()), SpaceId(env.random()), EpochId(env.random()));
    let account = Account { user, name: name.to_owned(), password_hash: password::hash(env, password).await?, home };
    let now_ms = env.now_ms();
    let made = db
        .retry(|| async {
            let mut tx = db.begin().await?;
            accounts::insert(&mut tx, &account, now_ms).await?;
            spaces::create(&mut tx, home, user, epoch, now_ms).await?;
            spaces::set_quota(&mut tx, home, bytes_max).await?;
            tx.commit().await
        })
        .await;
    match made {
        Ok(()) => Ok(user),
        Err(StoreError::Duplicate(_)) => {
            Err(Failure::refused(ErrorCode::AlreadyExists, format!("there is a user {name} already")))
        }
        Err(error) => Err(error.into()),
    }
}

/// Sets how many bytes an account may use; answers how many it does.
///
/// # Errors
/// [`ErrorCode::NotFound`] if there is no such account.
pub async fn set_quota(db: &Database, name: &str, bytes_max: Option<u64>) -> Result<u64, Failure> {
    let set = db.retry(|| async {
        let mut tx = db.begin().await?;
        let Some(account) = accounts::by_name(&mut tx, name).await? else { return Ok(None) };
        let row = spaces::lock(&mut tx, account.home).await?;
        spaces::set_quota(&mut tx, account.home, bytes_max).await?;
        tx.commit().await?;
        Ok::<_, StoreError>(row.map(|row| row.bytes_used))
    });
    let missing = || Failure::refused(ErrorCode::NotFound, format!("there is no user {name}"));
    set.await?.ok_or_else(missing)
}

/// The home space of an account.
///
/// # Errors
/// The database fails, or the account is gone.
pub async fn home(db: &Database, user: UserId) -> Result<SpaceId, Failure> {
    let home = accounts::home(&mut *db.reader().await?, user).await?;
    home.ok_or_else(|| Failure::not_found("account"))
}
