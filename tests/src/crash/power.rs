//! A disk that can be broken: a file system of its own in an image. Its power is cut by telling it to forget what it has not
//! written; it is filled by a file beside; it takes no more writes once it is told that it is damaged.

use crate::device::Device;
use crate::mounts::unmount_lazily;
use crate::process::is_root;
use crate::wait::within;
use anyhow::{Context, Result, bail};
use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
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
/// Everything is written first.
const AFTER_FLUSHING: u32 = 0;
/// The file that fills it.
const BALLAST: &str = "ballast";

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
    kind: Kind,
}

impl Disk {
    /// A fresh disk; `None` where images cannot be mounted, as in most containers and for ordinary users.
    ///
    /// # Errors
    /// What the tools said.
    pub fn new(kind: Kind) -> Result<Option<Self>> {
        Self::with_bytes(kind, IMAGE_BYTES)
    }

    /// The same, with room for so much; what is not used takes none.
    ///
    /// # Errors
    /// What the tools said.
    pub fn with_bytes(kind: Kind, bytes: u64) -> Result<Option<Self>> {
        if !is_root() {
            return Ok(None);
        }
        let folder = tempfile::Builder::new().prefix("tarn-disk-").tempdir()?;
        let mount = folder.path().join("disk");
        fs::create_dir(&mount)?;
        File::create(folder.path().join("image"))?.set_len(bytes)?;
        let disk = Self { folder, mount, kind };
        match kind {
            Kind::Ext4 => run(Command::new("mkfs.ext4").args(["-q", "-F", "-e", "remount-ro"]).arg(disk.image()))?,
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
        self.shut_down(WITHOUT_FLUSHING)
    }

    fn shut_down(&self, how: u32) -> Result<()> {
        let root = File::open(&self.mount)?;
        // SAFETY: the call reads one integer through the pointer, which outlives it.
        let done = unsafe { libc::ioctl(root.as_raw_fd(), SHUTDOWN, &raw const how) };
        if done != 0 {
            bail!("the power cannot be cut: {}", std::io::Error::last_os_error());
        }
        Ok(())
    }

    /// Fills it but for so many bytes.
    ///
    /// # Errors
    /// What the file system says, except that it is full.
    pub fn fill(&self, left_bytes: u64) -> Result<()> {
        let ballast = OpenOptions::new().append(true).create(true).open(self.mount.join(BALLAST))?;
        let mut step = 64 << 20;
        while step >= 4096 {
            let excess = self.free_bytes()?.saturating_sub(left_bytes);
            let (at, length) = (ballast.metadata()?.len(), excess.min(step).next_multiple_of(4096));
            // SAFETY: takes integers.
            let done = unsafe {
                excess > 0 && libc::fallocate(ballast.as_raw_fd(), 0, at.cast_signed(), length.cast_signed()) == 0
            };
            if !done {
                step /= 4;
            }
        }
        Ok(())
    }

    /// Takes away what filled it.
    ///
    /// # Errors
    /// What the file system says.
    pub fn empty(&self) -> Result<()> {
        Ok(fs::remove_file(self.mount.join(BALLAST))?)
    }

    /// Bytes that are free to anybody.
    ///
    /// # Errors
    /// What the file system says.
    pub fn free_bytes(&self) -> Result<u64> {
        let path = CString::new(self.mount.as_os_str().as_bytes())?;
        // SAFETY: the path ends with NUL and the structure is plain numbers; both outlive the call.
        let found = unsafe {
            let mut found: libc::statvfs = std::mem::zeroed();
            (libc::statvfs(path.as_ptr(), &raw mut found) == 0).then_some(found)
        };
        let found = found.context("the free space cannot be told")?;
        Ok(found.f_bavail * found.f_frsize)
    }

    /// It takes no more writes until [`Self::restart`], as after an error that its file system has seen.
    ///
    /// # Errors
    /// What the system says.
    pub fn refuse_writes(&self) -> Result<()> {
        match self.kind {
            Kind::Ext4 => {
                let device = fs::metadata(&self.mount)?.dev();
                let link = format!("/sys/dev/block/{}:{}", libc::major(device), libc::minor(device));
                let name = fs::canonicalize(link)?.file_name().context("a device without a name")?.to_owned();
                Ok(fs::write(Path::new("/sys/fs/ext4").join(name).join("trigger_fs_error"), "1")?)
            }
            Kind::Xfs => self.shut_down(AFTER_FLUSHING),
        }
    }

    /// Tries what an administrator does: `mount -o remount,ro`. Whether it was done.
    ///
    /// # Errors
    /// If the command cannot be run.
    pub fn remount_read_only(&self) -> Result<bool> {
        let mut command = Command::new("mount");
        let output = command.args(["-o", "remount,ro"]).arg(&self.mount).output()?;
        Ok(output.status.success())
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
    device.kill_with_waiters(daemon);
    disk.restart()?;
    device.mount()
}
