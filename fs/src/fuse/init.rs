//! Owns what is agreed with the kernel when a mount begins.

use fuser::{InitFlags, KernelConfig};

/// Largest write, and with it largest read, of one request: what the kernel can do without root's help.
pub(super) const WRITE_BYTES_MAX: u32 = 1 << 20;
/// Read-ahead requests that may be on their way at once: enough to keep a wide wire busy.
const BACKGROUND_MAX: u16 = 64;

/// What is asked for, as far as the kernel has it. Not asked for, on purpose: the writeback cache (write(2) would
/// return before this process has the bytes), POSIX and flock locks (the kernel keeps them rightly itself), EXPORT (no lookups of ".."), ABORT_ERROR (fuser takes only ENODEV for
/// an end), ATOMIC_O_TRUNC (with it the kernel
/// lets O_RDONLY|O_TRUNC empty a program that runs), AUTO_INVAL_DATA (it throws the cache away at every change of mtime).
const WANTED: [InitFlags; 7] = [
    // Lookups and listings of one folder do not wait for each other.
    InitFlags::FUSE_PARALLEL_DIROPS,
    // Listings bring attributes when somebody seems to want them.
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_READDIRPLUS_AUTO,
    // A link's target never changes.
    InitFlags::FUSE_CACHE_SYMLINKS,
    // Pages go when an invalidation says so, and only then.
    InitFlags::FUSE_EXPLICIT_INVAL_DATA,
    // `vfs` clears setuid bits and capabilities; else the kernel asks for a capability xattr before every write.
    InitFlags::FUSE_HANDLE_KILLPRIV_V2,
    // A file opened with O_DIRECT can still be mapped.
    InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP,
];

/// What a mount that shows stored owners asks for as well.
const WANTED_POSIX: [InitFlags; 2] = [
    // The kernel enforces ACLs.
    InitFlags::FUSE_POSIX_ACL,
    // Whether the umask applies depends on the folder's default ACL, so `vfs` applies it.
    InitFlags::FUSE_DONT_MASK,
];

/// How many file systems may lie above each other below a file that is passed through: the state lies on an ordinary one.
const STACK_DEPTH_MAX: u32 = 1;

/// Agrees that the kernel may serve complete files from their backing files, by itself. It allows that to root alone.
///
/// # Errors
/// Why it cannot.
pub(super) fn agree_passthrough(config: &mut KernelConfig) -> Result<(), String> {
    let refused = |_| "this kernel cannot (Linux 6.9 can)".to_owned();
    config.add_capabilities(InitFlags::FUSE_PASSTHROUGH).map_err(refused)?;
    // The constant is within fuser's bounds.
    config.set_max_stack_depth(STACK_DEPTH_MAX).map(drop).map_err(|_| "it cannot be asked for".to_owned())
}

/// What may be asked for or not, passthrough included.
pub(super) fn optional() -> InitFlags {
    WANTED.into_iter().chain(WANTED_POSIX).fold(InitFlags::FUSE_PASSTHROUGH, InitFlags::union)
}

/// Agrees on all of it, and says on what. What an older kernel lacks is left out.
pub(super) fn agree(config: &mut KernelConfig, posix: bool) -> InitFlags {
    let more: &[InitFlags] = if posix { &WANTED_POSIX } else { &[] };
    let mut taken = InitFlags::empty();
    for &flag in WANTED.iter().chain(more) {
        if config.add_capabilities(flag).is_err() {
            tracing::debug!(?flag, "this kernel lacks a capability");
        } else {
            taken |= flag;
        }
    }
    // Values beyond what fuser can do come back as errors with the nearest; these constants are below.
    let _ = config.set_max_write(WRITE_BYTES_MAX);
    let _ = config.set_max_background(BACKGROUND_MAX);
    taken
}
