//! Owns who uses a mount: programs with an open file, a current directory or a map in it. Reads /proc only, never the mount.

use std::fmt;
use std::path::{Path, PathBuf};

/// A process that uses the mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its process id.
    pub pid: u32,
    /// Its name.
    pub name: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.name, self.pid)
    }
}

/// Processes that use what is at or below `mount`, as far as this user may look.
pub fn holders(mount: &Path) -> Vec<Holder> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| uses(*pid, mount)).map(named).collect()
}

fn named(pid: u32) -> Holder {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Holder { pid, name: name.trim().to_owned() }
}

fn uses(pid: u32, mount: &Path) -> bool {
    let proc = PathBuf::from(format!("/proc/{pid}"));
    let leads_in = |link: PathBuf| std::fs::read_link(link).is_ok_and(|to| to.starts_with(mount));
    let links_in = |folder: &str| {
        let entries = std::fs::read_dir(proc.join(folder)).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).any(leads_in)
    };
    leads_in(proc.join("cwd"))
        || leads_in(proc.join("root"))
        || leads_in(proc.join("exe"))
        || links_in("fd")
        || links_in("map_files")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn whoever_has_a_file_open_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().canonicalize().unwrap();
        assert_eq!(holders(&place), []);
        let open = std::fs::File::create(place.join("f")).unwrap();
        let found = holders(&place);
        assert!(found.iter().any(|holder| holder.pid == std::process::id()), "{found:?}");
        drop(open);
    }
}
