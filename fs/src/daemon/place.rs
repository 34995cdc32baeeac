//! Owns the place of a mount: finds it without touching what may be dead, cleans up after a daemon that was
//! killed, waits for one that is ending, and refuses what cannot work.

use super::Home;
use crate::env::Env;
use crate::env::mounts::{self, FS_TYPE, MountEntry, Pulse};
use parking_lot::{Condvar, Mutex};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a daemon that is ending is waited for.
pub const ENDING_WAIT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);

/// Why it cannot be mounted there.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// There is no such directory.
    #[error("{0} does not exist: make it first (mkdir -p)")]
    Missing(PathBuf),
    /// It is something else.
    #[error("{0} is not a directory")]
    NotADirectory(PathBuf),
    /// What is in it would be hidden.
    #[error("{0} is not empty: what is in it would be hidden; choose an empty directory")]
    NotEmpty(PathBuf),
    /// Something else is mounted.
    #[error("{path} is a mount point already ({kind}): unmount that first or choose another directory")]
    Taken {
        /// Where.
        path: PathBuf,
        /// What kind of file system.
        kind: String,
    },
    /// Tarn's own state lies there, or it lies in that.
    #[error("{dir} and Tarn's state in {home} must not lie in each other")]
    InState {
        /// Where it was to be mounted.
        dir: PathBuf,
        /// The state.
        home: PathBuf,
    },
    /// A dead mount that could not be taken away.
    #[error("{path} is a dead mount point and cannot be cleaned up ({source}); as root: umount -l {path}")]
    Stuck {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file system.
    #[error("{path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A path without symlinks, and whether something is mounted exactly there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The path.
    pub path: PathBuf,
    /// What is mounted there.
    pub mounted: Option<MountEntry>,
}

impl Place {
    /// Resolves a path. A mount point at its end is never touched.
    ///
    /// # Errors
    /// `Missing`, or what the file system says of the folders above.
    pub fn find(dir: &Path) -> Result<Self, PlaceError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source: io::Error| match source.kind() {
                io::ErrorKind::NotFound => PlaceError::Missing(path),
                _ => PlaceError::Io { path, source },
            }
        };
        let full = std::path::absolute(dir).map_err(io(dir))?;
        if let (Some(parent), Some(name)) = (full.parent(), full.file_name()) {
            let path = parent.canonicalize().map_err(io(&full))?.join(name);
            if let Some(entry) = mounts::mounted_at(&path).map_err(io(&path))? {
                return Ok(Self { path, mounted: Some(entry) });
            }
        }
        let path = full.canonicalize().map_err(io(&full))?;
        let mounted = mounts::mounted_at(&path).map_err(io(&path))?;
        Ok(Self { path, mounted })
    }

    /// Makes ready to mount at `dir`: whoever calls holds the lock of the state, so what is mounted there is
    /// dead, another's, or on its way out.
    ///
    /// # Errors
    /// See [`PlaceError`].
    pub fn prepare(env: &Env, home: &Home, dir: &Path) -> Result<PathBuf, PlaceError> {
        let deadline = env.clock.monotonic() + ENDING_WAIT;
        let (mutex, condvar) = (Mutex::new(()), Condvar::new());
        loop {
            let place = Self::find(dir)?;
            let Some(entry) = place.mounted else {
                check_free(home, &place.path)?;
                return Ok(place.path);
            };
            match mounts::pulse(&place.path) {
                Pulse::Dead => mounts::clear(&place.path).map_err(stuck(&place.path))?,
                _ if entry.fs_type == FS_TYPE && env.clock.monotonic() < deadline => {
                    condvar.wait_for(&mut mutex.lock(), POLL);
                }
                _ => return Err(PlaceError::Taken { path: place.path, kind: entry.fs_type }),
            }
        }
    }

    /// Takes a dead mount of this program away, if there is one at `path`.
    ///
    /// # Errors
    /// `Stuck`.
    pub fn clear_dead(path: &Path) -> Result<bool, PlaceError> {
        mounts::clear_dead(path).map_err(stuck(path))
    }
}

fn stuck(path: &Path) -> impl FnOnce(io::Error) -> PlaceError {
    let path = path.to_owned();
    move |source| PlaceError::Stuck { path, source }
}

fn check_free(home: &Home, path: &Path) -> Result<(), PlaceError> {
    let state = home.dir().canonicalize().unwrap_or_else(|_| home.dir().to_owned());
    if path.starts_with(&state) || state.starts_with(path) {
        return Err(PlaceError::InState { dir: path.to_owned(), home: state });
    }
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotADirectory => PlaceError::NotADirectory(path.to_owned()),
        _ => PlaceError::Io { path: path.to_owned(), source },
    };
    let mut entries = std::fs::read_dir(path).map_err(failed)?;
    if entries.next().is_some() { Err(PlaceError::NotEmpty(path.to_owned())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_mount_point_is_found_through_symlinks_and_dots() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("/proc", &link).unwrap();
        for way in [link.as_path(), Path::new("/proc/"), Path::new("/proc/self/.."), Path::new("/proc/.")] {
            let place = Place::find(way).unwrap();
            assert!(place.mounted.is_some_and(|entry| entry.mount_point == place.path), "{}", way.display());
        }
        let place = Place::find(dir.path()).unwrap();
        assert_eq!((place.path, place.mounted), (dir.path().canonicalize().unwrap(), None));
    }

    #[test]
    fn only_an_empty_directory_apart_from_the_state_will_do() {
        let dir = tempfile::tempdir().unwrap();
        let (env, home) = (Env::real(), Home::at(&dir.path().join("home")));
        let make = |name: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(&path).unwrap();
            path
        };
        let prepare = |path: &Path| Place::prepare(&env, &home, path);
        let good = make("good");
        assert_eq!(prepare(&good).unwrap(), good.canonicalize().unwrap());
        assert!(matches!(prepare(&dir.path().join("none")), Err(PlaceError::Missing(_))));
        assert!(matches!(prepare(&make("home")), Err(PlaceError::InState { .. })));
        assert!(matches!(prepare(&make("home/inner")), Err(PlaceError::InState { .. })));
        assert!(matches!(prepare(dir.path()), Err(PlaceError::InState { .. })));
        std::fs::write(good.join("f"), "").unwrap();
        assert!(matches!(prepare(&good), Err(PlaceError::NotEmpty(_))));
        assert!(matches!(prepare(&good.join("f")), Err(PlaceError::NotADirectory(_))));
        assert!(matches!(prepare(Path::new("/proc")), Err(PlaceError::Taken { .. })));
    }
}
