//! Owns the store as a whole: which contents are loaded, where the files are, and who is asked for
//! log and rows.

use super::budget::{Budget, Recency, Reservation};
use super::layout::Layout;
use super::local::LocalContent;
use super::seams::{ContentError, ContentRows, Options, SmallLog};
use super::slab::{Slab, Slot};
use super::sources::Sources;
use super::state::{Body, FAR, State};
use super::{BLOCK_BYTES, EXTENT_BYTES};
use crate::env::{Disk, DiskFile, OpenMode, is_open_elsewhere, is_there};
use crate::meta::rows::{BaseVersion, ContentNo, ContentRow, Ino};
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use tarn_proto::chunk::ContentKey;

/// How full the store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Clean bytes in allocated blocks, and what the owner reported.
    pub bytes: u64,
    /// What of it the owner reported: log and database.
    pub extra_bytes: u64,
    /// The budget.
    pub limit_bytes: u64,
}

type Seams = (Arc<dyn SmallLog>, Arc<dyn ContentRows>);

/// What contents share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) layout: Layout,
    pub(super) key: ContentKey,
    pub(super) floor_bytes: u64,
    pub(super) slab: Slab,
    pub(super) budget: Arc<Budget>,
    pub(super) recency: Recency,
    pub(super) sources: Sources,
    /// Slots that no row will name once everything logged so far is committed.
    pub(super) retired: Mutex<Vec<Slot>>,
    /// Contents whose presence grew since their rows were recorded.
    pub(super) unrecorded: Mutex<BTreeSet<ContentNo>>,
    /// Bytes that may be written before the disk's free space is looked at again.
    pub(super) headroom_bytes: AtomicI64,
    pub(super) evicting: Mutex<()>,
    pub(super) recording: Mutex<()>,
    /// Whether others may have backing files open: the kernel, for programs.
    pub(super) lends: bool,
    /// Bytes of what is lent.
    pub(super) lent_bytes: AtomicU64,
    /// What [`SmallLog::left_behind`] last said.
    pub(super) left_behind: AtomicU64,
    pub(super) loaded: Mutex<HashMap<ContentNo, Arc<LocalContent>>>,
    /// Contents that got a backing file while rows of an earlier run come in.
    pub(super) made: Mutex<HashSet<ContentNo>>,
    /// Contents removed while rows of an earlier run come in.
    pub(super) removed: Mutex<HashSet<ContentNo>>,
    /// What is never evicted, and whose it is. Known without loading anything; a lock that nothing is taken under.
    pub(super) pinned: Mutex<HashMap<ContentNo, Ino>>,
    seams: OnceLock<Seams>,
}

/// The content store of one mount.
#[derive(Debug)]
pub struct Contents {
    pub(super) shared: Arc<Shared>,
}

impl Drop for Contents {
    fn drop(&mut self) {
        // Contents point back to what they share.
        self.shared.loaded.lock().clear();
    }
}

impl Shared {
    fn seams(&self) -> io::Result<&Seams> {
        self.seams.get().ok_or_else(|| io::Error::other("the content store is not attached yet"))
    }

    pub(super) fn log(&self) -> io::Result<&dyn SmallLog> {
        Ok(self.seams()?.0.as_ref())
    }

    /// Asks the log what it has left behind, and keeps the answer.
    pub(super) fn ask_left_behind(&self) -> u64 {
        let place = self.log().map_or(0, SmallLog::left_behind);
        self.left_behind.fetch_max(place, Ordering::AcqRel).max(place)
    }

    pub(super) fn rows(&self) -> io::Result<&dyn ContentRows> {
        Ok(self.seams()?.1.as_ref())
    }

