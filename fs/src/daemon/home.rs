//! Owns where things lie: state, credentials, log and socket of one device.
//!
//! `$TARN_HOME`, or `$XDG_DATA_HOME/tarn` (`~/.local/share/tarn`), holds everything; only the socket lies under
//! `$XDG_RUNTIME_DIR/tarn` when there is one and no `TARN_HOME`.

use crate::control::socket::shared_name;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// Why there is no home.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// None of the variables is set.
    #[error("no place for Tarn's state: set TARN_HOME, XDG_DATA_HOME or HOME")]
    Nowhere,
    /// A relative path, and the current directory is gone.
    #[error("TARN_HOME is relative and the current directory cannot be found: {0}")]
    NoCurrentDir(#[from] io::Error),
}

/// Where one device keeps what is its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    dir: PathBuf,
    socket: PathBuf,
}

impl Home {
    /// As the environment says.
    ///
    /// # Errors
    /// See [`HomeError`].
    pub fn find() -> Result<Self, HomeError> {
        Self::from_variables(|name| std::env::var_os(name))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, HomeError> {
        let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        if let Some(dir) = set("TARN_HOME") {
            return Ok(Self::at(&std::path::absolute(dir)?));
        }
        let absolute = |name| set(name).filter(|path: &PathBuf| path.is_absolute());
        let data = absolute("XDG_DATA_HOME").or_else(|| Some(absolute("HOME")?.join(".local/share")));
        let home = Self::at(&data.ok_or(HomeError::Nowhere)?.join("tarn"));
        Ok(match absolute("XDG_RUNTIME_DIR") {
            Some(runtime) => Self { socket: runtime.join("tarn").join(shared_name(&home.dir)), ..home },
            None => home,
        })
    }

    /// Everything under one folder.
    pub fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), socket: dir.join("control.sock") }
    }

    /// The folder of it all.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The folder of log, database, contents and lock. May be moved aside as a whole: what is in it is rebuilt.
    pub fn state_dir(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// Who this device is.
    pub fn credentials_file(&self) -> PathBuf {
        self.dir.join("credentials.json")
    }

    /// Where the daemon writes what it does.
    pub fn log_file(&self) -> PathBuf {
        self.dir.join("daemon.log")
    }

    /// Says where the daemon is mounted and listens.
    pub fn marker_file(&self) -> PathBuf {
        self.dir.join("daemon.json")
    }

    /// What the last verification came to.
    pub fn verified_file(&self) -> PathBuf {
        self.dir.join("verified.json")
    }

    /// How fast content may go up and come down.
    pub fn limits_file(&self) -> PathBuf {
        self.dir.join("limits.json")
    }

    /// Where the daemon listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn home(variables: &[(&str, &str)]) -> Result<Home, HomeError> {
        Home::from_variables(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.into()))
    }

    #[test]
    fn everything_lies_under_tarn_home() {
        let home = home(&[("TARN_HOME", "/a/b"), ("XDG_RUNTIME_DIR", "/run/user/1"), ("HOME", "/h")]).unwrap();
        let inside = [home.state_dir(), home.credentials_file(), home.log_file(), home.socket().into()];
        assert!(inside.iter().all(|path| path.starts_with("/a/b")));
    }

    #[test]
    fn without_tarn_home_the_desktop_s_folders_are_used() {
        let shared = [("HOME", "/h"), ("XDG_RUNTIME_DIR", "/run/user/1"), ("TARN_HOME", "")];
        let first = home(&shared).unwrap();
        assert_eq!(first.dir(), Path::new("/h/.local/share/tarn"));
        assert!(first.socket().starts_with("/run/user/1/tarn"));
        let second = home(&[("XDG_DATA_HOME", "/data"), shared[0], shared[1]]).unwrap();
        assert_eq!(second.dir(), Path::new("/data/tarn"));
        assert_ne!(first.socket(), second.socket());
        assert!(matches!(home(&[("HOME", "relative")]), Err(HomeError::Nowhere)));
    }
}
