//! Owns the file in which a daemon says where it is mounted and listens. It proves nothing (the lock does): it may
//! outlive its daemon, and then tells which mount point is dead.

use super::{Home, disk_file};
use crate::control::MountPath;
use crate::env::Env;
use crate::env::mounts::{self, FS_TYPE, MountEntry};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;

/// What a daemon says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    /// Its process.
    pub pid: u32,
    /// The process that starts the next one should this crash.
    #[serde(default)]
    pub supervisor: Option<u32>,
    /// Where it is mounted.
    pub mount: MountPath,
    /// Where it listens.
    pub socket: MountPath,
    /// The connection between the mount and the daemon ([`MountEntry::device`]).
    #[serde(default)]
    pub connection: Option<u32>,
}

impl Marker {
    /// Of this process, mounted and listening there.
    pub fn of_this_process(mount: &Path, socket: &Path, supervisor: Option<u32>) -> Self {
        let connection = mounts::mounted_at(mount).ok().flatten().map(|entry| entry.device);
        let (mount, socket) = (MountPath::new(mount), MountPath::new(socket));
        Self { pid: std::process::id(), supervisor, mount, socket, connection }
    }

    /// The mount of a daemon that was killed, if it still stands and is nobody else's by now.
    pub fn left_behind(&self) -> Option<MountEntry> {
        let entry = mounts::mounted_at(&self.mount.to_path()).ok()??;
        let is_its = entry.fs_type == FS_TYPE && Some(entry.device) == self.connection;
        (is_its && !self.is_served()).then_some(entry)
    }

    /// Whether somebody would start the next daemon.
    pub fn has_supervisor(&self) -> bool {
        self.supervisor.is_some_and(runs)
    }

    /// Whether its daemon serves it, or another one will in a moment.
    fn is_served(&self) -> bool {
        [Some(self.pid), self.supervisor].into_iter().flatten().any(runs)
    }

    /// What the last daemon of this home said; `None` if it ended in order, or said something unreadable.
    pub fn load(env: &Env, home: &Home) -> Option<Self> {
        disk_file::read_json(env, &home.marker_file()).ok()?
    }

    /// Writes it.
    ///
    /// # Errors
    /// What the file system says.
    pub fn save(&self, env: &Env, home: &Home) -> io::Result<()> {
        disk_file::replace_json(env, &home.marker_file(), self)
    }

    /// Removes it: this daemon ended in order.
    ///
    /// # Errors
    /// What the file system says.
    pub fn remove(env: &Env, home: &Home) -> io::Result<()> {
        disk_file::remove(env, &home.marker_file())
    }
}

/// A process that was killed and still has a thread in the kernel does not run any more.
pub(super) fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The program's name may hold blanks and parentheses.
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn it_tells_of_the_last_daemon_until_it_ends_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let (env, home) = (Env::real(), Home::at(dir.path()));
        assert_eq!(Marker::load(&env, &home), None);
        let marker = Marker::of_this_process(Path::new("/m"), home.socket(), None);
        marker.save(&env, &home).unwrap();
        assert_eq!(Marker::load(&env, &home), Some(marker));
        Marker::remove(&env, &home).unwrap();
        Marker::remove(&env, &home).unwrap();
        assert_eq!(Marker::load(&env, &home), None);
    }
}