    /// An empty backing file of this size; whatever an earlier run left there is gone.
    pub(super) fn make_backing(&self, no: ContentNo, size_bytes: u64) -> io::Result<Arc<dyn DiskFile>> {
        if !self.budget.is_known() {
            self.made.lock().insert(no);
        }
        let path = self.layout.backing_path(no);
        let file = match self.disk.open(&path, OpenMode::Create) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.disk.create_dir_all(&self.layout.backing_dir(no))?;
                self.budget.add_fixed(BLOCK_BYTES);
                self.disk.sync_dir(&self.layout.contents())?;
                self.disk.open(&path, OpenMode::Create)?
            }
            other => other?,
        };
        file.set_len(0)?;
        file.set_len(size_bytes)?;
        Ok(file)
    }

    pub(super) fn sync_name(&self, no: ContentNo) -> io::Result<()> {
        self.disk.sync_dir(&self.layout.backing_dir(no))
    }

    /// A loaded content, or loads it from its row.
    pub(super) fn get(self: &Arc<Self>, no: ContentNo) -> Result<Arc<LocalContent>, ContentError> {
        if let Some(content) = self.loaded(no) {
            return Ok(content);
        }
        let row = self.rows()?.load(no)?.ok_or(ContentError::Unknown(no))?;
        Ok(self.load(no, row)?)
    }

    pub(super) fn loaded(&self, no: ContentNo) -> Option<Arc<LocalContent>> {
        self.loaded.lock().get(&no).cloned()
    }

    pub(super) fn all_loaded(&self) -> Vec<Arc<LocalContent>> {
        self.loaded.lock().values().cloned().collect()
    }

    pub(super) fn insert(self: &Arc<Self>, no: ContentNo, state: State) -> Arc<LocalContent> {
        let mut loaded = self.loaded.lock();
        if let Some(content) = loaded.get(&no) {
            return content.clone();
        }
        if !self.budget.is_known() {
            self.budget.recount(0, state.charge());
        }
        self.enlist(no, &state);
        state.base.iter().for_each(|base| self.sources.note_new(no, base));
        let content = Arc::new(LocalContent::new(no, self.clone(), state));
        loaded.insert(no, content.clone());
        content
    }

    /// Makes sure that eviction will find what is clean.
    pub(super) fn enlist(&self, no: ContentNo, state: &State) {
        match &state.body {
            Body::File(_) => self.enlist_extents(no, &state.present),
            Body::Slab => self.recency.add_oldest((no, 0)),
            Body::Nothing | Body::Memory(_) => {}
        }
    }

    pub(super) fn enlist_extents(&self, no: ContentNo, present: &crate::meta::ranges::RangeSet) {
        let mut next = 0;
        for range in present.iter() {
            let last = (range.end.min(FAR) - 1) / EXTENT_BYTES;
            for extent in (range.start / EXTENT_BYTES).max(next)..=last {
                self.recency.add_oldest((no, extent));
            }
            next = last + 1;
        }
    }
}

