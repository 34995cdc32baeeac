//! Owns bringing, dropping and pinning the contents of files and folders.

use super::MountService;
use crate::content::LocalContent;
use crate::control::messages::{Progress, Work};
use crate::control::{Failure, MountPath, ProgressSink};
use crate::daemon::parts::Parts;
use crate::hydrate::Priority;
use crate::meta::rows::Ino;
use crate::tree::{Invalidation, Notifier};
use futures_util::{StreamExt, stream};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::spawn_blocking;

/// Files that are brought at once: enough for many small ones to share a call.
const FILES_AT_ONCE: usize = 64;
/// Counting what an earlier mount left is waited for, with looks this far apart.
const COUNTED_WAIT: Duration = Duration::from_secs(30);
const COUNTED_STEP: Duration = Duration::from_millis(20);
/// Inodes told to the kernel at once.
const INVALIDATIONS_AT_ONCE: usize = 1024;

impl MountService {
    /// Brings all bytes of these files and of what is below these folders.
    pub(super) async fn bring(&self, paths: &[MountPath], sink: &ProgressSink) -> Result<Work, Failure> {
        let files = self.files(paths, sink).await?;
        self.counted().await?;
        let mut progress = Progress { items_total: files.len() as u64, ..Progress::default() };
        sink.set(progress.clone());
        let mut brought = stream::iter(files).map(|ino| self.bring_file(ino)).buffer_unordered(FILES_AT_ONCE);
        let mut work = Work::default();
        while let Some(bytes) = brought.next().await {
            let bytes = bytes?;
            work.files += 1;
            work.bytes += bytes;
            progress.items = work.files;
            progress.bytes = work.bytes;
            progress.bytes_total = work.bytes;
            sink.set(progress.clone());
        }
        // What is said to be local is so after a power cut, too.
        let contents = Arc::clone(&self.parts.contents);
        spawn_blocking(move || contents.record_presence()).await.map_err(Failure::failed)?.map_err(Failure::failed)?;
        Ok(work)
    }

    /// Brings one file; returns how many bytes it lacked.
    async fn bring_file(&self, ino: Ino) -> Result<u64, Failure> {
        let content = self.content(ino).await?;
        let missing = content.missing(0..content.size_bytes());
        let bytes = missing.iter().map(|range| range.end - range.start).sum();
        let hydrator = &self.parts.hydrator;
        // Behind what programs wait for; and what found no room, or lost it again, as they do.
        let brought = match hydrator.need(&content, &missing, Priority::Prefetch).await {
            Ok(()) => hydrator.need_on_disk(&content, &missing, Priority::Demand).await,
            Err(error) => Err(error),
        };
        match brought {
            Ok(false) => Err(Failure::failed(format_args!(
                "{}: the cache has no room for it beside what is pinned or in use; mount with a larger --cache-size",
                self.name_of(ino).await
            ))),
            Ok(true) => {
                if bytes > 0 {
                    // How much of it is here is among its attributes.
                    self.parts.notifier.announce_and_invalidate(vec![Invalidation::Attributes(ino)]);
                }
                Ok(bytes)
            }
            Err(error) => Err(Failure::failed(format_args!("{}: {error}", self.name_of(ino).await))),
        }
    }

    async fn content(&self, ino: Ino) -> Result<Arc<LocalContent>, Failure> {
        self.parts.on_tree("content", move |tree| tree.content(ino)).await
    }

    async fn name_of(&self, ino: Ino) -> String {
        let path = self.parts.on_tree("path", move |tree| tree.path_of(ino)).await.ok().flatten();
        path.map_or_else(|| "a file".to_owned(), |path| String::from_utf8_lossy(&path).into_owned())
    }

    /// Drops the clean bytes of these files and of what is below these folders; everything for the mount.
    pub(super) async fn drop_bytes(&self, paths: &[MountPath], sink: &ProgressSink) -> Result<Work, Failure> {
        let files = if paths.iter().any(|path| path.as_bytes().is_empty()) {
            None
        } else {
            Some(self.files(paths, sink).await?)
        };
        self.counted().await?;
        let vfs = Arc::clone(&self.parts.vfs);
        spawn_blocking(move || vfs.take_back_unused()).await.map_err(Failure::failed)?;
        let parts = Arc::clone(&self.parts);
        spawn_blocking(move || match files {
            Some(files) => drop_files(&parts, &files),
            None => drop_all(&parts),
        })
        .await
        .map_err(Failure::failed)?
    }

