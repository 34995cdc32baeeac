//! Owns a standing mount: how it is made, ended, and how its end is noticed.

use super::backings::KernelBackings;
use super::filesystem::Mounted;
use super::mounts::gone;
use super::notifier::KernelNotifier;
use super::ready::{map_buffers_alone, put_aside};
use super::replay::Replays;
use super::runner::Runner;
use super::takeover::{Agreed, Inherited, renew, take_over};
use super::waits::Waits;
use crate::env::end_players_of;
use crate::env::mounts::{FS_TYPE, clear_dead, mounted_at, unmount};
use crate::vfs::Vfs;
use fuser::{BackgroundSession, Config, MountOption, SessionACL};
use std::io;
use std::mem::{ManuallyDrop, replace};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// Worker threads. Calls are short and never wait, so a few are enough.
const THREADS: usize = 4;

/// An unmount waits so long for changes from elsewhere to be told.
const PLAYER_WAIT: Duration = Duration::from_secs(1);

/// How to mount. What is shown is decided by [`crate::vfs::Options`].
#[derive(Debug, Clone)]
pub struct MountOptions {
    /// Where.
    pub mountpoint: PathBuf,
    /// The source in the table of mounts. With a ":" in it df and file managers know it as remote.
    pub source: String,
    /// Other users may enter.
    pub allow_other: bool,
    /// How long a call may wait for the network.
    pub read_timeout: Duration,
    /// The calls that wait for it.
    pub waits: Arc<Waits>,
    /// What gives files to the kernel.
    pub backings: Arc<KernelBackings>,
}

/// A standing mount.
#[derive(Debug)]
pub struct Session {
    mountpoint: PathBuf,
    device: OwnedFd,
    agreed: Option<Agreed>,
    ended: watch::Receiver<bool>,
    serving: JoinHandle<io::Result<()>>,
    replays: Arc<Replays>,
}

/// Mounts, or goes on with a mount that stands. It answers when this returns.
///
/// # Errors
/// The reason why it cannot be mounted.
pub fn mount(
    vfs: Arc<Vfs>,
    notifier: &Arc<KernelNotifier>,
    options: &MountOptions,
    runtime: &Handle,
    inherited: Option<&Inherited>,
) -> io::Result<Session> {
    let config = config(&vfs, options);
    let runner = Runner {
        vfs: Arc::clone(&vfs),
        runtime: runtime.clone(),
        patience: options.read_timeout,
        waits: Arc::clone(&options.waits),
        given_up: Arc::default(),
        crew: Arc::default(),
    };
    let watcher = runner.clone();
    let mounted = Mounted::new(runner);
    let (agreed, gate) = (mounted.agreed(), mounted.gate());
    let Begun { session, mountpoint, device, socket } = begin(mounted, &vfs, options, &config, inherited)?;
    options.backings.attach(device.try_clone()?);
    watcher.crew.attach(device.try_clone()?);
    watcher.look_at(vfs.left_lent());
    let sender = notifier.attach(device.try_clone()?, Arc::clone(&vfs))?;
    let (ends, ended) = watch::channel(false);
    watch_table(&mountpoint, ends.clone(), runtime);
    let (notifier, place, replays) = (Arc::clone(notifier), mountpoint.clone(), Arc::clone(notifier.replays()));
    let teller = device.try_clone()?;
    // SAFETY: the session's threads keep it open, and end after what is done here.
    let own = unsafe { BorrowedFd::borrow_raw(session.as_fd().as_raw_fd()) };
    let session = ManuallyDrop::new(session.spawn()?);
    gate.open_to((socket.as_fd(), own), device.as_fd(), THREADS)?;
    if let Some(inherited) = inherited {
        renew(session.notifier(), inherited.inode_max)?;
    }
    if let Err(error) = notifier.begin_replays(teller, vfs, &place) {
        tracing::warn!(%error, "programs that watch are not told of changes from elsewhere");
    }
    let serving = Builder::new().name("fuse-session".into()).spawn(move || {
        let outcome = serve(session);
        if let Err(error) = clear_dead(&place) {
            tracing::warn!(%error, "the mount point stays, dead");
        }
        notifier.detach();
        if let Some(sender) = sender
            && sender.join().is_err()
        {
            tracing::error!("the thread of invalidations panicked");
        }
        ends.send_replace(true);
        outcome
    })?;
    let agreed = agreed.get().copied();
    Ok(Session { mountpoint, device, agreed, ended, serving, replays })
}

/// A session that reads from a socket still.
struct Begun {
    session: fuser::Session<Mounted>,
    mountpoint: PathBuf,
    /// The connection to the kernel, from which it is to read.
    device: OwnedFd,
    /// The other end of what it reads from.
    socket: OwnedFd,
}

