//! A control group whose processes can be frozen as the system does before it sleeps: a process in an uninterruptible
//! call cannot be.

use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// A group. Thaws its processes when dropped, and goes.
#[derive(Debug)]
pub struct Freezer {
    parent: PathBuf,
    dir: PathBuf,
    version: Version,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl Freezer {
    /// An empty group, below the one of this process. None where this process may not make one.
    pub fn new(name: &str) -> Option<Self> {
        let memberships = fs::read_to_string("/proc/self/cgroup").ok()?;
        memberships.lines().find_map(|line| Self::below(line, name))
    }

    fn below(membership: &str, name: &str) -> Option<Self> {
        let (root, path, version) = hierarchy(membership)?;
        let parent = root.join(path.trim_start_matches('/'));
        let dir = parent.join(format!("tarn-{name}-{}", std::process::id()));
        fs::create_dir(&dir).ok()?;
        let freezer = Self { parent, dir, version };
        // The root of a hierarchy cannot be frozen, nor what an old kernel does not know how to.
        let is_usable = freezer.dir.join(freezer.switch().0).exists();
        is_usable.then_some(freezer)
    }

    /// Adds a process; what it starts later belongs to the group, too.
    ///
    /// # Errors
    /// What the system says.
    pub fn add(&self, pid: u32) -> Result<()> {
        fs::write(self.dir.join("cgroup.procs"), pid.to_string()).with_context(|| format!("adding {pid}"))
    }

    /// Begins to freeze its processes.
    ///
    /// # Errors
    /// What the system says.
    pub fn freeze(&self) -> Result<()> {
        let (file, frozen, _) = self.switch();
        fs::write(self.dir.join(file), frozen).context("freezing")
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// What the system says.
    pub fn thaw(&self) -> Result<()> {
        let (file, _, thawed) = self.switch();
        fs::write(self.dir.join(file), thawed).context("thawing")
    }

    /// Whether all of them are frozen.
    pub fn is_frozen(&self) -> bool {
        let (file, word) = match self.version {
            Version::One => ("freezer.state", "FROZEN"),
            Version::Two => ("cgroup.events", "frozen 1"),
        };
        fs::read_to_string(self.dir.join(file)).is_ok_and(|text| text.lines().any(|line| line == word))
    }

    /// The file that freezes, and what is written to it.
    fn switch(&self) -> (&'static str, &'static str, &'static str) {
        match self.version {
            Version::One => ("freezer.state", "FROZEN", "THAWED"),
            Version::Two => ("cgroup.freeze", "1", "0"),
        }
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        // Processes may have ended meanwhile, and then the group may be gone with its last one's end only.
        let _ = self.thaw();
        let members = fs::read_to_string(self.dir.join("cgroup.procs")).unwrap_or_default();
        for pid in members.lines() {
            let _ = fs::write(self.parent.join("cgroup.procs"), pid);
        }
        let _ = fs::remove_dir(&self.dir);
    }
}

/// Where the hierarchy is mounted that a line of `/proc/self/cgroup` tells of, if it can freeze.
fn hierarchy(membership: &str) -> Option<(PathBuf, &str, Version)> {
    let (controllers, path) = membership.split_once(':')?.1.split_once(':')?;
    if controllers.split(',').any(|one| one == "freezer") {
        return Some(("/sys/fs/cgroup/freezer".into(), path, Version::One));
    }
    let unified = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new).into_iter();
    let unified = unified.filter(|_| controllers.is_empty()).find(|root| root.join("cgroup.controllers").exists());
    unified.map(|root| (root.to_owned(), path, Version::Two))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_freeze_is_taken() {
        let found = hierarchy("4:freezer:/a/b").map(|(root, path, version)| (root, path.to_owned(), version));
        assert_eq!(found, Some(("/sys/fs/cgroup/freezer".into(), "/a/b".into(), Version::One)));
        assert_eq!(hierarchy("3:cpu,cpuacct:/"), None);
        assert_eq!(hierarchy("nonsense"), None);
    }
}
