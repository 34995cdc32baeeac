//! Owns the kernel's protocol and nothing else: each call is one span, one call into `vfs`, one reply. Decides
//! nothing that a program could see; the one table of errno numbers is `errno`.
//!
//! Architecture invariant: a worker thread never waits for the network (what must wait moves to the runtime with
//! its reply, see `runner`) and never sends an invalidation (see `notifier`): both would stop the mount.
//!
//! Start reading at `filesystem`.

mod attr;
mod attr_flags;
mod backings;
mod crew;
mod errno;
mod filesystem;
mod given_up;
mod init;
mod linger;
mod mounts;
mod notices;
mod notifier;
mod readdir;
mod ready;
mod replay;
mod reply;
mod runner;
mod session;
mod signals;
mod takeover;
#[cfg(test)]
mod tests;
mod unknown;
mod waits;

pub use backings::KernelBackings;
pub use notices::serve_notices;
pub use notifier::KernelNotifier;
pub use replay::serve_replay;
pub use session::{MountOptions, Session, mount};
pub use takeover::{Agreed, Inherited};
pub use waits::Waits;
