//! Owns the rules of PATH: a mount point means the mount, anything below it is named relative to it, and no PATH
//! means the only mount of this TARN_HOME. Never touches what is in a mount.

use super::Context;
use super::exit::WrongUsage;
use super::wait::late;
use crate::control::{Client, ClientError, GREETING_TIMEOUT, MountPath};
use crate::daemon::Marker;
use crate::env::mounts::{self, FS_TYPE};
use anyhow::{Context as _, Result, anyhow, bail};
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

/// More symlinks on the way are a loop.
const SYMLINKS_MAX: usize = 40;
/// How often is looked whether the next daemon listens.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The daemon of this home, connected, and where it is mounted.
pub(super) struct Mounted {
    pub client: Client,
    pub mount: PathBuf,
}

impl Mounted {
    /// Connects to the daemon of this home.
    pub async fn connect(context: &Context) -> Result<Self> {
        Self::connect_within(context, None).await
    }

    /// The same; a daemon that says nothing until the time is over has not finished in time.
    pub async fn connect_within(context: &Context, timeout: Option<Duration>) -> Result<Self> {
        let Some(marker) = Marker::load(&context.env, &context.home) else {
            return Self::connect_unmarked(context).await;
        };
        let last = &marker.mount;
        let client = connect_to_next(context, &marker, timeout.unwrap_or(GREETING_TIMEOUT)).await;
        let client = client.map_err(|error| match (error, timeout) {
            (ClientError::NoDaemon, _) if marker.has_supervisor() => anyhow!(
                "the daemon of {last} has ended, and its supervisor is having the next one go on with the mount: try again in a \
                 moment (the log says more)"
            ),
            (ClientError::NoDaemon, _) => anyhow!(
                "the daemon of {last} is gone; `tarn mount {last}` brings it back with everything that is not uploaded yet"
            ),
            (ClientError::Silent, None) => anyhow!("the daemon of {last} (pid {}) does not answer", marker.pid),
            (error, timeout) => late(error, timeout),
        })?;
        let mount = client.hello().mount.to_path();
        Ok(Self { client, mount })
    }

    /// The daemon may serve though the disk of its home cannot be read any more.
    async fn connect_unmarked(context: &Context) -> Result<Self> {
        let Ok(client) = Client::connect(context.home.socket()).await else {
            bail!("nothing is mounted for {}: run `tarn mount DIR`", context.home.dir().display());
        };
        let mount = client.hello().mount.to_path();
        Ok(Self { client, mount })
    }

    /// Refuses a PATH that is not the mount itself; `why` says what is of the whole mount.
    pub fn must_be_whole(&self, path: Option<&Path>, why: &str) -> Result<()> {
        let path = self.below(path)?;
        if path.as_bytes().is_empty() {
            Ok(())
        } else {
            Err(WrongUsage(format!("{path} is not the mount point: {why}")).into())
        }
    }

    /// The path below the mount; empty for the mount itself, and without PATH.
    pub fn below(&self, path: Option<&Path>) -> Result<MountPath> {
        let Some(path) = path else { return Ok(MountPath::new(Path::new(""))) };
        let full = absolute(path)?;
        match below(&self.mount, &full, |link| std::fs::read_link(link).ok()) {
            Some(inside) => Ok(MountPath::new(&inside)),
            None => Err(outside(&self.mount, path, &full)),
        }
    }

    /// All of these paths.
    pub fn all_below(&self, paths: &[PathBuf]) -> Result<Vec<MountPath>> {
        paths.iter().map(|path| self.below(Some(path))).collect()
    }
}

