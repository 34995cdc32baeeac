//! A disk whose power can be cut: a file system of its own in an image, that is told to forget what it has not written.

use crate::device::Device;
use crate::mounts::{unmount_by_force, unmount_lazily};
use crate::wait::within;
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// Enough for a few hundred files and the log.
const IMAGE_BYTES: u64 = 768 << 20;
/// `EXT4_IOC_SHUTDOWN`, which XFS names `XFS_IOC_GOINGDOWN`.
const SHUTDOWN: libc::c_ulong = 0x8004_587d;
/// Neither the file system's own journal nor anything else is written any more.
const WITHOUT_FLUSHING: u32 = 2;

/// A process that was killed lets go of its files within this.
const FREE: Duration = Duration::from_secs(20);

/// The file systems that are cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// ext4
    Ext4,
    /// XFS
    Xfs,
}

/// A mounted image. Taken away when dropped.
#[derive(Debug)]
pub struct Disk {
    folder: TempDir,
    mount: PathBuf,
}

impl Disk {
    /// A fresh disk; `None` where images cannot be mounted, as in most containers and for ordinary users.
    ///
    /// # Errors
    /// What the tools said.
    pub fn new(kind: Kind) -> Result<Option<Self>> {
        // SAFETY: takes nothing, cannot fail.
        if unsafe { libc::geteuid() } != 0 {
            return Ok(None);
        }
        let folder = tempfile::Builder::new().prefix("tarn-disk-").tempdir()?;
        let mount = folder.path().join("disk");
        fs::create_dir(&mount)?;
        File::create(folder.path().join("image"))?.set_len(IMAGE_BYTES)?;
        let disk = Self { folder, mount };
        match kind {
            Kind::Ext4 => run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(disk.image()))?,
            Kind::Xfs => run(Command::new("mkfs.xfs").args(["-q", "-f"]).arg(disk.image()))?,
        }
        Ok(disk.attach().is_ok().then_some(disk))
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// Cuts the power: what was not written by now never will be.
    ///
    /// # Errors
    /// What the file system says.
    pub fn cut(&self) -> Result<()> {
        let root = File::open(&self.mount)?;
        // SAFETY: the call reads one integer through the pointer, which outlives it.
        let done = unsafe { libc::ioctl(root.as_raw_fd(), SHUTDOWN, &WITHOUT_FLUSHING) };
        if done != 0 {
            bail!("the power cannot be cut: {}", std::io::Error::last_os_error());
        }
        Ok(())
    }

    /// Switches it on again, once those who used it are gone.
    ///
    /// # Errors
    /// What `umount` and `mount` said.
    pub fn restart(&self) -> Result<()> {
        let mut unmounted = Ok(());
        within(FREE, || {
            unmounted = run(Command::new("umount").arg(&self.mount));
            unmounted.is_ok()
        });
        unmounted?;
        self.attach()
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("image")
    }

    fn attach(&self) -> Result<()> {
        run(Command::new("mount").args(["-o", "loop"]).arg(self.image()).arg(&self.mount))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        unmount_lazily(&self.mount);
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// Cuts the power of the disk that a device's state is on, switches it on again and mounts the device.
///
/// # Errors
/// What could not be done.
pub fn cut(disk: &Disk, device: &Device, about_to: &dyn Fn()) -> Result<()> {
    let daemon = device.daemon()?;
    about_to();
    // A disk that is being cut may still say that it has everything: nobody must act on that.
    daemon.freeze();
    disk.cut()?;
    daemon.signal(libc::SIGKILL);
    unmount_by_force(device.path());
    daemon.kill();
    disk.restart()?;
    device.mount()
}
