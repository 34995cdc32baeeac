//! Owns packs in a local folder: two levels of names, files synced before they are named.
//!
//! Written by hand rather than through `object_store`, for positioned reads on files kept open.

use super::{PackError, PackId, PackStore};
use crate::env::disk;
use crate::limits;
use async_trait::async_trait;
use bytes::Bytes;
use lru::LruCache;
use parking_lot::Mutex;
use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const SUFFIX: &str = ".pack";
/// Where packs are written before they have their name.
const TEMPORARY: &str = "tmp";

/// Packs under one folder.
#[derive(Debug, Clone)]
pub(super) struct LocalPacks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    open: Mutex<LruCache<PackId, Arc<File>>>,
    /// Folders whose names were synced since the start.
    durable_folders: Mutex<HashSet<PathBuf>>,
}

impl LocalPacks {
    pub(super) async fn open(dir: PathBuf) -> Result<Self, PackError> {
        let capacity = NonZeroUsize::new(limits::OPEN_PACKS_MAX).unwrap_or(NonZeroUsize::MIN);
        let open = Mutex::new(LruCache::new(capacity));
        let inner = Arc::new(Inner { dir, open, durable_folders: Mutex::default() });
        let packs = Self(inner);
        packs.blocking(|inner| disk::create_dir_durable(&inner.temporary())).await?.map_err(unavailable)?;
        Ok(packs)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Inner) -> T + Send + 'static,
    ) -> Result<T, PackError> {
        let inner = self.0.clone();
        tokio::task::spawn_blocking(move || work(&inner)).await.map_err(|e| PackError::Unavailable(e.to_string()))
    }
}

/// Removes unfinished packs.
pub(super) fn clear(dir: &Path) -> io::Result<()> {
    let temporary = dir.join(TEMPORARY);
    if temporary.is_dir() { disk::clear_dir(&temporary) } else { Ok(()) }
}

impl Inner {
    fn temporary(&self) -> PathBuf {
        self.dir.join(TEMPORARY)
    }

    fn folder(&self, pack: PackId) -> PathBuf {
        self.dir.join(format!("{:02x}", pack.0[0]))
    }

    fn path(&self, pack: PackId) -> PathBuf {
        self.folder(pack).join(format!("{pack}{SUFFIX}"))
    }

    fn put(&self, pack: PackId, pieces: &[Bytes]) -> io::Result<()> {
        self.make_folder(self.folder(pack))?;
        disk::write_durable(&self.path(pack), &self.temporary().join(pack.to_string()), pieces)
    }

    /// A folder that is there may have been made by another upload just now, or by a server that was killed before its name
    /// was durable.
    fn make_folder(&self, folder: PathBuf) -> io::Result<()> {
        let mut durable = self.durable_folders.lock();
        if !durable.contains(&folder) {
            disk::create_dir_durable(&folder)?;
            disk::sync_dir(&self.dir)?;
            durable.insert(folder);
        }
        Ok(())
    }

    fn file(&self, pack: PackId) -> io::Result<Arc<File>> {
        if let Some(file) = self.open.lock().get(&pack) {
            return Ok(file.clone());
        }
        let file = Arc::new(File::open(self.path(pack))?);
        self.open.lock().put(pack, file.clone());
        Ok(file)
    }

    fn read(&self, pack: PackId, range: Range<u64>) -> Result<Bytes, PackError> {
        let len = range.end.saturating_sub(range.start) as usize;
        let mut bytes = vec![0; len];
        let read = self.file(pack).and_then(|file| file.read_exact_at(&mut bytes, range.start));
        match read {
            Ok(()) => Ok(bytes.into()),
            Err(error) => Err(reading(pack, &error)),
        }
    }

    fn list(&self) -> io::Result<Vec<(PackId, u64)>> {
        let mut packs = Vec::new();
        for folder in std::fs::read_dir(&self.dir)? {
            let folder = folder?.path();
            if folder.is_dir() && folder != self.temporary() {
                list_folder(&folder, &mut packs)?;
            }
        }
        Ok(packs)
    }
}

fn list_folder(folder: &Path, packs: &mut Vec<(PackId, u64)>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let id = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)).and_then(PackId::parse);
        if let Some(id) = id {
            packs.push((id, entry.metadata()?.len()));
        }
    }
    Ok(())
}

fn reading(pack: PackId, error: &io::Error) -> PackError {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof => {
            PackError::Damaged { pack, detail: error.to_string() }
        }
        // A bad sector reads as EIO: this pack is damaged, the others may be well.
        _ if error.raw_os_error() == Some(5) => PackError::Damaged { pack, detail: error.to_string() },
        _ => PackError::Unavailable(error.to_string()),
    }
}

fn unavailable(error: io::Error) -> PackError {
    PackError::Unavailable(error.to_string())
}

#[async_trait]
impl PackStore for LocalPacks {
    async fn put(&self, pack: PackId, pieces: Vec<Bytes>) -> Result<(), PackError> {
        self.blocking(move |inner| inner.put(pack, &pieces)).await?.map_err(unavailable)
    }

    async fn read(&self, pack: PackId, range: Range<u64>) -> Result<Bytes, PackError> {
        self.blocking(move |inner| inner.read(pack, range)).await?
    }

    async fn list(&self) -> Result<Vec<(PackId, u64)>, PackError> {
        self.blocking(Inner::list).await?.map_err(unavailable)
    }

    async fn ping(&self) -> Result<(), PackError> {
        self.blocking(|inner| std::fs::metadata(inner.temporary()).map(drop)).await?.map_err(unavailable)
    }
}