/// Connects to the daemon of a mount; waits for the next one if there will be one.
async fn connect_to_next(context: &Context, marker: &Marker, patience: Duration) -> Result<Client, ClientError> {
    let (clock, socket) = (&context.env.clock, marker.socket.to_path());
    let deadline = clock.monotonic() + patience;
    loop {
        match Client::connect_within(&socket, patience).await {
            Err(ClientError::NoDaemon | ClientError::Ended)
                if marker.has_supervisor() && clock.monotonic() < deadline =>
            {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            connected => return connected,
        }
    }
}

/// The path from the root, with its dots: what they mean depends on symlinks.
pub(super) fn absolute(path: &Path) -> Result<PathBuf> {
    if path.is_absolute() {
        return Ok(path.to_owned());
    }
    Ok(std::env::current_dir().context("the current directory is gone")?.join(path))
}

fn outside(mount: &Path, path: &Path, full: &Path) -> anyhow::Error {
    let entry = mounts::mounted_at(full).ok().flatten();
    let (path, mount) = (path.display(), mount.display());
    if entry.is_some_and(|entry| entry.fs_type == FS_TYPE) {
        return anyhow!("{path} is the mount of another TARN_HOME (this one's is {mount})");
    }
    anyhow!("{path} is not in the mount of this TARN_HOME, which is {mount}")
}

/// Follows `path` to the mount, and from there on takes it as it is written. `None` if it does not lead there.
fn below(mount: &Path, path: &Path, read_link: impl Fn(&Path) -> Option<PathBuf>) -> Option<PathBuf> {
    let mut todo = steps(path);
    let mut at = PathBuf::from("/");
    let mut symlinks = 0;
    while let Some(step) = todo.pop() {
        match step {
            Step::Root => at = PathBuf::from("/"),
            // Above the root is the root.
            Step::Up => drop(at.pop()),
            Step::Down(name) => {
                at.push(name);
                let is_inside = at.starts_with(mount);
                if let Some(to) = (!is_inside).then(|| read_link(&at)).flatten() {
                    symlinks += 1;
                    if symlinks > SYMLINKS_MAX {
                        return None;
                    }
                    at.pop();
                    todo.extend(steps(&to));
                }
            }
        }
    }
    at.strip_prefix(mount).ok().map(Path::to_owned)
}

enum Step {
    Root,
    Up,
    Down(OsString),
}

/// The steps of a path, the last one first.
fn steps(path: &Path) -> Vec<Step> {
    let steps = path.components().rev().filter_map(|component| match component {
        Component::RootDir => Some(Step::Root),
        Component::ParentDir => Some(Step::Up),
        Component::Normal(name) => Some(Step::Down(name.to_owned())),
        Component::CurDir | Component::Prefix(_) => None,
    });
    steps.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str) -> Option<String> {
        let links = [
            ("/home/a/cloud", "/mnt/Tarn"),
            ("/home/a/deep", "../a/cloud/x"),
            ("/loop", "/loop"),
            ("/home/b", "a"),
            // What the mount holds is not looked at.
            ("/mnt/Tarn/link", "/etc"),
        ];
        let read_link = |at: &Path| {
            let found = links.iter().find(|(link, _)| Path::new(link) == at);
            found.map(|(_, to)| PathBuf::from(to))
        };
        below(Path::new("/mnt/Tarn"), Path::new(path), read_link).map(|path| path.display().to_string())
    }

    #[test]
    fn a_path_is_followed_to_the_mount_and_no_further() {
        let cases = [
            ("/mnt/Tarn", Some("")),
            ("/mnt/Tarn/", Some("")),
            ("/mnt/./Tarn/a//b", Some("a/b")),
            ("/mnt/Tarn/a/../b", Some("b")),
            ("/mnt/Tarn/../Tarn/b", Some("b")),
            ("/home/a/cloud/x", Some("x")),
            ("/home/a/deep/y", Some("x/y")),
            ("/home/b/cloud", Some("")),
            ("/mnt/Tarn/link", Some("link")),
            ("/../mnt/Tarn", Some("")),
            ("/mnt/Tarnish", None),
            ("/mnt", None),
            ("/mnt/Tarn/..", None),
            ("/loop/x", None),
        ];
        for (path, expected) in cases {
            assert_eq!(found(path).as_deref(), expected, "{path}");
        }
    }
}
