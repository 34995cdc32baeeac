//! Owns passwords: argon2id, on blocking threads, a few at a time.

use super::Failure;
use crate::env::Env;
use crate::limits;
use argon2::{Argon2, PasswordHasher as _, PasswordVerifier as _};
use std::sync::OnceLock;
use tarn_proto::error::ErrorCode;
use tokio::sync::Semaphore;

/// Each takes 19 MiB and some 20 ms of a core.
static AT_ONCE: Semaphore = Semaphore::const_new(4);

/// Hashes a new password.
///
/// # Errors
/// The password is empty or too long.
pub async fn hash(env: &Env, password: String) -> Result<String, Failure> {
    if password.is_empty() || password.len() > limits::PASSWORD_BYTES_MAX {
        let detail = format!("a password has 1 to {} bytes", limits::PASSWORD_BYTES_MAX);
        return Err(Failure::refused(ErrorCode::BadRequest, detail));
    }
    let salt: [u8; 16] = env.random();
    blocking(move || hash_with(&password, &salt)).await?
}

/// Whether a password is the one of this hash. Without a hash (no such account) the answer is no,
/// after the same time.
///
/// # Errors
/// The hash in the database is malformed.
pub async fn verify(password: String, hash: Option<String>) -> Result<bool, Failure> {
    if password.len() > limits::PASSWORD_BYTES_MAX {
        return Ok(false);
    }
    let known = hash.is_some();
    let matches = blocking(move || {
        let hash = match &hash {
            Some(hash) => hash,
            None => decoy()?,
        };
        match Argon2::default().verify_password(password.as_bytes(), hash.as_str()) {
            Ok(()) => Ok(true),
            Err(argon2::password_hash::Error::PasswordInvalid) => Ok(false),
            Err(error) => Err(Failure::Internal(format!("a password hash is malformed: {error}"))),
        }
    })
    .await??;
    Ok(matches && known)
}

fn decoy() -> Result<&'static String, Failure> {
    static DECOY: OnceLock<String> = OnceLock::new();
    match DECOY.get() {
        Some(hash) => Ok(hash),
        None => {
            let hash = hash_with("nobody's", b"nobody's salt 16")?;
            Ok(DECOY.get_or_init(|| hash))
        }
    }
}

fn hash_with(password: &str, salt: &[u8]) -> Result<String, Failure> {
    let hash = Argon2::default().hash_password_with_salt(password.as_bytes(), salt);
    hash.map(|hash| hash.to_string()).map_err(|error| Failure::Internal(format!("argon2: {error}")))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    let _permit = AT_ONCE.acquire().await.map_err(|error| Failure::Internal(error.to_string()))?;
    tokio::task::spawn_blocking(work).await.map_err(|error| Failure::Internal(error.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_matches() {
        let hash = hash(&Env::real(), "correct horse".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$"));
        assert!(verify("correct horse".into(), Some(hash.clone())).await.unwrap());
        assert!(!verify("correct  horse".into(), Some(hash)).await.unwrap());
        assert!(!verify("nobody's".into(), None).await.unwrap());
    }

    #[tokio::test]
    async fn an_empty_password_is_refused() {
        assert_eq!(hash(&Env::real(), String::new()).await.unwrap_err().code(), ErrorCode::BadRequest);
    }
}
