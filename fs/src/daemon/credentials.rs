//! Owns who this device is to its server, and the file (0600) that says so.

use super::disk_file;
use crate::env::Env;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::{fmt, io};
use tarn_proto::ids::{DeviceId, SpaceId, UserId};

/// Why they cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file system.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not what was written.
    #[error("{path} cannot be read ({detail}); move it away and sign in again with `tarn login`")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Why.
        detail: String,
    },
}

/// Who this device is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// The server's address.
    pub server: String,
    /// The account's name.
    pub user: String,
    /// The account.
    pub user_id: UserId,
    /// This device.
    pub device: DeviceId,
    /// What people call it.
    pub device_name: String,
    /// The account's home space.
    pub home: SpaceId,
    /// The bearer token; `None` after a logout: the state still is this account's.
    pub token: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let signed_in = self.token.is_some();
        write!(f, "Credentials({} at {}, device {}, signed in: {signed_in})", self.user, self.server, self.device)
    }
}

impl Credentials {
    /// Reads them; `None` if nobody ever signed in here.
    ///
    /// # Errors
    /// See [`CredentialsError`].
    pub fn load(env: &Env, path: &Path) -> Result<Option<Self>, CredentialsError> {
        let io = |source| CredentialsError::Io { path: path.to_owned(), source };
        let Some(bytes) = disk_file::read(env, path).map_err(io)? else { return Ok(None) };
        let malformed = |e: serde_json::Error| CredentialsError::Malformed {
            path: path.to_owned(),
            // The position, without what stands there.
            detail: format!("line {}, column {}", e.line(), e.column()),
        };
        serde_json::from_slice(&bytes).map(Some).map_err(malformed)
    }

    /// Writes them, readable by this user alone. Durable on return.
    ///
    /// # Errors
    /// See [`CredentialsError`].
    pub fn save(&self, env: &Env, path: &Path) -> Result<(), CredentialsError> {
        let io = |source| CredentialsError::Io { path: path.to_owned(), source };
        let bytes = serde_json::to_vec_pretty(self).map_err(|e| io(e.into()))?;
        disk_file::replace(env, path, &bytes).map_err(io)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn some() -> Credentials {
        Credentials {
            server: "https://tarn.example".into(),
            user: "ada".into(),
            user_id: UserId([1; 16]),
            device: DeviceId([2; 16]),
            device_name: "desk".into(),
            home: SpaceId([3; 16]),
            token: Some("secret".into()),
        }
    }

    #[test]
    fn they_come_back_and_only_their_user_reads_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/credentials.json");
        let env = Env::real();
        assert_eq!(Credentials::load(&env, &path).unwrap(), None);
        some().save(&env, &path).unwrap();
        Credentials { token: None, ..some() }.save(&env, &path).unwrap();
        some().save(&env, &path).unwrap();
        assert_eq!(Credentials::load(&env, &path).unwrap(), Some(some()));
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_left_half_written_with_another_mode_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("credentials.json");
        let left = path.with_extension("new");
        std::fs::write(&left, "x".repeat(5000)).unwrap();
        std::fs::set_permissions(&left, std::fs::Permissions::from_mode(0o644)).unwrap();
        some().save(&Env::real(), &path).unwrap();
        assert_eq!(Credentials::load(&Env::real(), &path).unwrap(), Some(some()));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn neither_errors_nor_debug_output_tell_the_token() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c");
        std::fs::write(&path, "{\"token\":\"secret\",").unwrap();
        let error = Credentials::load(&Env::real(), &path).unwrap_err();
        assert!(!format!("{error} {:?} {error:?}", some()).contains("secret"));
    }
}