fn begin(
    mounted: Mounted,
    vfs: &Vfs,
    options: &MountOptions,
    config: &Config,
    inherited: Option<&Inherited>,
) -> io::Result<Begun> {
    map_buffers_alone();
    let Some(inherited) = inherited else {
        let mountpoint = options.mountpoint.canonicalize()?;
        let session = fuser::Session::new(mounted, &mountpoint, config)?;
        let (device, socket) = put_aside(session.as_fd())?;
        return Ok(Begun { session, mountpoint, device, socket });
    };
    // Before anything that they asked the last daemon for comes once more.
    vfs.replay().refuse(end_players_of(&options.mountpoint));
    let (session, socket) = take_over(mounted, inherited, config)?;
    // It was resolved when it was mounted, and nobody would answer now.
    Ok(Begun { session, mountpoint: options.mountpoint.clone(), device: inherited.device.try_clone()?, socket })
}

/// Serves until the kernel lets go of the mount. At its end fuser 0.18 unmounts by path, for it takes a mount that is gone
/// for one that stands (mended after that release), and what stands there by then may be the next mount: so whatever of
/// fuser's would do that is never dropped.
fn serve(mut session: ManuallyDrop<BackgroundSession>) -> io::Result<()> {
    let none = Builder::new().spawn(|| Ok(()))?;
    let serving = replace(&mut session.guard, none);
    end_of(serving.join().unwrap_or_else(|_| Err(io::Error::other("a thread of the mount panicked"))))
}

/// A connection that the kernel says was aborted has ended like one that was unmounted; fuser takes ENODEV alone for an end.
fn end_of(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => Ok(()),
        outcome => outcome,
    }
}

impl Session {
    /// Where it stands.
    pub fn mountpoint(&self) -> &Path {
        &self.mountpoint
    }

    /// What the next daemon needs to go on with this mount; `None` if the kernel cannot hand it on.
    pub fn heritage(&self) -> Option<(BorrowedFd<'_>, Agreed)> {
        let agreed = self.agreed.filter(|agreed| agreed.can_be_inherited())?;
        Some((self.device.as_fd(), agreed))
    }

    /// Unmounts.
    ///
    /// # Errors
    /// `ResourceBusy` while programs use it.
    pub fn unmount(&self) -> io::Result<()> {
        // The player keeps nothing open for long.
        self.replays.aside(PLAYER_WAIT, || unmount(&self.mountpoint, false))
    }

    /// Takes the mount out of the tree at once, though programs may still use it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn detach(&self) -> io::Result<()> {
        unmount(&self.mountpoint, true)
    }

    /// Returns once the mount is gone from the tree, by whomever and however. Cancel-safe.
    pub async fn ended(&self) {
        // The sender lives in the serving thread; its end is the mount's.
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }

    /// Waits until the kernel lets go of it: at once after an unmount, after the last user's end when detached.
    ///
    /// # Errors
    /// What the kernel said last.
    pub fn join(self) -> io::Result<()> {
        self.serving.join().unwrap_or_else(|_| Err(io::Error::other("the mount's thread panicked")))
    }
}

fn config(vfs: &Vfs, options: &MountOptions) -> Config {
    let shown = vfs.options();
    let mut config = Config::default();
    config.n_threads = Some(THREADS);
    // One descriptor for all threads: a mount can outlive its daemon only through one that is shared.
    config.clone_fd = false;
    config.acl = if options.allow_other { SessionACL::All } else { SessionACL::Owner };
    config.mount_options = vec![
        MountOption::FSName(options.source.replace(',', "_")),
        // Not `Subtype`: fuser drops that on a direct mount, while the kernel takes it among the options.
        MountOption::CUSTOM(format!("subtype={}", FS_TYPE.trim_start_matches("fuse."))),
        // The kernel checks permissions by the attributes it has, better and faster than could be done here.
        MountOption::DefaultPermissions,
        // Times of reading are not kept.
        MountOption::NoAtime,
    ];
    if shown.posix && shown.privileged {
        config.mount_options.extend([MountOption::Dev, MountOption::Suid]);
    }
    if shown.read_only {
        config.mount_options.push(MountOption::RO);
    }
    config
}

/// Reports that the mount is gone from the tree.
fn watch_table(mountpoint: &Path, ends: watch::Sender<bool>, runtime: &Handle) {
    let Ok(Some(mount)) = mounted_at(mountpoint) else { return };
    runtime.spawn(async move {
        tokio::select! {
            outcome = gone(mount.id) => match outcome {
                Ok(()) => { ends.send_replace(true); }
                Err(error) => tracing::warn!(%error, "the table of mounts cannot be watched"),
            },
            () = ends.closed() => {}
        }
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::end_of;
    use std::io;

    #[test]
    fn an_aborted_connection_is_an_end_and_another_error_is_told() {
        end_of(Ok(())).unwrap();
        end_of(Err(io::Error::from_raw_os_error(libc::ECONNABORTED))).unwrap();
        assert_eq!(end_of(Err(io::Error::from_raw_os_error(libc::EIO))).unwrap_err().raw_os_error(), Some(libc::EIO));
    }
}
