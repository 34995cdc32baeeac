//! Owns the going away of a mount: by command, by signal, by anybody's umount. Says who keeps it busy.

use super::{Holder, holders};
use crate::control::Failure;
use async_trait::async_trait;
use std::fmt::Debug;
use std::io;
use std::path::PathBuf;

/// More programs are not named.
const HOLDERS_NAMED_MAX: usize = 5;

/// A mount that stands.
#[async_trait]
pub trait StandingMount: Send + Sync + Debug {
    /// Takes it away; `ResourceBusy` while programs use it.
    ///
    /// # Errors
    /// What the system says.
    fn unmount(&self) -> io::Result<()>;
    /// Takes it out of the tree at once, whoever uses it.
    ///
    /// # Errors
    /// What the system says.
    fn detach(&self) -> io::Result<()>;
    /// Returns once it is gone from the tree. Cancel-safe.
    async fn gone(&self);
}

/// The mount and how it goes away.
#[derive(Debug)]
pub struct Ending {
    mount: Box<dyn StandingMount>,
    path: PathBuf,
}

impl Ending {
    /// Of the mount at `path`.
    pub fn new(mount: Box<dyn StandingMount>, path: PathBuf) -> Self {
        Self { mount, path }
    }

    /// Takes the mount away if nobody uses it.
    ///
    /// # Errors
    /// Names the programs that do.
    pub fn take_away(&self) -> Result<(), Failure> {
        match self.mount.unmount() {
            Ok(()) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::ResourceBusy => Err(Failure::failed(self.busy(&holders(&self.path)))),
            Err(e) => Err(Failure::failed(format_args!("{} cannot be unmounted: {e}", self.path.display()))),
        }
    }

    /// Takes the mount away, whoever uses it. What they have open fails from then on.
    pub fn take_away_now(&self) {
        if self.mount.unmount().is_ok() {
            return;
        }
        if let Err(error) = self.mount.detach() {
            tracing::error!(%error, "the mount cannot be taken away");
        }
    }

    /// Returns once the mount is gone. Cancel-safe.
    pub async fn gone(&self) {
        self.mount.gone().await;
    }

    /// Adds to why a mount stays what would keep it besides: the programs that use it.
    pub fn busy_too(&self, mut failure: Failure) -> Failure {
        let found = holders(&self.path);
        if !found.is_empty() {
            failure.message = format!("{}; {}", failure.message, self.busy(&found));
        }
        failure
    }

    fn busy(&self, found: &[Holder]) -> String {
        let mut names: Vec<String> = found.iter().take(HOLDERS_NAMED_MAX).map(ToString::to_string).collect();
        if found.len() > HOLDERS_NAMED_MAX {
            names.push(format!("{} more", found.len() - HOLDERS_NAMED_MAX));
        }
        let who = if names.is_empty() { "a program of another user".to_owned() } else { names.join(", ") };
        format!("{} is in use by {who}: end that, or unmount with --now", self.path.display())
    }
}
