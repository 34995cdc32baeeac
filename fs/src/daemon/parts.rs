//! Owns the parts of the house that answer the command line, and the small ports between parts that do not
//! know each other.

use super::Ending;
use crate::content::Contents;
use crate::control::Failure;
use crate::fuse::KernelNotifier;
use crate::hydrate::Hydrator;
use crate::journal::Journal;
use crate::meta::rows::Ino;
use crate::remote::RemoteError;
use crate::sync::{Lister, SyncHandle};
use crate::tree::{NodeType, Tree, TreeError, Unlisted};
use crate::vfs::Vfs;
use crate::vfs::ports::{self, BringError};
use async_trait::async_trait;
use std::sync::Arc;
use tarn_proto::error::ErrorCode;
use tokio::task::spawn_blocking;

/// What stands, once it is built. The order of fields is the order in which they go.
#[derive(Debug)]
pub(super) struct Parts {
    pub sync: SyncHandle,
    pub vfs: Arc<Vfs>,
    pub hydrator: Hydrator,
    pub notifier: Arc<KernelNotifier>,
    pub ending: Arc<Ending>,
    pub tree: Arc<Tree>,
    pub contents: Arc<Contents>,
    pub journal: Arc<Journal>,
}

impl Parts {
    /// Makes a call on the tree on a thread that may block; a folder that must be listed first is listed.
    pub async fn on_tree<T: Send + 'static>(
        &self,
        what: &str,
        call: impl Fn(&Tree) -> Result<T, TreeError> + Send + Sync + 'static,
    ) -> Result<T, Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::failed(format_args!("{what}: {error}"));
        let call = Arc::new(call);
        loop {
            let (tree, again) = (Arc::clone(&self.tree), Arc::clone(&call));
            match spawn_blocking(move || again(&tree)).await.map_err(|e| failed(&e))? {
                Ok(value) => return Ok(value),
                Err(TreeError::Unlisted(folder)) => {
                    self.sync.lister().list(folder.node).await.map_err(|e| failed(&e))?;
                }
                Err(error) => return Err(failed(&error)),
            }
        }
    }

    /// The files at and below an inode, each once for every name.
    pub async fn files_below(&self, what: &str, start: Ino) -> Result<Vec<Ino>, Failure> {
        let (mut files, mut dirs) = (Vec::new(), Vec::new());
        let stat = self.on_tree(what, move |tree| tree.stat(start)).await?;
        match NodeType::from(&stat.kind) {
            NodeType::File => files.push(start),
            NodeType::Dir => dirs.push(start),
            _ => {}
        }
        while let Some(dir) = dirs.pop() {
            for entry in self.on_tree(what, move |tree| tree.read_dir_whole(dir)).await? {
                match entry.node_type {
                    NodeType::File => files.push(entry.ino),
                    NodeType::Dir => dirs.push(entry.ino),
                    _ => {}
                }
            }
        }
        files.sort_unstable();
        files.dedup();
        Ok(files)
    }
}

/// Brings listings to the mount.
#[derive(Debug)]
pub(super) struct MountLister(pub Lister);

#[async_trait]
impl ports::Lister for MountLister {
    async fn list(&self, folder: Unlisted) -> Result<(), BringError> {
        match self.0.list_further(folder).await {
            Ok(()) => Ok(()),
            // It is gone on the server, and the tree hears of it with the next pull.
            Err(RemoteError::Refused { code: ErrorCode::NotFound, .. }) => {
                Err(BringError::Unreadable("the folder is gone on the server".into()))
            }
            Err(error) if error.is_retryable() => Err(BringError::Unreachable),
            Err(error) => Err(BringError::Unreadable(error.to_string())),
        }
    }
}