impl Contents {
    /// Opens the store in a directory. Without an earlier run's slab everything is known at once; else
    /// nothing clean is kept on the disk until [`Self::inventory_done`].
    ///
    /// # Errors
    /// The disk's.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, options: Options) -> io::Result<Arc<Self>> {
        let layout = Layout::at(dir);
        disk.create_dir_all(&layout.contents())?;
        let dirs_bytes = BLOCK_BYTES * (1 + disk.read_dir(&layout.contents())?.len() as u64);
        let is_new = !is_there(disk.as_ref(), &layout.slab())?;
        let file = disk.open(&layout.slab(), OpenMode::Create)?;
        disk.sync_dir(dir)?;
        let lends = options.lends && file.as_fd().is_some_and(|fd| is_open_elsewhere(fd).is_ok());
        // A slab may be empty though backing files exist, so its file says whether this is a first run.
        let slab = Slab::new(file)?;
        let shared = Shared {
            disk,
            layout,
            key: options.key,
            floor_bytes: options.floor_bytes,
            slab,
            budget: Arc::new(Budget::new(options.budget_bytes, is_new)),
            recency: Recency::new(),
            sources: Sources::new(),
            retired: Mutex::default(),
            unrecorded: Mutex::default(),
            headroom_bytes: AtomicI64::new(0),
            evicting: Mutex::new(()),
            recording: Mutex::new(()),
            lends,
            lent_bytes: AtomicU64::new(0),
            left_behind: AtomicU64::new(0),
            loaded: Mutex::default(),
            made: Mutex::default(),
            removed: Mutex::default(),
            pinned: Mutex::default(),
            seams: OnceLock::new(),
        };
        shared.budget.add_fixed(dirs_bytes);
        Ok(Arc::new(Self { shared: Arc::new(shared) }))
    }

    /// Says who owns log and rows; once, before anything is written.
    pub fn attach(&self, log: Arc<dyn SmallLog>, rows: Arc<dyn ContentRows>) {
        // A second call changes nothing.
        let _ = self.shared.seams.set((log, rows));
    }

    /// A new, empty content made here. Its row is [`LocalContent::row`].
    pub fn create(&self, no: ContentNo, ino: Ino) -> Arc<LocalContent> {
        let state = State { is_dirty: true, body: Body::Memory(Vec::new()), ..State::absent(ino, 0, None) };
        self.shared.insert(no, state)
    }

    /// The content of a remote version of which nothing is here yet.
    pub fn adopt(&self, no: ContentNo, ino: Ino, base: BaseVersion) -> Arc<LocalContent> {
        self.shared.insert(no, State::absent(ino, base.content.size, Some(base)))
    }

    /// A content by its number; loads it through [`ContentRows::load`] if need be.
    ///
    /// # Errors
    /// Fails on an unknown one, and when database or disk do.
    pub fn get(&self, no: ContentNo) -> Result<Arc<LocalContent>, ContentError> {
        self.shared.get(no)
    }

    /// A content by its number if it is loaded: no disk, no database.
    pub fn get_loaded(&self, no: ContentNo) -> Option<Arc<LocalContent>> {
        self.shared.loaded(no)
    }

    /// A content from its row; the loaded one if it is loaded.
    ///
    /// # Errors
    /// The disk's.
    pub fn load(&self, no: ContentNo, row: ContentRow) -> io::Result<Arc<LocalContent>> {
        self.shared.load(no, row)
    }

    /// Removes a content for good. Its row's removal is durable, and nobody will ask for it again.
    ///
    /// # Errors
    /// The disk's.
    pub fn remove(&self, no: ContentNo) -> io::Result<()> {
        self.shared.pinned.lock().remove(&no);
        let content = match self.shared.get(no) {
            Ok(content) => content,
            Err(ContentError::Unknown(_)) => return self.shared.layout.remove_backing(self.shared.disk.as_ref(), no),
            Err(e) => return Err(io::Error::other(e)),
        };
        self.shared.loaded.lock().remove(&no);
        if !self.shared.budget.is_known() {
            self.shared.removed.lock().insert(no);
        }
        self.shared.unrecorded.lock().remove(&no);
        let mut state = content.state.write();
        let before = state.charge();
        state.is_removed = true;
        // An upload that still reads it must not wait for bytes, nor report that they are lost.
        LocalContent::spoil_snapshots(&mut state);
        let home = state.home.take();
        let body = std::mem::replace(&mut state.body, Body::Nothing);
        state.present.clear();
        state.former = None;
        state.base.iter().for_each(|base| self.shared.sources.forget(no, base));
        drop(state);
        if let Some(home) = home {
            self.shared.slab.free(home.slot)?;
        }
        if let Body::File(_) = body {
            self.shared.layout.remove_backing(self.shared.disk.as_ref(), no)?;
        }
        self.shared.budget.recount(before, 0);
        Ok(())
    }

    /// Forgets contents that nobody uses and whose rows say everything. Returns how many stay loaded.
    pub fn unload_idle(&self) -> usize {
        let left_behind = self.shared.ask_left_behind();
        let mut loaded = self.shared.loaded.lock();
        if self.shared.budget.is_known() {
            let unrecorded = self.shared.unrecorded.lock();
            loaded.retain(|no, content| {
                Arc::strong_count(content) > 1
                    || content.is_held()
                    || unrecorded.contains(no)
                    || content.state.try_write().is_none_or(|mut state| {
                        state.forget_logged(left_behind);
                        state.noted_upto > left_behind || !state.is_at_rest()
                    })
            });
        }
        loaded.len()
    }

    /// How full the store is.
    pub fn usage(&self) -> Usage {
        let Shared { budget, .. } = self.shared.as_ref();
        Usage { bytes: budget.used_bytes(), extra_bytes: budget.extra_bytes(), limit_bytes: budget.limit_bytes() }
    }

    /// Contents with bytes that the local disk did not take when it was asked to make them durable.
    pub fn doubtful_count(&self) -> usize {
        let contents = self.shared.all_loaded();
        let is_doubtful =
            |content: &&Arc<LocalContent>| content.state.try_read().is_some_and(|state| !state.doubtful.is_empty());
        contents.iter().filter(is_doubtful).count()
    }

    /// Says how many bytes log and database have allocated; they count against the budget.
    pub fn set_extra_bytes(&self, bytes: u64) {
        self.shared.budget.set_extra(bytes);
    }

    /// Changes the budget; [`Self::trim`] brings the content below it.
    pub fn set_limit_bytes(&self, bytes: u64) {
        self.shared.budget.set_limit(bytes);
    }

    /// Reserves room for clean content, evicting if need be; `None` when nothing more can be evicted.
    ///
    /// # Errors
    /// The disk's or the database's.
    pub fn reserve(&self, bytes: u64) -> io::Result<Option<Reservation>> {
        self.shared.reserve(bytes)
    }

    /// Allocated bytes of the slab, clean and dirty.
    ///
    /// # Errors
    /// The disk's.
    pub fn slab_allocated_bytes(&self) -> io::Result<u64> {
        self.shared.slab.allocated_bytes()
    }

    /// Inodes of loaded contents whose files are open for writing, as the log says.
    pub fn open_for_writing(&self) -> Vec<Ino> {
        let is_open = |content: &Arc<LocalContent>| {
            let state = content.state.read();
            state.open_for_writing.then_some(state.ino)
        };
        self.shared.all_loaded().iter().filter_map(is_open).collect()
    }

    /// Whether backing files can be lent.
    pub fn lends_files(&self) -> bool {
        self.shared.lends
    }

    /// Whether the backing file of a content is where the next start looks for it.
    pub fn has_backing(&self, no: ContentNo) -> bool {
        self.backing_has(no, 0)
    }

    /// Whether the bytes that an unsynced [`SmallLog::mark_open`] speaks of reached the disk. The file
    /// system moves a file's end only after the bytes before it were written.
    pub fn backing_has(&self, no: ContentNo, size_bytes: u64) -> bool {
        let open = self.shared.disk.open(&self.shared.layout.backing_path(no), OpenMode::Existing);
        open.and_then(|file| file.len_bytes()).is_ok_and(|len_bytes| len_bytes >= size_bytes)
    }
}
