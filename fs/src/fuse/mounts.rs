//! Owns noticing that a mount is gone from the kernel's table though programs still use it (lazy unmount): the
//! kernel keeps such a session, and the daemon would never know.

use crate::env::mounts::table;
use std::fs::File;
use std::io;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Returns once the mount of this id is not in the table. Asks the kernel to be woken, does not poll.
pub(super) async fn gone(id: u64) -> io::Result<()> {
    // SAFETY: a `File` owns its descriptor and names the same one as long as it lives.
    let changes = unsafe { AsyncFd::register_with_interest(File::open("/proc/self/mountinfo")?, Interest::PRIORITY)? };
    while table()?.iter().any(|mount| mount.id == id) {
        changes.ready(Interest::PRIORITY).await?.clear_ready();
    }
    Ok(())
}