    /// Waits until it is known what an earlier run left: what is pinned of it must not be dropped, and nothing is kept before.
    async fn counted(&self) -> Result<(), Failure> {
        let counted = async {
            while !self.parts.contents.is_known() {
                tokio::time::sleep(COUNTED_STEP).await;
            }
        };
        let late = |_| Failure::failed("what an earlier mount left is still being counted, try again");
        tokio::time::timeout(COUNTED_WAIT, counted).await.map_err(late)
    }

    /// Pins or unpins, for good; what is local of it is kept from now on, or may go.
    pub(super) async fn set_pins(&self, paths: &[MountPath], pinned: bool) -> Result<Work, Failure> {
        for path in paths {
            let ino = self.find(path).await?;
            self.parts.on_tree(&self.shown(path), move |tree| tree.set_pinned(ino, pinned)).await?;
        }
        let files = self.files(paths, &ProgressSink::new().0).await?;
        let parts = Arc::clone(&self.parts);
        let count = files.len() as u64;
        let marked = spawn_blocking(move || {
            for ino in files {
                // One that lies in another pinned folder stays.
                let is_pinned = pinned || parts.tree.is_pinned(ino)?;
                parts.tree.content(ino)?.set_pinned(is_pinned);
            }
            Ok::<_, crate::tree::TreeError>(())
        });
        marked.await.map_err(Failure::failed)?.map_err(Failure::failed)?;
        Ok(Work { files: count, ..Work::default() })
    }

    async fn files(&self, paths: &[MountPath], sink: &ProgressSink) -> Result<Vec<Ino>, Failure> {
        let mut all = Vec::new();
        for path in paths {
            let ino = self.find(path).await?;
            all.extend(self.parts.files_below(&self.shown(path), ino).await?);
            sink.set(Progress { items_total: all.len() as u64, ..Progress::default() });
        }
        all.sort_unstable();
        all.dedup();
        Ok(all)
    }
}

fn drop_files(parts: &Parts, files: &[Ino]) -> Result<Work, Failure> {
    parts.tree.drop_formers(Some(files));
    let mut work = Work::default();
    let mut changed = Vec::new();
    for &ino in files {
        let stat = parts.tree.stat(ino).map_err(Failure::failed)?;
        if stat.allocated_bytes == 0 {
            continue;
        }
        let content = parts.tree.content(ino).map_err(Failure::failed)?;
        let freed = if content.is_dirty() { 0 } else { parts.contents.evict(content.no()).map_err(Failure::failed)? };
        work.bytes += freed;
        work.files += u64::from(freed > 0);
        work.kept += u64::from(freed == 0);
        changed.extend((freed > 0).then_some(ino));
    }
    forget_pages(parts, &changed);
    Ok(work)
}

fn drop_all(parts: &Parts) -> Result<Work, Failure> {
    parts.tree.drop_formers(None);
    // What was written a moment ago and is on the server by now is clean for the database, too.
    parts.journal.drain().map_err(Failure::failed)?;
    let rows = parts.journal.readers().get().and_then(|reader| reader.contents_all()).map_err(Failure::failed)?;
    let bytes = parts.contents.evict_all().map_err(Failure::failed)?;
    let clean: Vec<Ino> = rows.iter().filter(|(_, row)| !row.is_dirty).map(|(_, row)| row.ino).collect();
    forget_pages(parts, &clean);
    let kept = rows.iter().filter(|(_, row)| row.is_dirty).count() as u64;
    Ok(Work { files: clean.len() as u64, bytes, kept })
}

/// The kernel must ask again: pages that it kept would hide that the bytes are gone, attributes how many are here.
fn forget_pages(parts: &Parts, inodes: &[Ino]) {
    for batch in inodes.chunks(INVALIDATIONS_AT_ONCE) {
        parts.notifier.announce_and_invalidate(batch.iter().map(|ino| Invalidation::Content(*ino)).collect());
    }
}
