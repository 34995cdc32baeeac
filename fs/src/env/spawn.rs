//! Owns what a process that is started is not to inherit, and with whom it ends.

use std::io;

/// Marks all descriptors but the standard ones to be closed at exec: for `pre_exec`. Closes none now.
///
/// # Errors
/// None: a kernel without the call hands on what it was given, and nothing else is lost.
pub fn close_on_exec() -> io::Result<()> {
    let (first, last, close_on_exec) = (3u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC);
    // SAFETY: marks descriptors; closes none now.
    let marked = unsafe { libc::syscall(libc::SYS_close_range, first, last, close_on_exec) };
    let _older_kernel = marked;
    Ok(())
}

/// Has the process end with the thread that started it: for `pre_exec`.
///
/// # Errors
/// What the system says.
pub fn end_with_parent() -> io::Result<()> {
    // SAFETY: changes one setting of the calling process.
    let set = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
