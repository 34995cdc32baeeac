//! Owns the rows of accounts.

use super::{Conn, StoreError};
use sqlx::Row as _;
use tarn_proto::ids::{SpaceId, UserId};

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its id.
    pub user: UserId,
    /// What its owner types.
    pub name: String,
    /// The password's hash, in PHC form.
    pub password_hash: String,
    /// Its home space.
    pub home: SpaceId,
}

/// Makes an account.
///
/// # Errors
/// [`StoreError::Duplicate`] if the name is taken.
pub async fn insert(conn: &mut Conn, account: &Account, now_ms: i64) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO users (user_id, name, password_hash, home_space, created_ms) VALUES ($1, $2, $3, $4, $5)")
        .bind(account.user.as_bytes())
        .bind(account.name.as_str())
        .bind(account.password_hash.as_str())
        .bind(account.home.as_bytes())
        .bind(now_ms)
        .execute(conn)
        .await?;
    Ok(())
}

/// The account of a name.
///
/// # Errors
/// The database fails.
pub async fn by_name(conn: &mut Conn, name: &str) -> Result<Option<Account>, StoreError> {
    let row = sqlx::query("SELECT user_id, name, password_hash, home_space FROM users WHERE name = $1")
        .bind(name)
        .fetch_optional(conn)
        .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Account {
        user: UserId::from_slice(row.try_get(0)?).ok_or_else(|| StoreError::corrupt("a user id"))?,
        name: row.try_get(1)?,
        password_hash: row.try_get(2)?,
        home: SpaceId::from_slice(row.try_get(3)?).ok_or_else(|| StoreError::corrupt("a home space"))?,
    }))
}

/// Holds an account's row until the transaction ends, so that its devices change one at a time.
///
/// # Errors
/// The database fails.
pub async fn lock(conn: &mut Conn, user: UserId) -> Result<(), StoreError> {
    sqlx::query("UPDATE users SET name = name WHERE user_id = $1").bind(user.as_bytes()).execute(conn).await?;
    Ok(())
}

/// The home space of an account.
///
/// # Errors
/// The database fails.
pub async fn home(conn: &mut Conn, user: UserId) -> Result<Option<SpaceId>, StoreError> {
    let row = sqlx::query("SELECT home_space FROM users WHERE user_id = $1")
        .bind(user.as_bytes())
        .fetch_optional(conn)
        .await?;
    let Some(row) = row else { return Ok(None) };
    SpaceId::from_slice(row.try_get(0)?).map(Some).ok_or_else(|| StoreError::corrupt("a home space"))
}
